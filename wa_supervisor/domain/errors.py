"""Everything that can go wrong, in one tree with two temperaments.

    WaSupervisorError
    +-- TemporaryError            may pass by itself; may say when to come back
    |   +-- GatewayUnreachableError   nothing answers: the gateway, not the session, is the problem
    |   +-- GatewayAnswerError        5xx, time-out, HTML, a malformed answer
    |   +-- StuckStartError           INITIALIZING for too long
    |   +-- ZombieError               reported CONNECTED, but the page or WhatsApp says no
    |   +-- SessionClosedError        the gateway reports the session closed
    |   +-- FeedLostError             the gateway's event connection ended
    |   +-- StoreUnavailableError     Redis or PostgreSQL cannot be reached
    +-- PermanentError            does not pass until somebody changes something
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


class GatewayAnswerError(TemporaryError):
    """The gateway answered 5xx, HTML or nonsense, or did not answer in time; the request may have had its effect."""

    reason = "GatewayError"


class StuckStartError(TemporaryError):
    """The gateway reports INITIALIZING for longer than a browser takes to start."""

    reason = "StuckStart"


class ZombieError(TemporaryError):
    """The gateway reports CONNECTED while the page or WhatsApp says no."""

    reason = "Zombie"


class SessionClosedError(TemporaryError):
    """The gateway reports the session closed although it should run."""

    reason = "SessionClosed"


class FeedLostError(TemporaryError):
    """The connection on which the gateway reports events ended."""

    reason = "FeedLost"


class StoreUnavailableError(TemporaryError):
    """Redis or PostgreSQL cannot be reached or refuses to work."""

    reason = "StoreUnavailable"


class PermanentError(WaSupervisorError):
    """It stays until somebody changes the record, the configuration or the phone."""

    reason = "PermanentFailure"


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
