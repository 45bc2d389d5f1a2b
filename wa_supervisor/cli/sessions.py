"""What is known of every session, put together for showing: the wish, the statuses and who is alive.

Pure. A status that nobody confirmed within its ttl is known no more; a record that no daemon has told of is pending.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.words import age
from wa_supervisor.domain.lifecycle import State, is_serving
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.status import DaemonStatus, SessionStatus, is_stale

UNKNOWN = "unknown"
"""Stands in the place of a state that nobody confirms any more."""

STATES = (*(state.value for state in State), UNKNOWN)


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """One integration as it is shown."""

    status: SessionStatus
    """As a daemon told it; where none did, what its record says, as `pending`."""
    record: bytes | None
    """Its field in the wish; `None` when it is in the wish no more."""
    is_seen: bool
    """Whether a daemon has told of it."""
    now: float
    """When it was looked at, seconds since the epoch."""

    def __repr__(self) -> str:
        """Say nothing of the record, which may hold a token."""
        return f"<SessionView {self.id} {self.state}>"

    @property
    def id(self) -> str:
        """The integration's id."""
        return self.status.id

    @property
    def is_stale(self) -> bool:
        """Whether nobody confirms the status any more."""
        return self.is_seen and is_stale(self.status, self.now)

    @property
    def is_running(self) -> bool:
        """Whether it is known to be connected."""
        return not self.is_stale and is_serving(self.status.state)

    @property
    def state(self) -> str:
        """One of `STATES`."""
        return UNKNOWN if self.is_stale else self.status.state.value


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment."""

    sessions: Sequence[SessionView]
    """In the order of their ids."""
    daemons: Sequence[DaemonStatus]
    """Those that are alive."""
    now: float
    """When it was looked at, seconds since the epoch."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions are meant. Of one kind any may fit; every kind that is given must fit."""

    names: Sequence[str] = ()
    """Ids and globs."""
    states: Sequence[str] = ()
    gateways: Sequence[str] = ()
    agents: Sequence[str] = ()
    reasons: Sequence[str] = ()

    @property
    def is_given(self) -> bool:
        """Whether anything narrows the choice."""
        return any((self.names, self.states, self.gateways, self.agents, self.reasons))

    def of(self, sessions: Sequence[SessionView]) -> list[SessionView]:
        """Give those that are meant."""
        return [session for session in sessions if self._fits(session)]

    def missing(self, sessions: Sequence[SessionView]) -> list[str]:
        """Give the names that no session has."""
        return [name for name in self.names if not any(_is_called(session, name) for session in sessions)]

    def _fits(self, session: SessionView) -> bool:
        status = session.status
        return (
            (not self.names or any(_is_called(session, name) for name in self.names))
            and (not self.states or session.state in self.states)
            and _matches(status.gateway, self.gateways)
            and _matches(status.agent_id, self.agents)
            and _matches(status.reason, self.reasons)
        )


def overview(
    wishes: Mapping[str, bytes], statuses: Mapping[str, SessionStatus], daemons: Sequence[DaemonStatus], now: float
) -> Overview:
    """Put together what was read."""
    names = sorted({*wishes, *statuses})
    sessions = [
        SessionView(
            status=statuses[name] if name in statuses else _unseen(name, wishes[name]),
            record=wishes.get(name),
            is_seen=name in statuses,
            now=now,
        )
        for name in names
    ]
    return Overview(sessions=sessions, daemons=daemons, now=now)


def troubles(seen: Overview) -> list[str]:
    """Say what is amiss with the daemons, one sentence each."""
    if not seen.daemons:
        last = max((session.status.observed_at for session in seen.sessions if session.is_seen), default=None)
        when = "" if last is None else f"; the last word is {age(seen.now - last)} old"
        return [f"no daemon is alive{when}. Start one: systemctl start wa-supervisor, or wa-supervisor run"]
    waiting = [
        f"daemon {daemon.id} is not ready (coming up or stopping)" for daemon in seen.daemons if not daemon.ready
    ]
    return waiting + [f"daemon {daemon.id}: {text}" for daemon in seen.daemons for text in daemon.missing]


def verdict(seen: Overview, chosen: Sequence[SessionView]) -> Exit | None:
    """Give the exit code of `status`: `None` when every chosen session runs."""
    if not seen.daemons or (chosen and all(session.is_stale for session in chosen)):
        return Exit.UNKNOWN
    return None if all(session.is_running for session in chosen) else Exit.NOT_RUNNING


def _is_called(session: SessionView, name: str) -> bool:
    return session.id == name or fnmatchcase(session.id, name)


def _matches(value: str | None, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(value or "", pattern) for pattern in patterns)


def _unseen(name: str, record: bytes) -> SessionStatus:
    told = texts_of(record)
    session = next((told[key] for key in ("session", "sessionName", "session_name") if key in told), None)
    return SessionStatus(
        id=IntegrationId(name),
        agent_id=AgentId(told["agent_id"]) if "agent_id" in told else None,
        session=None if session is None else SessionName(session),
        gateway=GatewayName(told["gateway"]) if "gateway" in told else None,
        state=State.PENDING,
        reason="Unseen",
        message="declared, and no daemon has seen it yet",
        since=0.0,
    )


def texts_of(record: bytes) -> dict[str, str]:
    """Give what a record says in plain texts, whether or not it can be followed."""
    try:
        given = msgspec.json.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    pairs = given.items() if isinstance(given, dict) else ()
    return {key: value for key, value in pairs if isinstance(value, str)}
