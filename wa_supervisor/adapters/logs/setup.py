"""Where log lines go and in which form: standard error, as text, JSON, or what the journal wants."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Literal, TextIO

from wa_supervisor.adapters.logs.formats import JournalFormatter, JsonFormatter, TextFormatter

LogFormat = Literal["auto", "text", "json", "journal"]
"""How lines look; `auto` is `journal` when standard error is the journal, and `text` elsewhere."""

_OURS = "wa_supervisor"

_TOLD_BY_US = ("psycopg.pool",)
"""Libraries that warn of every try to reconnect: an adapter of ours tells once that its server is away."""


class _Handler(logging.StreamHandler[TextIO]):
    """The handler set up here, known by its type so that setting up again replaces it and no other."""


def set_up_logging(
    level: str,
    log_format: LogFormat,
    *,
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Send everybody's log lines to `stream` (standard error), ours from `level` on, libraries' from warning on.

    Libraries are not turned up with us: at info and below some of them log addresses, headers and payloads. May be
    called again, after a reload. Raises `ValueError` for a level that logging does not have.
    """
    target = sys.stderr if stream is None else stream
    handler = _Handler(target)
    handler.setFormatter(_formatter(log_format, target, environ))
    root = logging.getLogger()
    ours = logging.getLogger(_OURS)
    ours.setLevel(level.upper())
    root.setLevel(max(logging.WARNING, ours.level))
    for name in _TOLD_BY_US:
        logging.getLogger(name).setLevel(max(logging.ERROR, ours.level))
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    logging.captureWarnings(capture=True)


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` is the journal's socket: systemd names its device and inode in `JOURNAL_STREAM`."""
    named = environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{status.st_dev}:{status.st_ino}"


def _formatter(log_format: LogFormat, stream: TextIO, environ: Mapping[str, str]) -> logging.Formatter:
    if log_format == "json":
        return JsonFormatter()
    if log_format == "journal" or (log_format == "auto" and is_journal(stream, environ)):
        return JournalFormatter()
    return TextFormatter(is_coloured=_wants_colour(stream, environ))


def _wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    # https://no-color.org: any value but an empty one.
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"
