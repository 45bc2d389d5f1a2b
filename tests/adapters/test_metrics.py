"""Numbers for Prometheus: what is counted, what a scrape looks like to Prometheus, and what never becomes a label."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.fakes.gateway import FakeGateway
from tests.programs import required_program
from wa_supervisor.adapters.metrics import CONTENT_TYPE, Metrics, PerSession
from wa_supervisor.adapters.metrics.labels import Names, Words
from wa_supervisor.domain.errors import GatewayUnreachableError
from wa_supervisor.domain.lifecycle import Cause, State
from wa_supervisor.domain.messages import LeftOutReason
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
from wa_supervisor.domain.status import Blocker, SessionStatus, Traffic, Transition
from wa_supervisor.engine.gate import Gate
from wa_supervisor.engine.policies import GatePolicy

MAIN, SPARE = GatewayName("main"), GatewayName("spare")
ACME = IntegrationId("acme")
NOW = 1_750_000_000.0


def status(name: str = "acme", **fields: object) -> SessionStatus:
    """Give the status of an integration that runs, with some fields changed."""
    given: dict[str, object] = {
        "id": IntegrationId(name),
        "agent_id": AgentId(f"agent-{name}"),
        "session": SessionName(f"s-{name}"),
        "gateway": MAIN,
        "state": State.RUNNING,
        "reason": "Connected",
        "message": "connected",
        "since": NOW - 60,
    }
    return SessionStatus(**{**given, **fields})  # type: ignore[arg-type]  # a table of fields has one type


def metrics(
    *statuses: SessionStatus,
    per_session: PerSession = "full",
    snapshot: Callable[[], Sequence[SessionStatus]] | None = None,
    is_ready: Callable[[], bool] = lambda: True,
) -> Metrics:
    """Give the metrics of a daemon with two gateways and these sessions."""
    return Metrics(
        snapshot or (lambda: statuses),
        per_session=per_session,
        version="1.2.3",
        gateways=[MAIN, SPARE],
        is_ready=is_ready,
        wall=lambda: NOW,
    )


def families(of: Metrics) -> dict[str, Metric]:
    """Scrape and read with the official parser; every family must come once and whole."""
    body, content_type = of.render()
    assert content_type == CONTENT_TYPE
    read = list(text_string_to_metric_families(body.decode()))
    assert len({family.name for family in read}) == len(read)
    return {family.name: family for family in read}


def samples(of: Metrics) -> list[Sample]:
    """Give every sample of a scrape."""
    return [sample for family in families(of).values() for sample in family.samples]


def value(of: Metrics, name: str, labels: Mapping[str, str] | None = None) -> float:
    """Give one sample's value; a series must come exactly once."""
    (found,) = [sample.value for sample in samples(of) if sample.name == name and sample.labels == (labels or {})]
    return found


def moved(target: State, cause: Cause, reason: str) -> SessionMoved:
    """Give a step of a session's life."""
    step = Transition(
        at=NOW, source=State.STARTING, target=target, cause=cause, reason=reason, message="", attempt=1, lasted=1.0
    )
    return SessionMoved(integration=ACME, session=SessionName("s"), gateway=MAIN, transition=step)


EVERYTHING: Sequence[Observation] = (
    moved(State.BACKOFF, Cause.FAILED, "GatewayError"),
    MessageHandedOver(integration=ACME, gateway=MAIN, listeners=0, latency=0.002),
    DuplicateDropped(integration=ACME, gateway=MAIN),
    MessageLeftOut(gateway=MAIN, reason="story", detail=""),
    ReplySent(integration=ACME, gateway=MAIN, latency=0.3, attempts=3),
    ReplyDead(agent=AgentId("a"), integration=None, gateway=None, reason="NoChat", is_unknown=False),
    EventUnattributed(gateway=MAIN, event="onack"),
    GatewayChanged(gateway=MAIN, what="gate_closed", message="", why="unreachable"),
    Reconciled(seconds=0.01, wanted=3, invalid=1, changed=2, error=None),
    Trouble(where="people", message="no database"),
    Abandoned(integration=ACME, what="send", count=2),
    CommandAnswered(integration=ACME, verb="release", by="ana", is_accepted=False, message="not quarantined"),
    WishGuarded(stops_wanted=9, held_back=6, message="half of the wish is gone"),
    GatewayAnswered(gateway=MAIN, seconds=0.07),
    EventsDropped(count=4),
    LeasesChanged(held=3, elsewhere=2),
    FellBehind(integration=ACME, gateway=MAIN, cause="overflow"),
    CaughtUp(integration=ACME, gateway=MAIN, cause="reconnected", seconds=6.0, chats=3, recovered=5, too_old=1),
    MessagesDropped(agent=AgentId("a"), count=7, reason="age"),
    AgentWaiting(agent=AgentId("a"), waiting=9, published=0),
    OutcomeSettled(integration=ACME, gateway=MAIN, found="sent", by="history", seconds=8.0),
    AckTold(gateway=MAIN, fate="delivered"),
)


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("wa_session_transitions_total", {"gateway": "main", "state": "backoff"}, 1),
        ("wa_session_failures_total", {"gateway": "main", "reason": "GatewayError"}, 1),
        ("wa_messages_in_total", {"gateway": "main"}, 1),
        ("wa_messages_in_unheard_total", {"gateway": "main"}, 1),
        ("wa_hand_over_duration_seconds_count", {"gateway": "main"}, 1),
        ("wa_hand_over_duration_seconds_bucket", {"gateway": "main", "le": "0.0025"}, 1),
        ("wa_messages_duplicate_total", {"gateway": "main"}, 1),
        ("wa_messages_left_out_total", {"gateway": "main", "reason": "story"}, 1),
        ("wa_messages_out_total", {"gateway": "main"}, 1),
        ("wa_send_retries_total", {"gateway": "main"}, 2),
        ("wa_send_duration_seconds_sum", {"gateway": "main"}, 0.3),
        ("wa_dead_letters_total", {"gateway": "", "fate": "not_sent"}, 1),
        ("wa_dead_letter_reasons_total", {"reason": "NoChat"}, 1),
        ("wa_events_unattributed_total", {"gateway": "main", "event": "onack"}, 1),
        ("wa_gateway_gate_closed", {"gateway": "main"}, 1),
        ("wa_gateway_changes_total", {"gateway": "main", "what": "gate_closed"}, 1),
        ("wa_reconcile_rounds_total", {"outcome": "success"}, 1),
        ("wa_reconcile_duration_seconds_count", {}, 1),
        ("wa_reconcile_last_success_timestamp_seconds", {}, NOW),
        ("wa_reconcile_changes_total", {}, 2),
        ("wa_sessions_desired", {}, 3),
        ("wa_integrations_invalid", {}, 1),
        ("wa_troubles_total", {"where": "people"}, 1),
        ("wa_drain_abandoned_total", {"what": "send"}, 2),
        ("wa_gateway_gate_closures_total", {"gateway": "main", "why": "unreachable"}, 1),
        ("wa_gateway_poll_duration_seconds_count", {"gateway": "main"}, 1),
        ("wa_gateway_poll_duration_seconds_bucket", {"gateway": "main", "le": "0.05"}, 0),
        ("wa_gateway_poll_duration_seconds_bucket", {"gateway": "main", "le": "0.1"}, 1),
        ("wa_commands_total", {"verb": "release", "result": "refused"}, 1),
        ("wa_wish_stops_held_back", {}, 6),
        ("wa_wish_guarded_total", {}, 1),
        ("wa_events_dropped_total", {}, 4),
        ("wa_leases_held", {}, 3),
        ("wa_leases_elsewhere", {}, 2),
        ("wa_fell_behind_total", {"gateway": "main", "cause": "overflow"}, 1),
        ("wa_catch_ups_total", {"gateway": "main", "cause": "reconnected"}, 1),
        ("wa_catch_up_duration_seconds_bucket", {"gateway": "main", "le": "10.0"}, 1),
        ("wa_messages_recovered_total", {"gateway": "main"}, 5),
        ("wa_agent_messages_dropped_total", {"reason": "age"}, 7),
        ("wa_agent_messages_waiting", {"agent": "a"}, 9),
        ("wa_outcomes_settled_total", {"gateway": "main", "found": "sent", "by": "history"}, 1),
        ("wa_outcome_settling_duration_seconds_sum", {"gateway": "main"}, 8),
        ("wa_receipts_total", {"gateway": "main", "fate": "delivered"}, 1),
        ("wa_metrics_observer_errors_total", {}, 0),
        ("wa_build_info", {"version": "1.2.3"}, 1),
        ("wa_ready", {}, 1),
        ("wa_config_last_reload_successful", {}, 1),
    ],
)
def test_every_observation_is_counted(name: str, labels: dict[str, str], expected: float) -> None:
    counted = metrics()
    for observation in EVERYTHING:
        counted.observe(observation)
    assert value(counted, name, labels) == expected


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("wa_messages_in_total", {"gateway": "spare"}),
        ("wa_messages_out_total", {"gateway": "spare"}),
        ("wa_messages_duplicate_total", {"gateway": "spare"}),
        ("wa_messages_left_out_total", {"gateway": "spare", "reason": LeftOutReason.STORY.value}),
        ("wa_hand_over_duration_seconds_count", {"gateway": "spare"}),
        ("wa_send_duration_seconds_count", {"gateway": "spare"}),
        ("wa_dead_letters_total", {"gateway": "spare", "fate": "unknown"}),
        ("wa_events_unattributed_total", {"gateway": "spare", "event": "received-message"}),
        ("wa_session_transitions_total", {"gateway": "spare", "state": "quarantined"}),
        ("wa_session_failures_total", {"gateway": "spare", "reason": "Zombie"}),
        ("wa_gateway_up", {"gateway": "spare"}),
        ("wa_gateway_gate_closed", {"gateway": "spare"}),
        ("wa_gateway_feed_connected", {"gateway": "spare"}),
        ("wa_gateway_changes_total", {"gateway": "spare", "what": "feed_lost"}),
        ("wa_gateway_gate_closures_total", {"gateway": "spare", "why": "sessions_failed"}),
        ("wa_gateway_poll_duration_seconds_count", {"gateway": "spare"}),
        ("wa_commands_total", {"verb": "restart", "result": "accepted"}),
        ("wa_wish_stops_held_back", {}),
        ("wa_events_dropped_total", {}),
        ("wa_leases_held", {}),
        ("wa_leases_elsewhere", {}),
        ("wa_fell_behind_total", {"gateway": "spare", "cause": "store"}),
        ("wa_catch_ups_total", {"gateway": "spare", "cause": "routine"}),
        ("wa_catch_ups_total", {"gateway": "spare", "cause": "doubt"}),
        ("wa_catch_up_duration_seconds_count", {"gateway": "spare"}),
        ("wa_messages_recovered_total", {"gateway": "spare"}),
        ("wa_messages_left_out_total", {"gateway": "spare", "reason": "too_old"}),
        ("wa_agent_messages_dropped_total", {"reason": "length"}),
        ("wa_outcomes_settled_total", {"gateway": "spare", "found": "unknown", "by": "nothing"}),
        ("wa_outcome_settling_duration_seconds_count", {"gateway": "spare"}),
        ("wa_receipts_total", {"gateway": "spare", "fate": "read"}),
        ("wa_gateway_changes_total", {"gateway": "spare", "what": "feed_let_go"}),
        ("wa_drain_abandoned_total", {"what": "session"}),
        ("wa_event_loop_lag_seconds_count", {}),
        ("wa_event_loop_lag_worst_seconds", {}),
        ("wa_people_available", {}),
        ("wa_daemon_rivals", {}),
        ("wa_reconcile_rounds_total", {"outcome": "error"}),
        ("wa_sessions", {"gateway": "spare", "state": "running"}),
    ],
)
def test_known_series_start_at_zero(name: str, labels: dict[str, str]) -> None:
    assert value(metrics(), name, labels) == 0


def test_a_failed_round_leaves_what_the_last_good_one_said() -> None:
    counted = metrics()
    counted.observe(Reconciled(seconds=0.01, wanted=3, invalid=1, changed=0, error=None))
    counted.observe(Reconciled(seconds=0.5, wanted=0, invalid=0, changed=0, error="Redis does not answer"))
    assert value(counted, "wa_sessions_desired") == 3
    assert value(counted, "wa_reconcile_rounds_total", {"outcome": "error"}) == 1


def test_a_gateway_is_up_while_its_gate_is_open_and_its_events_arrive() -> None:
    counted, seen = metrics(), []
    for what in ("feed_connected", "gate_closed", "gate_opened", "feed_lost", "feed_connected", "feed_let_go"):
        counted.observe(GatewayChanged(gateway=MAIN, what=what, message=""))
        seen.append(value(counted, "wa_gateway_up", {"gateway": "main"}))
    assert seen == [1, 0, 1, 0, 1, 0]
    assert value(counted, "wa_gateway_up", {"gateway": "spare"}) == 0


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_why_a_gate_closed_is_told_from_what_the_gate_says() -> None:
    counted = metrics()

    def closures() -> dict[str, float]:
        labels = ({"gateway": "main", "why": why} for why in ("unreachable", "feed", "sessions_failed"))
        return {each["why"]: value(counted, "wa_gateway_gate_closures_total", each) for each in labels}

    def open_gate() -> Gate:
        gate = Gate(FakeGateway(MAIN), GatePolicy(), counted.observe)
        gate.report_feed(stands=True)
        return gate

    open_gate().report_unreachable(GatewayUnreachableError("http://127.0.0.1:1 does not answer"))
    assert closures() == {"unreachable": 1, "feed": 0, "sessions_failed": 0}
    open_gate().report_feed(stands=False, reason="its events cannot be received: refused")
    assert closures() == {"unreachable": 1, "feed": 1, "sessions_failed": 0}
    gate = open_gate()
    for name in "abc":
        gate.join(IntegrationId(name), gate)
        gate.report_failure(IntegrationId(name), was_healthy=False)
    assert closures() == {"unreachable": 1, "feed": 1, "sessions_failed": 1}


def test_what_was_abandoned_is_counted_by_its_kind_and_not_by_its_parts() -> None:
    counted = metrics()
    for parts in ("life", "life, inbound"):
        counted.observe(Abandoned(integration=ACME, what=f"session: {parts}", count=len(parts.split())))
    assert value(counted, "wa_drain_abandoned_total", {"what": "session"}) == 3
    assert len(families(counted)["wa_drain_abandoned"].samples) == 3


def test_a_wish_that_stays_guarded_is_counted_once_and_shows_until_it_is_followed() -> None:
    counted = metrics()
    for held_back in (6, 4, 0, 2):
        counted.observe(WishGuarded(stops_wanted=6, held_back=held_back, message=""))
    assert value(counted, "wa_wish_guarded_total") == 2
    assert value(counted, "wa_wish_stops_held_back") == 2


def test_lateness_of_the_event_loop_is_a_histogram_and_its_worst_a_gauge() -> None:
    counted = metrics()
    counted.process.lagged(0.0004, 2.0)
    counted.process.lagged(3.0, 3.0)
    counted.process.at_work(17)
    assert value(counted, "wa_event_loop_lag_seconds_bucket", {"le": "0.001"}) == 1
    assert value(counted, "wa_event_loop_lag_seconds_bucket", {"le": "30.0"}) == 2
    assert value(counted, "wa_event_loop_lag_seconds_sum") == pytest.approx(3.0004)
    assert value(counted, "wa_event_loop_lag_worst_seconds") == 3
    assert value(counted, "wa_event_loop_tasks") == 17


def test_people_and_rivals_are_told_as_the_daemon_knows_them() -> None:
    counted = metrics()
    counted.process.people(are_available=True)
    counted.process.rivals(1)
    assert (value(counted, "wa_people_available"), value(counted, "wa_daemon_rivals")) == (1, 1)


def test_what_blocks_a_session_is_a_set_of_known_names_and_whatever_else_there_is() -> None:
    blockers = [Blocker(name=name, since=NOW, message="m") for name in ("gate", "weather")]
    told = metrics(status(blockers=blockers))
    shown = families(told)["wa_session_blocked"].samples
    assert {sample.labels["blocker"]: sample.value for sample in shown} == {
        "operator": 0,
        "gate": 1,
        "lease": 0,
        "drain": 0,
        "weather": 1,
    }


def test_a_reload_that_failed_shows_until_one_succeeds() -> None:
    counted = metrics()
    counted.process.reloaded(succeeded=False)
    assert value(counted, "wa_config_last_reload_successful") == 0
    assert value(counted, "wa_config_last_reload_success_timestamp_seconds") == NOW
    counted.process.reloaded(succeeded=True)
    assert value(counted, "wa_config_last_reload_successful") == 1


def test_readiness_is_asked_at_each_scrape() -> None:
    answers = iter([False, True])
    counted = metrics(is_ready=lambda: next(answers))
    assert [value(counted, "wa_ready"), value(counted, "wa_ready")] == [0, 1]


def test_an_observation_that_cannot_be_counted_disturbs_nobody_and_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counted = metrics()
    counted.observe(GatewayChanged(gateway=MAIN, what="exploded", message=""))
    counted.observe("not an observation")  # type: ignore[arg-type]  # a mistake of the program, on purpose
    assert value(counted, "wa_metrics_observer_errors_total") == 2
    assert "must be one of gate_opened" in caplog.text


def test_a_session_is_told_in_full() -> None:
    traffic = Traffic(
        messages_in=5,
        recovered=6,
        messages_out=4,
        failed_out=1,
        duplicates=2,
        left_out=3,
        last_in_at=NOW - 2,
        last_out_at=NOW - 1,
    )
    told = metrics(status(traffic=traffic, restarts=7, failures=1.5, next_attempt_at=NOW + 42.5))
    labels = {"integration": "acme", "session": "s-acme", "gateway": "main"}
    expected = {
        "wa_session_restarts_total": 7,
        "wa_session_budget_used": 1.5,
        "wa_session_messages_in_total": 5,
        "wa_session_messages_recovered_total": 6,
        "wa_session_messages_out_total": 4,
        "wa_session_messages_failed_total": 1,
        "wa_session_messages_duplicate_total": 2,
        "wa_session_messages_left_out_total": 3,
        "wa_session_last_message_in_timestamp_seconds": NOW - 2,
        "wa_session_last_message_out_timestamp_seconds": NOW - 1,
        "wa_session_last_transition_timestamp_seconds": NOW - 60,
        "wa_session_next_attempt_timestamp_seconds": NOW + 42.5,
    }
    assert {name: value(told, name, labels) for name in expected} == expected
    assert value(told, "wa_session_info", {**labels, "agent": "agent-acme"}) == 1


def test_what_has_not_happened_yet_has_no_timestamp() -> None:
    named = {sample.name for sample in samples(metrics(status()))}
    assert "wa_session_last_message_in_timestamp_seconds" not in named
    assert "wa_session_next_attempt_timestamp_seconds" not in named
    assert "wa_session_last_transition_timestamp_seconds" in named


def test_exactly_one_state_of_a_session_is_one() -> None:
    for state in State:
        told = families(metrics(status(state=state)))["wa_session_state"].samples
        assert {sample.labels["state"]: sample.value for sample in told} == {
            other.value: float(other is state) for other in State
        }


def test_sessions_are_counted_by_gateway_and_state() -> None:
    told = metrics(status("a"), status("b"), status("c", gateway=SPARE), status("d", gateway=None, state=State.INVALID))
    assert value(told, "wa_sessions", {"gateway": "main", "state": "running"}) == 2
    assert value(told, "wa_sessions", {"gateway": "spare", "state": "running"}) == 1
    assert value(told, "wa_sessions", {"gateway": "", "state": "invalid"}) == 1


def test_a_removed_session_has_no_series_at_the_next_scrape() -> None:
    present = [status("stays"), status("goes")]
    told = metrics(snapshot=lambda: tuple(present))
    assert integrations(told) == {"stays", "goes"}
    present.pop()
    assert integrations(told) == {"stays"}


def test_a_scrape_that_is_slowly_sent_tells_of_one_moment() -> None:
    present = [status("first")]
    pieces, _ = metrics(snapshot=lambda: tuple(present)).exposition()
    present.append(status("later"))
    assert b"later" not in b"".join(pieces)


@pytest.mark.parametrize(("per_session", "lines"), [("full", 30), ("state", 12), ("off", 0)])
def test_series_per_session_are_as_many_as_promised(per_session: PerSession, lines: int) -> None:
    few, many = (metrics(*numbered(count), per_session=per_session) for count in (1, 101))
    assert len(samples(many)) - len(samples(few)) == 100 * lines
    assert value(many, "wa_sessions", {"gateway": "main", "state": "running"}) == 101


def test_no_histogram_knows_a_session() -> None:
    told = metrics(status())
    for observation in EVERYTHING:
        told.observe(observation)
    histograms = [family for family in families(told).values() if family.type == "histogram"]
    assert {name for family in histograms for sample in family.samples for name in sample.labels} <= {"gateway", "le"}
    assert len(histograms) == 7


def test_a_session_is_behind_from_connecting_until_it_has_caught_up_and_whenever_it_falls_behind() -> None:
    told = metrics(status())
    labels = {"integration": "acme", "session": "s-acme", "gateway": "main"}
    caught_up = CaughtUp(
        integration=ACME, gateway=MAIN, cause="connected", seconds=6.0, chats=0, recovered=0, too_old=0
    )
    seen = []
    for observation in (
        moved(State.RUNNING, Cause.CONNECTED, "Connected"),
        caught_up,
        FellBehind(integration=ACME, gateway=MAIN, cause="reconnected"),
        caught_up,
        FellBehind(integration=ACME, gateway=MAIN, cause="overflow"),
        moved(State.BACKOFF, Cause.FAILED, "GatewayError"),
    ):
        told.observe(observation)
        seen.append(value(told, "wa_session_behind", labels))
    assert seen == [1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("state", sorted(set(State) - {State.RUNNING, State.DEGRADED}))
def test_a_session_that_is_not_connected_is_not_behind_however_often_its_gateway_comes_and_goes(state: State) -> None:
    told = metrics(status(state=state))
    told.observe(FellBehind(integration=ACME, gateway=MAIN, cause="reconnected"))
    assert value(told, "wa_session_behind", {"integration": "acme", "session": "s-acme", "gateway": "main"}) == 0


def test_an_agent_has_a_series_only_while_messages_wait_for_it() -> None:
    told = metrics()
    for agent, waiting in (("a", 3), ("5511988887777", 2), ("b", 0), ("a", 0)):
        told.observe(AgentWaiting(agent=AgentId(agent), waiting=waiting, published=1))
    (left,) = families(told)["wa_agent_messages_waiting"].samples
    assert re.fullmatch(r"5511\*{5}777-[0-9a-f]{8}", left.labels["agent"])
    assert value(told, "wa_metrics_observer_errors_total") == 0


def test_any_agent_can_be_told_of() -> None:
    told = metrics()
    for agent in ('a"b\\c\n', "\udc80"):
        told.observe(AgentWaiting(agent=AgentId(agent), waiting=1, published=0))
    shown = {sample.labels["agent"] for sample in families(told)["wa_agent_messages_waiting"].samples}
    assert shown == {'a"b\\c\n', "\\udc80"}


def test_words_of_others_are_cut_off_at_a_limit() -> None:
    told = metrics()
    for number in range(1000):
        told.observe(MessageLeftOut(gateway=MAIN, reason=f"reason-{number}", detail=""))
        told.observe(Trouble(where=f"place-{number}", message=""))
    assert len(families(told)["wa_troubles"].samples) == 65
    assert value(told, "wa_troubles_total", {"where": "other"}) == 936
    assert value(told, "wa_messages_left_out_total", {"gateway": "main", "reason": "story"}) == 0
    assert len(families(told)["wa_messages_left_out"].samples) <= 65 + len(LeftOutReason)


def test_a_word_that_is_known_stays_known_beyond_the_limit() -> None:
    words = Words(limit=1)
    assert [words("first"), words("second"), words("first")] == ["first", "other", "first"]


def test_a_phone_number_in_a_name_never_becomes_a_label() -> None:
    told = metrics(
        status("5511988887777", session=SessionName("5511988887777"), agent_id=AgentId("5511988887777")),
        status("5511900007777", session=SessionName("wa-5511900007777")),
    )
    body = told.render()[0].decode()
    assert "5511988887777" not in body
    assert "5511900007777" not in body
    assert len(integrations(told)) == 2
    assert all(re.fullmatch(r"5511\*{5}777-[0-9a-f]{8}", name) for name in integrations(told))


def test_the_digest_of_a_number_says_nothing_without_the_key() -> None:
    assert Names(b"one")("5511988887777") != Names(b"two")("5511988887777")
    assert Names(b"one")("5511988887777") == Names(b"one")("5511988887777")


_LETTERS = st.text(st.characters(exclude_categories=["Cs", "Nd"]), min_size=1)


@settings(deadline=None, max_examples=30)  # each is a whole scrape, however busy the machine is
@given(st.lists(_LETTERS, min_size=1, max_size=5, unique=True))
@example([", ", 'a"b', "a\\b", "a\\nb", "a\nb", "a\rb", "a\x1cb", "}", "{", "# HELP"])
def test_any_name_can_be_read_back_by_the_official_parser(names: list[str]) -> None:
    told = families(metrics(*(status(name, gateway=GatewayName(name)) for name in names)))["wa_session_info"].samples
    assert [sample.labels["integration"] for sample in told] == names
    assert [sample.labels["gateway"] for sample in told] == names


def test_names_that_are_no_text_stay_apart() -> None:
    told = metrics(status("a\udc80"), status("a\udc81"))
    assert len(integrations(told)) == 2


def test_promtool_finds_nothing_to_say() -> None:
    promtool = required_program("promtool", "prometheus")
    told = metrics(status(next_attempt_at=NOW, traffic=Traffic(last_in_at=NOW, last_out_at=NOW)), status("b"))
    for observation in EVERYTHING:
        told.observe(observation)
    checked = subprocess.run([promtool, "check", "metrics"], input=told.render()[0], capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_process_and_platform_and_collector_are_told() -> None:
    assert {"process_resident_memory_bytes", "python_info", "python_gc_collections"} <= families(metrics()).keys()


def test_no_series_says_when_it_was_created() -> None:
    assert not [name for name in families(metrics()) if name.endswith("_created")]


def integrations(told: Metrics) -> set[str]:
    """Give every value of the label `integration`."""
    return {sample.labels["integration"] for sample in samples(told) if "integration" in sample.labels}


def numbered(count: int) -> Iterable[SessionStatus]:
    """Give so many sessions of which everything is known."""
    traffic = Traffic(last_in_at=NOW, last_out_at=NOW)
    return [status(f"n{number}", next_attempt_at=NOW, traffic=traffic) for number in range(count)]
