"""What the history is told of things that happen for each message."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_supervisor.domain.gathering import Gathering
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId
from wa_supervisor.domain.observations import (
    AgentWaiting,
    GatewayChanged,
    MessagesDropped,
    Observation,
    OutcomeSettled,
    ReplyDead,
)

ACME, MAIN, AGENT = IntegrationId("acme"), GatewayName("main"), AgentId("a")


def dropped(count: int, reason: str = "length", agent: AgentId = AGENT) -> MessagesDropped:
    return MessagesDropped(agent=agent, count=count, reason=reason)


def dead(reason: str = "NoChat", *, is_unknown: bool = False, agent: AgentId = AGENT) -> ReplyDead:
    return ReplyDead(agent=agent, integration=ACME, gateway=MAIN, reason=reason, is_unknown=is_unknown)


def settled(found: str) -> OutcomeSettled:
    return OutcomeSettled(integration=ACME, gateway=MAIN, found=found, by="nothing", seconds=1.0)


def waiting(count: int) -> AgentWaiting:
    return AgentWaiting(agent=AGENT, waiting=count, published=0)


def test_what_happens_seldom_is_always_told() -> None:
    gathering = Gathering()
    changed = GatewayChanged(gateway=MAIN, what="feed_lost", message="")
    assert [gathering.take(changed, now) for now in (0, 0, 1)] == [1, 1, 1]
    assert [gathering.take(settled("sent"), 0) for _ in range(2)] == [1, 1]
    assert gathering.due_at == math.inf


@pytest.mark.parametrize("observation", [dropped(1), dead(), settled("unknown")], ids=lambda each: type(each).__name__)
def test_the_same_within_a_while_is_told_together_at_the_end_of_it(observation: Observation) -> None:
    gathering = Gathering(quiet=60)
    assert [gathering.take(observation, now) for now in (100, 100, 159)] == [1, 0, 0]
    assert gathering.due_at == 160
    assert list(gathering.due(159.9)) == []
    assert list(gathering.due(160)) == [(observation, 2)]
    assert gathering.due_at == 220
    assert list(gathering.due(220)) == []
    assert gathering.due_at == math.inf
    assert gathering.take(observation, 220) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (dropped(1), dropped(1, "age")),
        (dropped(1), dropped(1, agent=AgentId("b"))),
        (dead(), dead("TooLarge")),
        (dead(), dead(is_unknown=True)),
        (dead(), dead(agent=AgentId("b"))),
    ],
)
def test_what_is_not_the_same_is_told_beside_it(first: Observation, second: Observation) -> None:
    gathering = Gathering()
    assert (gathering.take(first, 0), gathering.take(second, 0)) == (1, 1)


def test_an_agent_is_told_when_it_goes_and_when_it_comes_back() -> None:
    gathering = Gathering()
    assert [gathering.take(waiting(count), 0) for count in (0, 1, 5, 2, 0, 0, 1)] == [0, 1, 0, 0, 1, 0, 1]


@given(st.lists(st.tuples(st.integers(1, 100), st.floats(0, 200)), min_size=1))
def test_no_message_is_left_out_of_the_sum(happened: list[tuple[int, float]]) -> None:
    gathering, now, told = Gathering(quiet=60), 0.0, 0
    for count, later in happened:
        now += later
        told += sum(times for _, times in gathering.due(now))
        told += gathering.take(dropped(count), now)
    told += sum(times for _, times in gathering.due(math.inf))
    assert told == sum(count for count, _ in happened)
