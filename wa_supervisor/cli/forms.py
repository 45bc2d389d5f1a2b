"""Sessions for machines: JSON, TSV and names. Pure.

JSON has every field of a status as the daemon told it, and beside it what only the reader can know: whether it still
holds, whether it speaks of the record as it is now, and that record without its secrets. Times are RFC 3339.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from wa_supervisor.cli.records import masked_record, revision_of
from wa_supervisor.cli.sessions import Overview, SessionView
from wa_supervisor.cli.words import one_line, rfc3339

SCHEMA = 1
"""Grows when a reader of the JSON would have to change."""

_TIMES = frozenset(
    {"at", "since", "until", "started_at", "observed_at", "next_attempt_at", "last_in_at", "last_out_at"}
)


def as_json(seen: Overview, chosen: Sequence[SessionView]) -> bytes:
    """Write everything about the chosen sessions, and who is alive."""
    document = {
        "schema": SCHEMA,
        "sessions": [session_fields(session) for session in chosen],
        "daemons": [_readable(msgspec.to_builtins(daemon)) for daemon in seen.daemons],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def session_fields(session: SessionView) -> dict[str, object]:
    """Give the fields of one session."""
    told = cast("dict[str, object]", _readable(msgspec.to_builtins(session.status)))
    if not session.is_seen:
        told |= {"since": None, "observed_at": None, "ttl": None}
    record = session.record
    revision = None if record is None else revision_of(session.id, record)
    return told | {
        "state": session.state,
        "last_known_state": session.status.state.value if session.is_seen else None,
        "is_seen": session.is_seen,
        "is_stale": session.is_stale,
        "is_declared": record is not None,
        "record_revision": revision,
        "is_record_followed": session.is_seen and revision == session.status.observed_generation,
        "record": None if record is None else masked_record(record),
    }


def as_tsv(sessions: Sequence[SessionView]) -> str:
    """Write one line for each session below a line with the names of the columns; no field has a tab."""
    lines = ["\t".join(_TSV), *("\t".join(_tsv_fields(session)) for session in sessions)]
    return "".join(f"{line}\n" for line in lines)


def as_names(sessions: Sequence[SessionView]) -> str:
    """Write one id on each line."""
    return "".join(f"{one_line(session.id)}\n" for session in sessions)


_TSV = (
    "id",
    "agent_id",
    "gateway",
    "session",
    "state",
    "reason",
    "since",
    "messages_in",
    "messages_out",
    "restarts",
    "attempt",
    "next_attempt_at",
    "message",
)


def _tsv_fields(session: SessionView) -> list[str]:
    fields = session_fields(session)
    fields |= cast("Mapping[str, object]", fields["traffic"])
    return ["" if fields[name] is None else one_line(str(fields[name])) for name in _TSV]


def _readable(value: object) -> object:
    """Give a value with its times as text."""
    if isinstance(value, dict):
        return {key: rfc3339(inner) if key in _TIMES else _readable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(inner) for inner in value]
    return value
