"""What is done about everything that can happen to a session, as one table.

`lifecycle` says which state follows which; this says why a step is taken: whether it backs off, whether it is charged
to the session's restart budget, whether the gateway is to blame when it happens to many. The table in
docs/architecture.md is made from it. Nothing in it ever logs a session out or clears its data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType

from wa_supervisor.domain.errors import (
    BrowserGoneError,
    GatewayAnswerError,
    GatewayAwayError,
    GatewayGarbledError,
    GatewayRestartedError,
    GatewayTimeoutError,
    GatewayUnreachableError,
    HungError,
    LeakedCancellationError,
    LoginGivenUpError,
    PermanentError,
    SessionClosedError,
    SilentZombieError,
    StoreUnavailableError,
    StuckStartError,
    TemporaryError,
    TokenRefusedError,
    WrongSecretError,
    ZombieError,
)


class Happening(StrEnum):
    """Something that happened to a session; the causes that a gateway really produces among them."""

    OPERATOR_RESTART = "operator's restart"
    RECORD_CHANGED = "record changed"
    RELEASED = "released from quarantine"
    GATEWAY_UNREACHABLE = "gateway down"
    MANY_FAILED = "half of the gateway's sessions (at least three) failed within 30 s"
    GATEWAY_RESTARTED = "gateway restarted (its uptime fell)"
    GATEWAY_ERROR = "gateway answers 500"
    GATEWAY_TIMEOUT = "gateway does not answer in time"
    GATEWAY_GARBLED = "gateway answers HTML or nonsense"
    STUCK_START = "stuck INITIALIZING"
    SESSION_CLOSED = "closed at the gateway, or from the phone"
    BROWSER_GONE = "browser gone under CONNECTED"
    SILENT_ZOMBIE = "silent zombie"
    LOGIN_LOST = "device removed: a login is asked for again"
    LOGIN_GIVEN_UP = "QR or pairing code offered as often as allowed"
    TOKEN_REFUSED = "token refused twice"  # noqa: S105  # not a secret
    WRONG_SECRET = "gateway's secret refused"  # noqa: S105  # not a secret
    STORE_AWAY = "Redis away where the session's life needs it"
    HUNG = "call hung"
    LEAKED_CANCELLATION = "cancellation that nobody gave"
    UNKNOWN_PASSING = "other error that may pass"
    UNKNOWN_LASTING = "other error that does not pass"
    UNKNOWN = "unknown exception"


class Then(Enum):
    """What is done."""

    AGAIN = "tried again, for ever"
    AGAIN_WITHIN_BUDGET = "tried again; over budget: quarantined, with a slow probe"
    CLOSE_AND_AGAIN = "closed, started again, for ever"
    HOLD = "held until the gate opens"
    ANEW = "begun anew at once, through the gateway's turns to start"
    ASK_LOGIN = "a login is offered"
    QUARANTINE = "quarantined until released or the record changes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is done about a happening."""

    then: Then
    backs_off: bool = False
    """Whether the next try waits, with full jitter and a cap, longer each time."""
    costs: bool = False
    """Whether it is charged to the session's restart budget."""
    blames_gateway: bool = False
    """Whether many of it within a short time are the gateway's fault and not the sessions'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """Why a session is quarantined."""

    reason: str
    """CamelCase word for a column."""
    message: str
    is_probed: bool
    """Whether it is tried again now and then, because nobody knows the cause."""


_PASSING = Decision(then=Then.AGAIN, backs_off=True, costs=True, blames_gateway=True)
_CLOSING = Decision(then=Then.CLOSE_AND_AGAIN, backs_off=True, costs=True, blames_gateway=True)
_UNKNOWN = Decision(then=Then.AGAIN_WITHIN_BUDGET, backs_off=True, costs=True, blames_gateway=True)
_ANEW = Decision(then=Then.ANEW)
_HOLD = Decision(then=Then.HOLD)
_QUARANTINE = Decision(then=Then.QUARANTINE)

DECISIONS: Mapping[Happening, Decision] = MappingProxyType(
    {
        Happening.OPERATOR_RESTART: _ANEW,
        Happening.RECORD_CHANGED: _ANEW,
        Happening.RELEASED: _ANEW,
        Happening.GATEWAY_UNREACHABLE: _HOLD,
        Happening.MANY_FAILED: _HOLD,
        Happening.GATEWAY_RESTARTED: _ANEW,
        Happening.GATEWAY_ERROR: _PASSING,
        Happening.GATEWAY_TIMEOUT: _PASSING,
        Happening.GATEWAY_GARBLED: _PASSING,
        Happening.STUCK_START: _CLOSING,
        Happening.SESSION_CLOSED: _PASSING,
        Happening.BROWSER_GONE: _CLOSING,
        Happening.SILENT_ZOMBIE: _CLOSING,
        Happening.LOGIN_LOST: Decision(then=Then.ASK_LOGIN),
        Happening.LOGIN_GIVEN_UP: _QUARANTINE,
        Happening.TOKEN_REFUSED: _QUARANTINE,
        Happening.WRONG_SECRET: _QUARANTINE,
        Happening.STORE_AWAY: Decision(then=Then.AGAIN, backs_off=True),
        Happening.HUNG: _UNKNOWN,
        Happening.LEAKED_CANCELLATION: _UNKNOWN,
        Happening.UNKNOWN_PASSING: _PASSING,
        Happening.UNKNOWN_LASTING: _QUARANTINE,
        Happening.UNKNOWN: _UNKNOWN,
    }
)

_HAPPENINGS: tuple[tuple[type[BaseException], Happening], ...] = (
    (GatewayUnreachableError, Happening.GATEWAY_UNREACHABLE),
    (GatewayAwayError, Happening.GATEWAY_UNREACHABLE),
    (GatewayRestartedError, Happening.GATEWAY_RESTARTED),
    (GatewayTimeoutError, Happening.GATEWAY_TIMEOUT),
    (GatewayGarbledError, Happening.GATEWAY_GARBLED),
    (GatewayAnswerError, Happening.GATEWAY_ERROR),
    (StuckStartError, Happening.STUCK_START),
    (SessionClosedError, Happening.SESSION_CLOSED),
    (SilentZombieError, Happening.SILENT_ZOMBIE),
    (BrowserGoneError, Happening.BROWSER_GONE),
    (ZombieError, Happening.BROWSER_GONE),
    (LoginGivenUpError, Happening.LOGIN_GIVEN_UP),
    (TokenRefusedError, Happening.TOKEN_REFUSED),
    (WrongSecretError, Happening.WRONG_SECRET),
    (StoreUnavailableError, Happening.STORE_AWAY),
    (HungError, Happening.HUNG),
    (LeakedCancellationError, Happening.LEAKED_CANCELLATION),
    (PermanentError, Happening.UNKNOWN_LASTING),
    (TemporaryError, Happening.UNKNOWN_PASSING),
)
"""The first that fits is it, so the particular ones come before the general."""

_GRAVEST = (Then.QUARANTINE, Then.AGAIN_WITHIN_BUDGET, Then.CLOSE_AND_AGAIN, Then.AGAIN, Then.ANEW, Then.HOLD)


def happening_of(error: BaseException) -> Happening:
    """Say what an exception means; of a group, its gravest member."""
    return min(map(_happening_of_one, _leaves(error)), key=lambda each: _GRAVEST.index(DECISIONS[each].then))


def gravest(error: BaseException) -> BaseException:
    """Give the exception of a group that decides what is done; any other as it is."""
    wanted = happening_of(error)
    return next(leaf for leaf in _leaves(error) if _happening_of_one(leaf) is wanted)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _happening_of_one(error: BaseException) -> Happening:
    return next((happening for kind, happening in _HAPPENINGS if isinstance(error, kind)), Happening.UNKNOWN)
