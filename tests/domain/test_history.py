"""What becomes an event, in which words, and what is no event at all."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from wa_supervisor.domain.history import HISTORY_SCHEMA, LONGEST_MESSAGE, Event, dropped_events, event_of, fit
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.observations import (
    Abandoned,
    AckTold,
    AgentWaiting,
    CaughtUp,
    CommandAnswered,
    DuplicateDropped,
    EventsDropped,
    EventUnattributed,
    FellBehind,
    GatewayAnswered,
    GatewayChanged,
    LeasesChanged,
    MessageHandedOver,
    MessageLeftOut,
    MessagesDropped,
    Observation,
    OutcomeSettled,
    Reconciled,
    ReplyDead,
    ReplySent,
    SessionMoved,
    Trouble,
    WishGuarded,
)
from wa_supervisor.domain.status import Transition

ACME, MAIN = IntegrationId("acme"), GatewayName("main")

MOVED = SessionMoved(
    integration=ACME,
    session=SessionName("acme-1"),
    gateway=MAIN,
    transition=Transition(
        at=90.0,
        source=State.STARTING,
        target=State.BACKOFF,
        cause="failed",
        reason="GatewayError",
        message="gateway 503",
        attempt=3,
        lasted=4.5,
    ),
)


def event(observation: Observation) -> Event:
    found = event_of(observation, at=100.0, daemon="d1")
    assert found is not None
    return found


def test_a_step_of_a_session_is_a_transition_with_everything_at_the_time_it_was_taken() -> None:
    assert event(MOVED) == Event(
        at=90.0,
        kind="transition",
        reason="GatewayError",
        message="gateway 503",
        daemon="d1",
        integration="acme",
        session="acme-1",
        gateway="main",
        source="starting",
        target="backoff",
        cause="failed",
        attempt=3,
        lasted=4.5,
    )


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("gate_closed", "GateClosed"),
        ("gate_opened", "GateOpened"),
        ("feed_connected", "FeedConnected"),
        ("feed_lost", "FeedLost"),
        ("feed_let_go", "FeedLetGo"),
    ],
)
def test_what_happens_to_a_gateway_is_an_event_of_the_gateway(what: str, reason: str) -> None:
    assert event(GatewayChanged(gateway=MAIN, what=what, message="m")) == Event(
        at=100.0, kind="gate", reason=reason, message="m", daemon="d1", gateway="main"
    )


def answered(*, is_accepted: bool, by: str = "", integration: IntegrationId | None = ACME) -> CommandAnswered:
    return CommandAnswered(integration=integration, verb="restart", by=by, is_accepted=is_accepted, message="why")


@pytest.mark.parametrize(
    ("answer", "reason", "message"),
    [
        (answered(is_accepted=True, by="anna"), "CommandAccepted", "restart by anna accepted: why"),
        (answered(is_accepted=False), "CommandRefused", "restart refused: why"),
    ],
)
def test_a_command_is_an_event_with_who_gave_it_and_the_answer(
    answer: CommandAnswered, reason: str, message: str
) -> None:
    assert event(answer) == Event(
        at=100.0, kind="command", reason=reason, message=message, daemon="d1", integration="acme"
    )


def test_a_command_to_the_daemon_is_of_no_integration() -> None:
    assert event(answered(is_accepted=True, integration=None)).integration is None


@pytest.mark.parametrize(("held_back", "reason"), [(7, "WishHeldBack"), (0, "WishFollowed")])
def test_a_wish_that_is_not_followed_at_once_is_an_event_and_its_end_too(held_back: int, reason: str) -> None:
    guarded = WishGuarded(stops_wanted=9, held_back=held_back, message="m")
    assert event(guarded) == Event(at=100.0, kind="wish", reason=reason, message="m", daemon="d1")


def test_what_was_abandoned_is_named() -> None:
    abandoned = event(Abandoned(integration=ACME, what="session", count=2))
    assert (abandoned.kind, abandoned.reason, abandoned.integration) == ("abandoned", "Abandoned", "acme")
    assert abandoned.message == "2 x session did not end in time and was abandoned"


# What was missed, what waits, what could not be delivered


def caught_up(*, recovered: int = 0, too_old: int = 0) -> CaughtUp:
    return CaughtUp(
        integration=ACME, gateway=MAIN, cause="reconnected", seconds=6.54, chats=3, recovered=recovered, too_old=too_old
    )


@pytest.mark.parametrize(
    ("observation", "reason", "message"),
    [
        (caught_up(recovered=1), "MessagesFetched", "1 missed message fetched in 6.5 s"),
        (
            caught_up(recovered=3, too_old=2),
            "MessagesTooOld",
            "3 missed messages fetched in 6.5 s; 2 older than is fetched and left out",
        ),
    ],
)
def test_catching_up_is_an_event_if_something_was_missed(observation: CaughtUp, reason: str, message: str) -> None:
    assert event(observation) == Event(
        at=100.0,
        kind="caught_up",
        reason=reason,
        message=message,
        daemon="d1",
        integration="acme",
        gateway="main",
        cause="reconnected",
    )


@pytest.mark.parametrize(
    ("waiting", "reason", "message"),
    [
        (2, "AgentAway", "2 messages for agent a, to whose channel nobody listens"),
        (0, "AgentBack", "nothing waits for agent a any more"),
    ],
)
def test_an_agent_that_goes_away_and_comes_back_is_an_event_of_the_agent(
    waiting: int, reason: str, message: str
) -> None:
    assert event(AgentWaiting(agent=AgentId("a"), waiting=waiting, published=0)) == Event(
        at=100.0, kind="waiting", reason=reason, message=message, daemon="d1", agent="a"
    )


@pytest.mark.parametrize(
    ("why", "reason", "because"),
    [("length", "StreamFull", "its stream is full"), ("age", "WaitedTooLong", "they waited too long")],
)
def test_messages_that_nobody_will_hear_are_an_event_with_how_many(why: str, reason: str, because: str) -> None:
    dropped = MessagesDropped(agent=AgentId("a"), count=1, reason=why)
    assert event_of(dropped, at=100.0, daemon="d1", times=40) == Event(
        at=100.0,
        kind="dropped",
        reason=reason,
        message=f"40 messages to agent a will not be published any more, because {because}",
        daemon="d1",
        agent="a",
    )


@pytest.mark.parametrize(
    ("is_unknown", "times", "message"),
    [
        (False, 1, "1 reply of agent a became a dead letter"),
        (True, 1, "1 reply of agent a became a dead letter, and may have been sent all the same"),
        (False, 12, "12 replies of agent a became dead letters"),
    ],
)
def test_a_dead_letter_is_an_event_with_its_reason(is_unknown: bool, times: int, message: str) -> None:
    dead = ReplyDead(agent=AgentId("a"), integration=ACME, gateway=MAIN, reason="NoChat", is_unknown=is_unknown)
    assert event_of(dead, at=100.0, daemon="d1", times=times) == Event(
        at=100.0,
        kind="dead",
        reason="NoChat",
        message=message,
        daemon="d1",
        integration="acme",
        gateway="main",
        agent="a",
    )


def test_a_send_is_an_event_if_it_could_not_be_found_out_whether_it_arrived() -> None:
    unknown = event(OutcomeSettled(integration=ACME, gateway=MAIN, found="unknown", by="nothing", seconds=1800.0))
    assert (unknown.kind, unknown.reason, unknown.integration) == ("settled", "OutcomeUnknown", "acme")
    assert unknown.message == "it could not be found out whether 1 reply arrived"


NO_EVENTS: list[Observation] = [
    MessageHandedOver(integration=ACME, gateway=MAIN, listeners=1, latency=0.1),
    DuplicateDropped(integration=ACME, gateway=MAIN),
    MessageLeftOut(gateway=MAIN, reason="Own", detail=""),
    ReplySent(integration=ACME, gateway=MAIN, latency=0.1, attempts=1),
    EventUnattributed(gateway=MAIN, event="e"),
    Reconciled(seconds=0.1, wanted=1, invalid=0, changed=0, error=None),
    Trouble(where="w", message="m"),
    GatewayAnswered(gateway=MAIN, seconds=0.1),
    EventsDropped(count=1),
    LeasesChanged(held=1, elsewhere=0),
    FellBehind(integration=ACME, gateway=MAIN, cause="reconnected"),
    AckTold(gateway=MAIN, fate="read"),
    caught_up(),
    OutcomeSettled(integration=ACME, gateway=MAIN, found="sent", by="history", seconds=3.0),
    OutcomeSettled(integration=ACME, gateway=MAIN, found="not_sent", by="history", seconds=3.0),
]


OF_DELIVERY = {CaughtUp, AgentWaiting, MessagesDropped, ReplyDead, OutcomeSettled}


@pytest.mark.parametrize("observation", NO_EVENTS, ids=lambda one: type(one).__name__)
def test_everything_else_is_no_event(observation: Observation) -> None:
    assert event_of(observation, at=100.0, daemon="d1") is None


def test_every_observation_is_judged_here() -> None:
    events = {SessionMoved, GatewayChanged, CommandAnswered, WishGuarded, Abandoned, *OF_DELIVERY}
    assert {type(one) for one in NO_EVENTS} | events == set(get_args(Observation))


def test_missing_events_are_an_event_with_their_number() -> None:
    gap = dropped_events(12, at=100.0, daemon="d1")
    assert (gap.kind, gap.reason, gap.at, gap.daemon) == ("events_dropped", "EventsDropped", 100.0, "d1")
    assert gap.message.startswith("12 events")


def test_the_json_of_an_event_has_its_schema_and_comes_back_whole() -> None:
    encoded = msgspec.json.encode(event(MOVED))
    assert msgspec.json.decode(encoded)["schema"] == HISTORY_SCHEMA
    assert msgspec.json.decode(encoded, type=Event) == event(MOVED)


# Words of unknown origin


def test_words_are_kept_as_they_are() -> None:
    assert fit("gateway 503 ç") == "gateway 503 ç"


def test_chats_and_secrets_are_not_kept() -> None:
    told = fit("5511988887777@c.us got Bearer abc.def and http://user:pass@host")
    assert "5511988887777" not in told
    assert "abc.def" not in told
    assert "pass@" not in told


@pytest.mark.parametrize("length", [LONGEST_MESSAGE, LONGEST_MESSAGE + 1, 100_000])
def test_endless_words_are_cut(length: int) -> None:
    kept = fit("x" * length)
    assert len(kept) == LONGEST_MESSAGE
    assert kept.endswith("…") is (length > LONGEST_MESSAGE)


def test_a_secret_at_the_cut_is_masked_before_it() -> None:
    assert "sesame" not in fit("x" * (LONGEST_MESSAGE - 15) + " bearer sesame-open")


def test_what_is_no_utf_8_can_still_be_written() -> None:
    assert msgspec.json.encode(fit("half \ud800")) == b'"half ?"'
