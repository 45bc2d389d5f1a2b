"""The status in the hub's words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wa_supervisor.domain.hub_status import hub_status
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.status import SessionStatus, Traffic, Transition

WORDS = {
    State.PENDING: "starting",
    State.STARTING: "starting",
    State.AWAITING_LOGIN: "initializing",
    State.RUNNING: "running",
    State.DEGRADED: "running",
    State.BACKOFF: "error",
    State.HELD: "error",
    State.QUARANTINED: "error",
    State.INVALID: "error",
    State.DRAINING: "stopping",
    State.PAUSED: "stopped",
    State.STOPPED: "stopped",
}
HUB_WORDS = {"initializing", "running", "stopped", "error", "starting", "stopping"}


def status(
    state: State,
    name: str = "i-1",
    *,
    pid: int = 42,
    traffic: Traffic | None = None,
    transitions: tuple[Transition, ...] = (),
) -> SessionStatus:
    """Give a status of the session `name`."""
    return SessionStatus(
        id=IntegrationId(name),
        agent_id=AgentId("agent-1"),
        session=SessionName(name),
        gateway=GatewayName("main"),
        state=state,
        reason="Because",
        message=f"{name} is {state.value}",
        since=1_700_000_000.0,
        observed_at=1_700_000_060.5,
        pid=pid,
        traffic=traffic or Traffic(),
        transitions=transitions,
    )


def step(at: float, target: State) -> Transition:
    """Give a step of a life."""
    return Transition(
        at=at, source=State.PENDING, target=target, cause="c", reason="r", message="m", attempt=0, lasted=0.0
    )


def test_fields_are_the_hubs_and_all_are_strings() -> None:
    assert hub_status([status(State.RUNNING)]) == {
        "status": "running",
        "pid": "42",
        "last_active": "1700000000.0",
        "error_detail": "",
        "start_attempt_utc": "2023-11-14T22:13:20+00:00",
        "last_updated_utc": "2023-11-14T22:14:20.500000+00:00",
        "reason": "Because",
    }


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_word_of_the_hub(state: State) -> None:
    word = hub_status([status(state)])["status"]
    assert word == WORDS[state]
    assert word in HUB_WORDS


@pytest.mark.parametrize("state", State)
def test_error_says_why_and_nothing_else_does(state: State) -> None:
    detail = hub_status([status(state)])["error_detail"]
    assert detail == (f"Because: i-1 is {state.value}" if WORDS[state] == "error" else "")


def test_unknown_pid_is_left_out_because_a_dead_one_means_a_lost_process() -> None:
    assert "pid" not in hub_status([status(State.RUNNING, pid=0)])


@pytest.mark.parametrize("worse", [state for state in State if state is not State.RUNNING])
def test_best_session_of_an_agent_speaks(worse: State) -> None:
    for statuses in (
        [status(worse, "a"), status(State.RUNNING, "b")],
        [status(State.RUNNING, "b"), status(worse, "a")],
    ):
        assert hub_status(statuses)["status"] == "running"


def test_first_by_id_speaks_among_equals_whatever_the_order() -> None:
    one, other = status(State.HELD, "a"), status(State.HELD, "b")
    assert hub_status([other, one]) == hub_status([one, other])
    assert hub_status([other, one])["error_detail"] == "Because: a is held"


def test_last_activity_is_the_latest_of_all_sessions_either_way() -> None:
    statuses = [
        status(State.RUNNING, "a", traffic=Traffic(last_in_at=1_700_000_010.0)),
        status(State.BACKOFF, "b", traffic=Traffic(last_in_at=5.0, last_out_at=1_700_000_020.25)),
        status(State.PAUSED, "c"),
    ]
    assert float(hub_status(statuses)["last_active"]) == 1_700_000_020.25


def test_start_attempt_is_the_last_start_that_is_remembered() -> None:
    steps = (
        step(10.0, State.STARTING),
        step(20.0, State.RUNNING),
        step(30.0, State.STARTING),
        step(40.0, State.RUNNING),
    )
    started = hub_status([status(State.RUNNING, transitions=steps)])["start_attempt_utc"]
    assert datetime.fromisoformat(started) == datetime.fromtimestamp(30.0, UTC)


def test_agent_without_sessions_has_no_status_to_give() -> None:
    with pytest.raises(ValueError, match="empty"):
        hub_status([])
