"""Three forms of a log line: for a terminal, for a program, for the journal.

A line is a constant message with fields beside it, taken from `extra`. At info and above chat ids and secrets are
masked in whatever the line holds, also in tracebacks. A field's value never breaks a line: control characters are
written as escapes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from wa_supervisor.domain.masking import redacted

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
_OURS = frozenset({"time", "level", "logger", "error"})
_COLOURS = {
    logging.DEBUG: "2",
    logging.INFO: "32",
    logging.WARNING: "33",
    logging.ERROR: "31",
    logging.CRITICAL: "1;31",
}
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Give what the caller put into `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}


class TextFormatter(logging.Formatter):
    """`2026-01-31 12:00:00.123 warning session is backing off integration=acme reason=GatewayError`, local time."""

    def __init__(self, *, is_coloured: bool) -> None:
        super().__init__()
        self._is_coloured = is_coloured

    def format(self, record: logging.LogRecord) -> str:
        """Write one record, its traceback on lines of their own."""
        when = datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(" ", "milliseconds")[:23]
        level = f"{record.levelname.lower():<8}"
        if self._is_coloured:
            level = f"\x1b[{_COLOURS.get(record.levelno, '0')}m{level}\x1b[0m"
        return f"{when} {level} {_shown(record, _sentence(record) + _traceback(self, record))}"


class JournalFormatter(logging.Formatter):
    """`<4>session is backing off integration=acme`: the journal adds the time, and the priority gives the colour."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record, with the priority on every line: to the journal each is an entry of its own."""
        text = _shown(record, _sentence(record) + _traceback(self, record))
        priority = f"<{_priority(record.levelno)}>"
        return "\n".join(priority + line for line in text.splitlines() or [""])


class JsonFormatter(logging.Formatter):
    """One object per line: `time` (RFC 3339, UTC), `level`, `logger`, `message`, the fields, and `error`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record. A field of the caller whose name is taken gets an underscore."""
        fields = {f"{name}_" if name in _OURS else name: value for name, value in fields_of(record).items()}
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields,
        }
        if record.exc_info and record.exc_info[0] is not None:
            kind, error, _ = record.exc_info
            line["error"] = {
                "type": kind.__name__,
                "message": str(error),
                "traceback": self.formatException(record.exc_info),
            }
        return _shown(record, _encoded(line))


def _sentence(record: logging.LogRecord) -> str:
    """Give message and fields; the logger is named only where the line does not come from us."""
    source = "" if record.name.startswith("wa_supervisor") else f" logger={record.name}"
    message = record.getMessage()
    return (message if message.isprintable() else json.dumps(message)) + source + _pairs(fields_of(record))


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    return "\n" + formatter.formatException(record.exc_info)


def _pairs(fields: Mapping[str, object]) -> str:
    return "".join(f" {name}={_value(value)}" for name, value in fields.items())


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    if text and text.isprintable() and not set(text) & set(' "='):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _encoded(line: dict[str, object]) -> str:
    try:
        return msgspec.json.encode(line, enc_hook=str).decode()
    except (ValueError, TypeError, OverflowError):
        # Text that is no UTF-8, keys that are no text, numbers beyond 64 bits.
        return json.dumps(line, default=str)


def _priority(level: int) -> int:
    return next((priority for lowest, priority in _PRIORITIES if level >= lowest), 7)


def _shown(record: logging.LogRecord, text: str) -> str:
    return redacted(text) if record.levelno >= logging.INFO else text
