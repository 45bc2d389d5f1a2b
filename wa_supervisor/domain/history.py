"""What happened, for whoever asks later: one entry of the stream of events.

Everything that an operator would want to see in one history: each step of a session's life, gates that closed and
opened, commands and their answers, a wish that was not followed at once, what was missed and made up for, what could
not be delivered. Texts and numbers of people are never in it.
"""

from __future__ import annotations

import msgspec

from wa_supervisor.domain.masking import redacted
from wa_supervisor.domain.observations import (
    Abandoned,
    AgentWaiting,
    CaughtUp,
    CommandAnswered,
    GatewayChanged,
    MessagesDropped,
    Observation,
    OutcomeSettled,
    ReplyDead,
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
    """`transition`, `gate`, `command`, `wish`, `abandoned`, `caught_up`, `waiting`, `dropped`, `dead`, `settled` or
    `events_dropped`."""
    reason: str
    """CamelCase word for a column."""
    message: str
    """A sentence for a person."""
    daemon: str = ""
    integration: str | None = None
    session: str | None = None
    gateway: str | None = None
    agent: str | None = None
    """Whose messages; of `waiting`, `dropped` and `dead`."""
    cause: str | None = None
    """Of a transition and of `caught_up`."""
    source: str | None = None
    """State before; only of a transition, like all that follows."""
    target: str | None = None
    attempt: int | None = None
    lasted: float | None = None
    """Seconds in `source`."""


def event_of(observation: Observation, *, at: float, daemon: str, times: int = 1) -> Event | None:
    """Give the event that an observation of the moment `at` (seconds since the epoch) is; `None`: it is none.

    `times`: of how many such it tells.
    """
    match observation:
        case CaughtUp() | AgentWaiting() | MessagesDropped() | ReplyDead() | OutcomeSettled():
            return _delivery(observation, times, at, daemon)
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


def _delivery(
    observation: CaughtUp | AgentWaiting | MessagesDropped | ReplyDead | OutcomeSettled,
    times: int,
    at: float,
    daemon: str,
) -> Event | None:
    match observation:
        case CaughtUp():
            return _caught_up(observation, at, daemon)
        case AgentWaiting():
            return _waiting(observation, at, daemon)
        case MessagesDropped(agent=agent, reason=reason):
            is_full = reason == "length"
            why = "because its stream is full" if is_full else "because they waited too long"
            message = fit(f"{_some(times, 'message')} to agent {agent} will not be published any more, {why}")
            reason = "StreamFull" if is_full else "WaitedTooLong"
            return Event(at=at, kind="dropped", reason=reason, message=message, daemon=daemon, agent=agent)
        case ReplyDead():
            return _dead(observation, times, at, daemon)
    return _settled(observation, times, at, daemon) if observation.found == "unknown" else None


def _caught_up(observed: CaughtUp, at: float, daemon: str) -> Event | None:
    if not observed.recovered and not observed.too_old:
        return None
    fetched = f"{_some(observed.recovered, 'missed message')} fetched in {observed.seconds:.1f} s"
    old = f"; {observed.too_old} older than is fetched and left out" if observed.too_old else ""
    return Event(
        at=at,
        kind="caught_up",
        reason="MessagesTooOld" if observed.too_old else "MessagesFetched",
        message=fetched + old,
        daemon=daemon,
        integration=observed.integration,
        gateway=observed.gateway,
        cause=observed.cause,
    )


def _waiting(observed: AgentWaiting, at: float, daemon: str) -> Event:
    agent, is_away = observed.agent, observed.waiting > 0
    away = f"{_some(observed.waiting, 'message')} for agent {agent}, to whose channel nobody listens"
    return Event(
        at=at,
        kind="waiting",
        reason="AgentAway" if is_away else "AgentBack",
        message=fit(away if is_away else f"nothing waits for agent {agent} any more"),
        daemon=daemon,
        agent=agent,
    )


def _dead(observed: ReplyDead, times: int, at: float, daemon: str) -> Event:
    letters = "a dead letter" if times == 1 else "dead letters"
    unknown = ", and may have been sent all the same" if observed.is_unknown else ""
    return Event(
        at=at,
        kind="dead",
        reason=observed.reason,
        message=fit(f"{_some(times, 'reply', 'replies')} of agent {observed.agent} became {letters}{unknown}"),
        daemon=daemon,
        integration=observed.integration,
        gateway=observed.gateway,
        agent=observed.agent,
    )


def _settled(observed: OutcomeSettled, times: int, at: float, daemon: str) -> Event:
    return Event(
        at=at,
        kind="settled",
        reason="OutcomeUnknown",
        message=f"it could not be found out whether {_some(times, 'reply', 'replies')} arrived",
        daemon=daemon,
        integration=observed.integration,
        gateway=observed.gateway,
    )


def _some(count: int, one: str, several: str | None = None) -> str:
    return f"{count} {one if count == 1 else several or f'{one}s'}"


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
