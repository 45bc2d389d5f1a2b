"""What happened, for whoever asks later: one entry of the stream of events.

Everything that an operator would want to see in one history: each step of a session's life, gates that closed and
opened, commands and their answers, a wish that was not followed at once. Texts and numbers of people are never in it.
"""

from __future__ import annotations

import msgspec

HISTORY_SCHEMA = 1


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of `wa:events`, as JSON."""

    schema: int = HISTORY_SCHEMA
    at: float
    """Seconds since the epoch."""
    kind: str
    """`transition`, `gate`, `command`, `wish`, `daemon`, `abandoned` or `events_dropped`."""
    reason: str
    """CamelCase word for a column."""
    message: str
    """A sentence for a person."""
    daemon: str = ""
    integration: str | None = None
    session: str | None = None
    gateway: str | None = None
    source: str | None = None
    """State before; only of a transition, like all that follows."""
    target: str | None = None
    cause: str | None = None
    attempt: int | None = None
    lasted: float | None = None
    """Seconds in `source`."""
