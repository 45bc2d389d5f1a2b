"""Dead letters as they are chosen and shown: a table for people, JSON and TSV for machines, all of one. Pure.

What a person was to read is in the payload. It is in JSON, which loses nothing, and where one letter is shown to
whoever asked for exactly that one; never in a table, where chats keep only the ends of their numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import cast

import msgspec

from wa_supervisor.cli.table import GAP, LEAST_NAME
from wa_supervisor.cli.words import age, cells, cut, one_line, padded, rfc3339
from wa_supervisor.domain.dead_letters import DeadLetter
from wa_supervisor.domain.masking import masked_chat

SCHEMA = 1
"""Grows when a reader of the JSON would have to change."""

_ENTRY = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One letter as it stands in the stream."""

    id: str
    letter: DeadLetter


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters are meant. Of one kind any may fit; every kind that is given must fit."""

    names: Sequence[str] = ()
    """Ids and globs of integrations."""
    reasons: Sequence[str] = ()
    agents: Sequence[str] = ()
    only_unknown: bool = False

    def has(self, letter: DeadLetter) -> bool:
        """Whether it is meant."""
        return (
            (letter.is_unknown or not self.only_unknown)
            and _matches(letter.integration_id, self.names)
            and _matches(letter.reason, self.reasons)
            and _matches(letter.agent_id, self.agents)
        )

    def missing(self, letters: Sequence[Kept]) -> list[str]:
        """Give the names that none of the letters has."""
        owners = {each.letter.integration_id for each in letters}
        return [name for name in self.names if not any(_matches(owner, (name,)) for owner in owners)]


def _matches(value: str | None, patterns: Sequence[str]) -> bool:
    return not patterns or (value is not None and any(value == each or fnmatchcase(value, each) for each in patterns))


def entry_of(text: str) -> str | None:
    """Read a whole entry id as an operator gives it; `None` for what no letter is called.

    Half an id would mean a range to the server.
    """
    found = _ENTRY.fullmatch(text)
    halves = [int(half) for half in found.groups()] if found else []
    return f"{halves[0]}-{halves[1]}" if halves and max(halves) < 2**64 else None


def read_letter(entry: str, data: bytes) -> Kept | None:
    """Read a letter from the stream; `None` for one that cannot be read."""
    try:
        return Kept(id=entry, letter=msgspec.json.decode(data, type=DeadLetter))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def as_json(letters: Sequence[Kept]) -> bytes:
    """Write letters with everything in them as one document."""
    return _document({"schema": SCHEMA, "letters": [_fields(each) for each in letters]})


def one_as_json(kept: Kept) -> bytes:
    """Write one letter with everything in it."""
    return _document({"schema": SCHEMA} | _fields(kept))


def _document(content: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _fields(kept: Kept) -> dict[str, object]:
    told = cast("dict[str, object]", msgspec.to_builtins(kept.letter))
    return {"id": kept.id} | told | {"at": rfc3339(kept.letter.at)}


_TSV = ("id", "at", "integration_id", "agent_id", "chat", "reason", "is_unknown", "attempts", "direction", "message")


def as_tsv(letters: Sequence[Kept]) -> str:
    """Write one line for each letter below a line with the names of the columns; no field has a tab, none a payload."""
    lines = ["\t".join(_TSV), *("\t".join(_tsv_fields(each)) for each in letters)]
    return "".join(f"{line}\n" for line in lines)


def _tsv_fields(kept: Kept) -> list[str]:
    fields = _fields(kept) | {"chat": masked_chat(kept.letter.chat_id or "") if kept.letter.chat_id else None}
    fields["is_unknown"] = "true" if kept.letter.is_unknown else "false"
    return ["" if fields[name] is None else one_line(str(fields[name])) for name in _TSV]


class _Column(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    text: Callable[[Kept, float], str]
    right: bool = False
    rank: int = 0
    """The highest goes first when there is no room; one of 0 stays."""


_SESSION = 2

_COLUMNS: Sequence[_Column] = (
    _Column(title="ID", text=lambda kept, _: kept.id),
    _Column(title="AGE", text=lambda kept, now: age(now - kept.letter.at), right=True),
    _Column(title="SESSION", text=lambda kept, _: one_line(kept.letter.integration_id or "-")),
    _Column(title="AGENT", text=lambda kept, _: one_line(kept.letter.agent_id or "-"), rank=3),
    _Column(title="CHAT", text=lambda kept, _: _chat(kept.letter), rank=2),
    _Column(title="REASON", text=lambda kept, _: one_line(kept.letter.reason)),
    _Column(title="UNKNOWN", text=lambda kept, _: "yes" if kept.letter.is_unknown else "no", rank=1),
    _Column(title="ATTEMPTS", text=lambda kept, _: str(kept.letter.attempts), right=True, rank=4),
)


def _chat(letter: DeadLetter) -> str:
    return one_line(masked_chat(letter.chat_id)) if letter.chat_id else "-"


def table(letters: Sequence[Kept], *, now: float, width: int | None) -> str:
    """Draw the table, with a line end after every line; in `width` columns the least telling ones are left out."""
    columns = list(_COLUMNS)
    while width is not None and sum(_widths(columns, letters, now)) + GAP * (len(columns) - 1) > width:
        highest = max(column.rank for column in columns)
        if not highest:
            break
        columns = [column for column in columns if column.rank != highest]
    widths = _widths(columns, letters, now)
    if width is not None:
        excess = sum(widths) + GAP * (len(widths) - 1) - width
        widths[_SESSION] -= min(max(excess, 0), max(widths[_SESSION] - LEAST_NAME, 0))
    rows = [[column.title for column in columns], *([column.text(kept, now) for column in columns] for kept in letters)]
    return "".join(f"{_row(row, columns, widths)}\n" for row in rows)


def _widths(columns: Sequence[_Column], letters: Sequence[Kept], now: float) -> list[int]:
    return [max(cells(text) for text in (each.title, *(each.text(one, now) for one in letters))) for each in columns]


def _row(texts: Sequence[str], columns: Sequence[_Column], widths: Sequence[int]) -> str:
    pairs = zip(texts, columns, widths, strict=True)
    return (
        (" " * GAP).join(padded(cut(text, width), width, right=column.right) for text, column, width in pairs).rstrip()
    )


def description(kept: Kept, now: float) -> Iterator[str]:
    """Give the lines about one letter, its payload last."""
    letter = kept.letter
    yield kept.id
    for label, text in (
        ("died", f"{rfc3339(letter.at) or 'at no time'} ({age(now - letter.at)} ago)"),
        ("direction", "to a person" if letter.direction == "out" else f"to an agent ({letter.direction})"),
        ("reason", letter.reason),
        ("message", letter.message),
        ("unknown", "yes: it may have been sent all the same" if letter.is_unknown else "no: it was not sent"),
        ("attempts", str(letter.attempts)),
        ("agent", letter.agent_id or "-"),
        ("integration", letter.integration_id or "-"),
        ("session", f"{letter.session or '-'} at gateway {letter.gateway or '-'}"),
        ("chat", letter.chat_id or "-"),
    ):
        yield f"  {label:13}{one_line(text)}".rstrip()
    yield "Payload" if letter.payload else "Payload: none"
    yield from (f"  {line}" for line in _payload_lines(letter.payload))


def _payload_lines(payload: str) -> list[str]:
    """Give the payload as it is, JSON with a line for each field, and spell out what a terminal would obey."""
    try:
        msgspec.json.decode(payload)
        payload = msgspec.json.format(payload, indent=2)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass  # shown as it came
    return [_spelt_out(line) for line in payload.split("\n")] if payload else []


def _spelt_out(line: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in line)
