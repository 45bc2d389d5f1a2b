"""Everything that can go wrong, in one tree with two temperaments.

    WaSupervisorError
    +-- TemporaryError            may pass by itself; may say when to come back
    |   +-- GatewayUnreachableError   nothing answers: the gateway, not the session, is the problem
    |   +-- GatewayAwayError          the gateway's gate is closed, so it was not asked
    |   +-- GatewayAnswerError        5xx; the request may have had its effect
    |   |   +-- GatewayTimeoutError       no answer in time
    |   |   +-- GatewayGarbledError       HTML or a malformed answer
    |   +-- GatewayRestartedError     the gateway began anew and lost its browsers
    |   +-- StuckStartError           INITIALIZING for too long
    |   +-- ZombieError               reported CONNECTED, but only looks alive
    |   |   +-- BrowserGoneError          its page says no
    |   |   +-- SilentZombieError         nothing comes from WhatsApp, against all expectation
    |   +-- SessionClosedError        the gateway reports the session closed
    |   +-- HungError                 a call that should have ended by itself did not
    |   +-- LeakedCancellationError   a cancellation arrived that nobody gave
    |   +-- FeedLostError             the gateway's event connection ended
    |   +-- StoreUnavailableError     Redis or PostgreSQL cannot be reached
    +-- PermanentError            does not pass until somebody changes something
        +-- CutOffError               this incarnation of a session was abandoned
        +-- WrongSecretError          the gateway refuses the configured secret
        +-- TokenRefusedError         the gateway refuses a token twice
        +-- LoginGivenUpError         nobody logged the session in
        +-- ConfigurationError        the configuration is wrong; carries every mistake

An adapter turns every exception of its library into one of these at its border and keeps the cause. What is expected
(a message seen before, a send that was refused) is a returned value, not an exception.
"""

from __future__ import annotations

from collections.abc import Sequence


class WaSupervisorError(Exception):
    """Something that wa-supervisor understands went wrong."""

    reason: str = "Error"
    """CamelCase word for a column, a label or a condition."""


class TemporaryError(WaSupervisorError):
    """It may pass by itself; try again."""

    reason = "TemporaryFailure"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds before which trying again is pointless, if the other side said so."""


class GatewayUnreachableError(TemporaryError):
    """Nothing answers at the gateway's address; the request was not sent."""

    reason = "GatewayUnreachable"


class GatewayAwayError(TemporaryError):
    """The gateway's gate is closed, so it was not asked."""

    reason = "GatewayAway"


class GatewayAnswerError(TemporaryError):
    """The gateway did not answer as it should; the request may have had its effect."""

    reason = "GatewayError"


class GatewayTimeoutError(GatewayAnswerError):
    """The gateway did not answer in time."""

    reason = "GatewayTimeout"


class GatewayGarbledError(GatewayAnswerError):
    """The gateway answered HTML or nonsense: most likely it was a proxy, or another program."""

    reason = "GatewayGarbled"


class GatewayRestartedError(TemporaryError):
    """The gateway began anew, and with it went the session's browser."""

    reason = "GatewayRestarted"


class StuckStartError(TemporaryError):
    """The gateway reports INITIALIZING for longer than a browser takes to start."""

    reason = "StuckStart"


class ZombieError(TemporaryError):
    """The gateway reports CONNECTED, but the session only looks alive."""

    reason = "Zombie"


class BrowserGoneError(ZombieError):
    """The gateway reports CONNECTED while the session's page is not: its browser crashed, or is gone."""

    reason = "BrowserGone"


class SilentZombieError(ZombieError):
    """The gateway and the page report CONNECTED, but nothing comes from WhatsApp, against all expectation."""

    reason = "SilentZombie"


class SessionClosedError(TemporaryError):
    """The gateway reports the session closed although it should run."""

    reason = "SessionClosed"


class HungError(TemporaryError):
    """A call that should have ended by itself did not."""

    reason = "Hung"


class LeakedCancellationError(TemporaryError):
    """A cancellation arrived that nobody gave: a library's own, escaped from it."""

    reason = "LeakedCancellation"


class FeedLostError(TemporaryError):
    """The connection on which the gateway reports events ended."""

    reason = "FeedLost"


class StoreUnavailableError(TemporaryError):
    """Redis or PostgreSQL cannot be reached or refuses to work."""

    reason = "StoreUnavailable"


class PermanentError(WaSupervisorError):
    """It stays until somebody changes the record, the configuration or the phone."""

    reason = "PermanentFailure"


class CutOffError(PermanentError):
    """This incarnation of a session did not stop when told and was abandoned: it may do nothing any more."""

    reason = "CutOff"


class WrongSecretError(PermanentError):
    """The gateway refuses the secret that the configuration gives for it."""

    reason = "WrongSecret"


class TokenRefusedError(PermanentError):
    """The gateway refuses the session's token, and a fresh one too."""

    reason = "TokenRefused"


class LoginGivenUpError(PermanentError):
    """The QR or pairing code was offered as often as the policy allows and nobody used it."""

    reason = "LoginGivenUp"


class ConfigurationError(PermanentError):
    """The configuration is wrong; `mistakes` has every one, each with its full key and what would be right."""

    reason = "ConfigurationInvalid"

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)
