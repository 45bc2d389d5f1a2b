"""A session's life: what the table promises, whoever walks it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.strategies import patient
from wa_supervisor.domain.lifecycle import (
    TRANSITIONS,
    Cause,
    IllegalTransitionError,
    State,
    is_serving,
    next_state,
)

AT_REST = {State.PAUSED, State.STOPPED, State.INVALID}
ALIVE = set(State) - AT_REST - {State.DRAINING}
FIRST = State.PENDING
QUARANTINE_TO_LIFE = (State.QUARANTINED, State.PENDING)


def reachable(source: State) -> set[State]:
    """Give every state that some sequence of causes leads to."""
    found = {source}
    while new := {target for (state, _), target in TRANSITIONS.items() if state in found} - found:
        found |= new
    return found


def test_states_are_those_that_operators_know() -> None:
    assert [state.value for state in State] == [
        "pending",
        "starting",
        "awaiting_login",
        "running",
        "degraded",
        "backoff",
        "held",
        "quarantined",
        "paused",
        "draining",
        "stopped",
        "invalid",
    ]


def test_every_state_is_reached_from_the_first() -> None:
    assert reachable(FIRST) == set(State)


@pytest.mark.parametrize("state", State)
def test_no_state_is_the_end_for_ever(state: State) -> None:
    assert State.RUNNING in reachable(state)


@pytest.mark.parametrize("state", sorted(ALIVE))
def test_every_live_session_can_be_drained_and_restarted(state: State) -> None:
    assert next_state(state, Cause.DRAIN) is State.DRAINING
    assert next_state(state, Cause.CHANGED) is State.PENDING
    assert ((state, Cause.CRASHED) in TRANSITIONS) is (state is not State.QUARANTINED)
    assert ((state, Cause.RESTART) in TRANSITIONS) is (state is not State.QUARANTINED)


@pytest.mark.parametrize("state", sorted(AT_REST))
def test_session_at_rest_leaves_it_only_when_wanted(state: State) -> None:
    moves = {cause: target for (source, cause), target in TRANSITIONS.items() if source is state}
    assert moves.pop(Cause.WANTED) is State.PENDING
    assert set(moves.values()) <= AT_REST


@pytest.mark.parametrize("state", sorted(AT_REST))
def test_session_at_rest_may_be_removed_or_become_invalid(state: State) -> None:
    assert next_state(state, Cause.STOPPED) is State.STOPPED
    assert next_state(state, Cause.INVALIDATED) is State.INVALID


def test_draining_ends_at_rest_or_in_a_new_beginning() -> None:
    targets = {target for (source, _), target in TRANSITIONS.items() if source is State.DRAINING}
    assert targets == {*AT_REST, State.PENDING, State.DRAINING}


@pytest.mark.parametrize("cause", Cause)
def test_cause_leads_to_one_state_wherever_it_is_named(cause: Cause) -> None:
    assert len({target for (_, named), target in TRANSITIONS.items() if named is cause}) == 1


def test_running_is_reached_by_nothing_but_a_connection() -> None:
    assert {cause for (_, cause), target in TRANSITIONS.items() if target is State.RUNNING} == {Cause.CONNECTED}
    assert {state for (state, cause) in TRANSITIONS if cause is Cause.CONNECTED} == {
        State.STARTING,
        State.AWAITING_LOGIN,
        State.DEGRADED,
    }


def test_quarantine_ends_only_by_a_release_a_changed_record_or_its_own_probe() -> None:
    moves = {cause for (source, cause), target in TRANSITIONS.items() if (source, target) == QUARANTINE_TO_LIFE}
    assert moves == {Cause.RELEASE, Cause.CHANGED, Cause.PROBE}
    others = {cause for (source, cause) in TRANSITIONS if source is State.QUARANTINED} - moves
    assert others == {Cause.DRAIN, Cause.GIVE_UP}
    assert next_state(State.QUARANTINED, Cause.GIVE_UP) is State.QUARANTINED


@pytest.mark.parametrize("state", sorted(ALIVE - {State.QUARANTINED}))
def test_gateway_that_is_down_holds_every_live_session(state: State) -> None:
    assert next_state(state, Cause.HOLD) is State.HELD


@pytest.mark.parametrize("state", [State.PENDING, State.BACKOFF, State.HELD])
def test_what_waits_can_be_started(state: State) -> None:
    assert next_state(state, Cause.START) is State.STARTING


def test_cause_without_meaning_is_a_mistake_of_the_program() -> None:
    with pytest.raises(IllegalTransitionError, match="'connected' means nothing to a session that is 'stopped'"):
        next_state(State.STOPPED, Cause.CONNECTED)


@given(causes=st.lists(st.sampled_from(Cause), max_size=40))
@patient
def test_any_walk_stays_within_the_table_and_keeps_its_promises(causes: list[Cause]) -> None:
    state = FIRST
    for cause in causes:
        if (state, cause) not in TRANSITIONS:
            with pytest.raises(IllegalTransitionError):
                next_state(state, cause)
            continue
        before, state = state, next_state(state, cause)
        if before in AT_REST and state not in AT_REST:
            assert cause is Cause.WANTED
        if is_serving(state):
            assert cause is Cause.CONNECTED
        if state in AT_REST and before in ALIVE:
            assert before is FIRST


def test_replies_may_be_sent_only_while_running() -> None:
    assert {state for state in State if is_serving(state)} == {State.RUNNING}
