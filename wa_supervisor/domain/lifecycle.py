"""A session's life, as one table.

This module alone knows which state follows which; nothing else compares states to decide where to go. Whoever drives a
session names a cause, `next_state` says where that leads, and a cause that the table does not have for a state is a
mistake of the caller and raises at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Where a session's life stands."""

    PENDING = "pending"
    STARTING = "starting"
    AWAITING_LOGIN = "awaiting_login"
    RUNNING = "running"
    DEGRADED = "degraded"
    BACKOFF = "backoff"
    HELD = "held"
    QUARANTINED = "quarantined"
    PAUSED = "paused"
    DRAINING = "draining"
    STOPPED = "stopped"
    INVALID = "invalid"


class Cause(StrEnum):
    """What moves a session on."""

    START = "start"
    LOGIN_NEEDED = "login_needed"
    CONNECTED = "connected"
    DOUBT = "doubt"
    FAILED = "failed"
    HOLD = "hold"
    GIVE_UP = "give_up"
    PROBE = "probe"
    RELEASE = "release"
    RESTART = "restart"
    CHANGED = "changed"
    CRASHED = "crashed"
    DRAIN = "drain"
    PAUSED = "paused"
    STOPPED = "stopped"
    INVALIDATED = "invalidated"
    WANTED = "wanted"


_S, _C = State, Cause
_TRYING = (_S.STARTING, _S.AWAITING_LOGIN, _S.RUNNING, _S.DEGRADED)
_RESTARTABLE = (_S.PENDING, *_TRYING, _S.BACKOFF, _S.HELD)
_ALIVE = (*_RESTARTABLE, _S.QUARANTINED)
_AT_REST = (_S.PAUSED, _S.STOPPED, _S.INVALID)


def _rows(sources: Iterable[State], cause: Cause, target: State) -> dict[tuple[State, Cause], State]:
    return {(source, cause): target for source in sources}


TRANSITIONS: Mapping[tuple[State, Cause], State] = MappingProxyType(
    {
        **_rows((_S.PENDING, _S.BACKOFF, _S.HELD, *_TRYING), _C.START, _S.STARTING),
        **_rows((_S.STARTING, _S.AWAITING_LOGIN, _S.RUNNING, _S.DEGRADED), _C.LOGIN_NEEDED, _S.AWAITING_LOGIN),
        **_rows((_S.STARTING, _S.AWAITING_LOGIN, _S.DEGRADED), _C.CONNECTED, _S.RUNNING),
        **_rows((_S.RUNNING, _S.DEGRADED), _C.DOUBT, _S.DEGRADED),
        **_rows((_S.PENDING, _S.HELD, _S.BACKOFF, *_TRYING), _C.FAILED, _S.BACKOFF),
        **_rows((_S.PENDING, *_TRYING, _S.BACKOFF, _S.HELD), _C.HOLD, _S.HELD),
        **_rows((_S.PENDING, *_TRYING, _S.HELD, _S.QUARANTINED), _C.GIVE_UP, _S.QUARANTINED),
        **_rows((_S.QUARANTINED,), _C.PROBE, _S.PENDING),
        **_rows((_S.QUARANTINED,), _C.RELEASE, _S.PENDING),
        **_rows(_RESTARTABLE, _C.RESTART, _S.PENDING),
        **_rows(_ALIVE, _C.CHANGED, _S.PENDING),
        **_rows(_RESTARTABLE, _C.CRASHED, _S.PENDING),
        **_rows((*_ALIVE, _S.DRAINING), _C.DRAIN, _S.DRAINING),
        **_rows((_S.DRAINING, *_AT_REST, _S.PENDING), _C.PAUSED, _S.PAUSED),
        **_rows((_S.DRAINING, *_AT_REST, _S.PENDING), _C.STOPPED, _S.STOPPED),
        **_rows((_S.DRAINING, *_AT_REST, _S.PENDING), _C.INVALIDATED, _S.INVALID),
        **_rows((_S.DRAINING, *_AT_REST), _C.WANTED, _S.PENDING),
    }
)


class IllegalTransitionError(RuntimeError):
    """A cause was named that means nothing in the state at hand: a mistake in the program."""


def next_state(state: State, cause: Cause) -> State:
    """Give the state that `cause` leads to from `state`."""
    try:
        return TRANSITIONS[state, cause]
    except KeyError:
        raise IllegalTransitionError(f"{cause.value!r} means nothing to a session that is {state.value!r}") from None


def is_serving(state: State) -> bool:
    """Whether replies may be sent: only while the session is known to be connected, not while that is in doubt."""
    return state is State.RUNNING
