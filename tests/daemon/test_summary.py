"""The daemon in one line."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from wa_supervisor.daemon.summary import by_state, one_line
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.status import SessionStatus


def status(state: State, gateway: str = "main", number: int = 1) -> SessionStatus:
    return SessionStatus(
        id=IntegrationId(f"i{number}"),
        agent_id=AgentId("a"),
        session=SessionName("s"),
        gateway=GatewayName(gateway),
        state=state,
        reason="R",
        message="m",
        since=0.0,
    )


statuses = st.lists(st.builds(status, st.sampled_from(list(State)), st.sampled_from("abcde")), max_size=30)


def test_nobody_is_nobody() -> None:
    assert one_line([]) == "0/0 running"
    assert by_state([]) == {}


def test_operators_see_how_many_run_and_why_the_others_do_not() -> None:
    there = [status(State.RUNNING)] * 498 + [status(State.HELD), status(State.QUARANTINED)]
    assert one_line(there) == "498/500 running, 1 held (gateway main), 1 quarantined"


def test_a_state_of_two_words_reads_as_two_words() -> None:
    assert one_line([status(State.AWAITING_LOGIN)]) == "0/1 running, 1 awaiting login"


def test_only_gateways_that_hold_are_named_and_only_the_first_three() -> None:
    held = [status(State.HELD, gateway) for gateway in "badc"]
    assert one_line([*held[:2], status(State.RUNNING, "z")]) == "1/3 running, 2 held (gateways a, b)"
    assert one_line(held) == "0/4 running, 4 held (gateways a, b, c, ...)"


@given(there=statuses)
def test_the_parts_add_up_to_the_whole(there: list[SessionStatus]) -> None:
    running, whole, *others = map(int, re.findall(r"(?:^|(?<=, )|/)\d+", one_line(there).replace("/", ", ")))
    assert whole == len(there)
    assert running + sum(others) == whole
    assert sum(by_state(there).values()) == whole


@given(there=statuses)
def test_it_is_one_line_without_states_that_nobody_is_in(there: list[SessionStatus]) -> None:
    line = one_line(there)
    assert "\n" not in line
    assert {State(word.replace(" ", "_")) for word in re.findall(r"\d ([a-z ]+[a-z])", line)} - {State.RUNNING} == {
        each.state for each in there
    } - {State.RUNNING}
    assert set(by_state(there)) == {each.state.value for each in there}
