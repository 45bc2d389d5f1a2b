"""What is told about one integration: the value behind `wa-supervisor status`, the status hash and the metrics.

Times are seconds since the epoch. The JSON of `SessionStatus` is the field value of the status hash; its `schema` grows
when a reader would have to change. A status carries its own `ttl`: a reader that finds it older shows `Unknown`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName

STATUS_SCHEMA = 1


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a session's life."""

    at: float
    source: State
    target: State
    cause: str
    reason: str
    message: str
    attempt: int
    lasted: float
    """Seconds that the session had been in `source`."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """What a session has carried since its daemon started."""

    messages_in: int = 0
    """Handed over to the agent."""
    duplicates: int = 0
    """Seen before and dropped."""
    left_out: int = 0
    """Not for the agent, each with a counted reason."""
    recovered: int = 0
    """Of `messages_in`, those that were missed and fetched later."""
    messages_out: int = 0
    """Replies that the gateway took."""
    failed_out: int = 0
    """Replies that became dead letters."""
    last_in_at: float | None = None
    last_out_at: float | None = None


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the last one-off command for this integration."""

    id: str
    verb: str
    at: float
    accepted: bool
    message: str


class Blocker(msgspec.Struct, frozen=True, kw_only=True):
    """One of the things that keep a session from running; it runs when none is left."""

    name: str
    """`operator` (paused), `gate` (its gateway is away), `lease` (another daemon has it) or `drain` (it stops)."""
    since: float
    message: str
    until: float | None = None
    """When it ends by itself, if that is known."""


class SessionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is told about one integration."""

    schema: int = STATUS_SCHEMA
    id: IntegrationId
    agent_id: AgentId | None
    session: SessionName | None
    gateway: GatewayName | None
    state: State
    reason: str
    """CamelCase word for a column."""
    message: str
    """A sentence for a person."""
    since: float
    next_attempt_at: float | None = None
    attempt: int = 0
    """Failed attempts in a row."""
    restarts: int = 0
    failures: float = 0.0
    """Failures charged to the restart budget, each halved after every half-life."""
    blockers: tuple[Blocker, ...] = ()
    """What keeps it from running, oldest first."""
    fence: int | None = None
    """Number of the lease under which it runs: grows with every change of hands."""
    traffic: Traffic = Traffic()
    observed_generation: str = ""
    """Revision of the record that this status speaks of."""
    observed_at: float = 0.0
    ttl: float = 60.0
    daemon: str = ""
    pid: int = 0
    last_command: CommandResult | None = None
    transitions: Sequence[Transition] = ()
    """The last 20, oldest first."""


class LoginOffer(msgspec.Struct, frozen=True, kw_only=True):
    """What a person needs to log a session in. Whoever has it can take the number over: short-lived, never logged."""

    kind: str
    """`qr` or `code`."""
    data: str
    """The text behind the QR code, or the pairing code."""
    offered_at: float

    def __repr__(self) -> str:
        """Say everything but the code."""
        return f"LoginOffer(kind={self.kind!r}, offered_at={self.offered_at!r})"


class DaemonStatus(msgspec.Struct, frozen=True, kw_only=True):
    """That a daemon is alive, and what it has: the value of `wa:daemon:{id}`."""

    id: str
    host: str
    pid: int
    version: str
    started_at: float
    observed_at: float
    ready: bool
    sessions: int
    by_state: dict[str, int]
    admin_url: str | None = None
    missing: Sequence[str] = ()
    """What works with less than it could, each a sentence: no database, no notifications."""


def is_stale(status: SessionStatus, now: float) -> bool:
    """Whether nobody has confirmed `status` for longer than it holds."""
    return now - status.observed_at > status.ttl
