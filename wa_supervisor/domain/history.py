"""What happened, for whoever asks later: one entry of the stream of events.

Everything that an operator would want to see in one history: each step of a session's life, gates that closed and
opened, commands and their answers, a wish that was not followed at once. Texts and numbers of people are never in it.
"""

from __future__ import annotations

import msgspec

from wa_supervisor.domain.masking import redacted
from wa_supervisor.domain.observations import (
    Abandoned,
    CommandAnswered,
    GatewayChanged,
    Observation,
    SessionMoved,
    WishGuarded,
)

HISTORY_SCHEMA = 1

LONGEST_MESSAGE = 500
"""Characters of a message that are kept: a sentence has a hundred, a page that a gateway answers thousands."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
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


def event_of(observation: Observation, *, at: float, daemon: str) -> Event | None:
    """Give the event that an observation of the moment `at` (seconds since the epoch) is; `None`: it is none."""
    match observation:
        case SessionMoved():
            return _transition(observation, daemon)
        case GatewayChanged(gateway=gateway, what=what, message=message):
            reason = "".join(word.capitalize() for word in what.split("_"))
            return Event(at=at, kind="gate", reason=reason, message=fit(message), daemon=daemon, gateway=gateway)
        case CommandAnswered():
            return _command(observation, at, daemon)
        case WishGuarded(held_back=held_back, message=message):
            reason = "WishHeldBack" if held_back else "WishFollowed"
            return Event(at=at, kind="wish", reason=reason, message=fit(message), daemon=daemon)
        case Abandoned(integration=integration, what=what, count=count):
            words = fit(f"{count} x {what} did not end in time and was abandoned")
            return Event(
                at=at, kind="abandoned", reason="Abandoned", message=words, daemon=daemon, integration=integration
            )
    return None


def dropped_events(count: int, *, at: float, daemon: str) -> Event:
    """Give the event that stands where `count` events are missing."""
    message = f"{count} events could not be kept until Redis took them; they stood here"
    return Event(at=at, kind="events_dropped", reason="EventsDropped", message=message, daemon=daemon)


def fit(words: str) -> str:
    """Make words of unknown origin fit to be kept: nothing secret, no endless text, nothing that is no UTF-8."""
    words = redacted(words)
    kept = words if len(words) <= LONGEST_MESSAGE else f"{words[: LONGEST_MESSAGE - 1]}…"
    return kept.encode("utf-8", "replace").decode()


def _transition(moved: SessionMoved, daemon: str) -> Event:
    step = moved.transition
    return Event(
        at=step.at,
        kind="transition",
        reason=step.reason,
        message=fit(step.message),
        daemon=daemon,
        integration=moved.integration,
        session=moved.session,
        gateway=moved.gateway,
        source=step.source.value,
        target=step.target.value,
        cause=step.cause,
        attempt=step.attempt,
        lasted=step.lasted,
    )


def _command(answered: CommandAnswered, at: float, daemon: str) -> Event:
    by = f" by {answered.by}" if answered.by else ""
    how = "accepted" if answered.is_accepted else "refused"
    return Event(
        at=at,
        kind="command",
        reason=f"Command{how.capitalize()}",
        message=fit(f"{answered.verb}{by} {how}: {answered.message}"),
        daemon=daemon,
        integration=answered.integration,
    )
