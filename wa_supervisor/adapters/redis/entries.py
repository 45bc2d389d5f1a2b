"""Stream entries as they come in answers, read into values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from wa_supervisor.adapters.redis.keys import to_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry."""

    id: str
    fields: Mapping[bytes, bytes] | None = field(repr=False)
    """`None`: it was taken out of the stream while it was still pending in a group."""


def read_entries(rows: object) -> list[Entry]:
    """Read `[[id, [field, value, ...]], ...]`, as XRANGE and XCLAIM give it; a nil row is left out."""
    return [_read(cast("Sequence[object]", row)) for row in cast("Sequence[object]", rows or ()) if row is not None]


def read_streams(answer: object) -> dict[bytes, list[Entry]]:
    """Read `[[key, rows], ...]` or nil, as XREAD and XREADGROUP give it."""
    streams = cast("Sequence[tuple[bytes, object]]", answer or ())
    return {key: read_entries(rows) for key, rows in streams}


def _read(row: Sequence[object]) -> Entry:
    flat = cast("Sequence[bytes] | None", row[1])
    fields = None if flat is None else dict(zip(flat[::2], flat[1::2], strict=True))
    return Entry(id=to_text(cast("bytes", row[0])), fields=fields)
