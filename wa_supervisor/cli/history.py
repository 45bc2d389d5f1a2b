"""Events as they are shown: a table for people, JSON for machines. Pure.

A table that is being watched grows line by line, so its columns are as wide as most entries need from the start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import cast

import msgspec

from wa_supervisor.cli.table import GAP, LEAST_NAME, LEAST_ROOM
from wa_supervisor.cli.words import age, cells, cut, one_line, padded, rfc3339, wrapped
from wa_supervisor.domain.history import Event

SCHEMA = 1
"""Grows when a reader of the JSON would have to change."""

Row = tuple[str, str, str, str, str]
"""When, whose, what, why and the message."""

_HEAD: Row = ("TIME", "SESSION", "FROM -> TO", "REASON", "MESSAGE")

_USUAL = (12, len("starting -> running"), len("GatewayUnreachable"))
"""Columns that a watched table keeps for whose, what and why before it is known."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One event as it stands in the stream."""

    id: str
    event: Event


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are meant."""

    names: Sequence[str] = ()
    """Ids and globs of integrations; any may fit."""
    since: float | None = None
    """Seconds since the epoch."""

    def has(self, event: Event) -> bool:
        """Whether it is meant. Where events are missing is told whatever is chosen."""
        if self.since is not None and event.at < self.since:
            return False
        is_gap = event.kind == "events_dropped"
        return not self.names or is_gap or any(_is_of(event, name) for name in self.names)

    def missing(self, entries: Sequence[Entry]) -> list[str]:
        """Give the names that none of the events is of."""
        return [name for name in self.names if not any(_is_of(entry.event, name) for entry in entries)]


def _is_of(event: Event, name: str) -> bool:
    return event.integration is not None and (event.integration == name or fnmatchcase(event.integration, name))


def read_entry(entry: str, data: bytes) -> Entry | None:
    """Read an event from the stream; `None` for one that cannot be read."""
    try:
        return Entry(id=entry, event=msgspec.json.decode(data, type=Event))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def as_json(entries: Sequence[Entry]) -> bytes:
    """Write all events as one document."""
    document = {"schema": SCHEMA, "events": [_fields(entry) for entry in entries]}
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def as_json_line(entry: Entry) -> bytes:
    """Write one event on one line."""
    return msgspec.json.encode(_fields(entry)) + b"\n"


def _fields(entry: Entry) -> dict[str, object]:
    told = cast("dict[str, object]", msgspec.to_builtins(entry.event))
    return {"schema": told.pop("schema"), "id": entry.id} | told | {"at": rfc3339(entry.event.at)}


class Table:
    """The table, head first, then a few lines for each event."""

    def __init__(self, entries: Sequence[Entry], *, now: float, width: int | None, is_watched: bool) -> None:
        """`now` is when it is looked at, seconds since the epoch; `width` in columns, `None` without bound."""
        self._now = now
        self._width = width
        self._is_watched = is_watched
        self._first = [self._row(entry.event) for entry in entries]
        shown = [_HEAD, *self._first] if self._first or is_watched else []
        least = (cells(self._time(now)), *_USUAL) if is_watched else (0, 0, 0, 0)
        self._widths = [max([least[i], *(cells(row[i]) for row in shown)]) for i in range(4)]
        if width is not None:
            self._widths[1] -= min(max(self._total() - width, 0), max(self._widths[1] - LEAST_NAME, 0))
        self._room = None if width is None else width - self._total() - GAP
        """Columns for the message beside the others; below them when they are too few."""

    def first_lines(self) -> Iterator[str]:
        """Give the head and the events that it was made for."""
        if self._first or self._is_watched:
            is_below = self._room is not None and self._room < LEAST_ROOM
            yield from self._lines((*_HEAD[:4], "") if is_below else _HEAD)
        for row in self._first:
            yield from self._lines(row)

    def lines(self, entry: Entry) -> Iterator[str]:
        """Give the lines of one event more."""
        return self._lines(self._row(entry.event))

    def _lines(self, row: Row) -> Iterator[str]:
        widths = self._widths
        texts = row[:4] if self._width is None else [row[0], cut(row[1], widths[1]), row[2], row[3]]
        beside = (" " * GAP).join(padded(text, width) for text, width in zip(texts, widths, strict=True))
        if self._room is not None and self._room < LEAST_ROOM:
            yield beside.rstrip()
            below = wrapped(row[4], (self._width or 0) - GAP) if row[4] else []
            yield from (" " * GAP + line for line in below)
            return
        first, *others = [row[4]] if self._room is None else wrapped(row[4], self._room)
        yield f"{beside}{' ' * GAP}{first}".rstrip()
        yield from (" " * (self._total() + GAP) + other for other in others)

    def _total(self) -> int:
        return sum(self._widths) + 3 * GAP

    def _row(self, event: Event) -> Row:
        whose = event.integration or _other(event)
        step = f"{event.source} -> {event.target}" if event.source and event.target else event.kind
        return self._time(event.at), one_line(whose), one_line(step), one_line(event.reason), one_line(event.message)

    def _time(self, at: float) -> str:
        if self._width is None:
            return rfc3339(at) or "-"
        # An age would be wrong a moment later, where the line stays.
        return _time_of_day(at) if self._is_watched else f"{age(self._now - at)} ago"


def _other(event: Event) -> str:
    """Say whose an event is that is of no session."""
    if event.agent:
        return f"agent {event.agent}"
    return f"gateway {event.gateway}" if event.gateway else "-"


def _time_of_day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}Z" if rfc3339(at) else "-"
