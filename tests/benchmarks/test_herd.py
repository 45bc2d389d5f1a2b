"""The bounds of the herd, in virtual time, and that its gateway and its counting are what the figures need."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import anyio
import pytest

from tests.benchmarks.busy_gateway import Costs, Premises, most_in_any_second
from tests.benchmarks.herd import ALWAYS, NAIVE_WAITS, OURS, Figures, Scene, measure, median, missed, worst
from tests.engine.virtual_time import virtual_backend
from tests.fakes.gateway import FakeGateway
from tests.fakes.gateway_events import FakeGatewayEvents
from wa_supervisor.domain.errors import GatewayAnswerError, GatewayUnreachableError
from wa_supervisor.domain.gateway import SessionAccess
from wa_supervisor.domain.names import SessionName

SEEDS = range(1, 4)
"""Phases of the outage: some in which the gateway returns just before a probe, and some just after one."""

A = SessionAccess(session=SessionName("a-number"))


@pytest.fixture
def anyio_backend() -> tuple[str, Mapping[str, object]]:
    """Virtual time."""
    return virtual_backend("asyncio")


@cache
def ours(backend: str = "asyncio") -> list[Figures]:
    """Play ours once for all tests."""
    return measure(Scene(backend=backend), OURS, SEEDS if backend == "asyncio" else SEEDS[:1])


@cache
def naive(name: str) -> Mapping[str, float]:
    """Play one of the others once; seeds hardly matter to it."""
    return median(measure(Scene(), name, [1]))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_herd_of_500_keeps_the_bounds_on_requests_in_every_phase(backend: str) -> None:
    figures = worst(ours(backend))
    assert missed({bound: figures[bound] for bound in ALWAYS}) == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_herd_of_500_is_back_within_half_a_minute(backend: str) -> None:
    assert missed(median(ours(backend))) == []


@pytest.mark.parametrize("name", NAIVE_WAITS)
def test_every_session_on_its_own_asks_fifty_times_as_often(name: str) -> None:
    assert naive(name)["attempts"] >= 50 * median(ours())["attempts"]


@pytest.mark.parametrize("name", NAIVE_WAITS)
def test_every_session_on_its_own_misses_more_than_the_bound_on_attempts(name: str) -> None:
    assert len(missed(naive(name))) >= 2


def test_a_second_is_counted_wherever_it_begins_and_without_its_end() -> None:
    assert most_in_any_second([]) == 0
    assert most_in_any_second([0.0, 0.5, 1.0, 1.4]) == 3
    assert most_in_any_second(number * 0.05 for number in range(100)) == 20


@pytest.mark.anyio
async def test_a_busy_gateway_serves_two_calls_at_a_time() -> None:
    premises = Premises(FakeGateway(), FakeGatewayEvents())
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(premises.gateway.report, A)
    assert anyio.current_time() - began == pytest.approx(5 * Costs().authenticated)


@pytest.mark.anyio
async def test_a_call_that_waits_too_long_for_a_busy_gateway_gets_no_answer() -> None:
    premises = Premises(FakeGateway(), FakeGatewayEvents(), Costs(patience=0.06, cores=1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(premises.gateway.report, A)
        await anyio.sleep(0.01)
        tasks.start_soon(_asks_in_vain, premises)
        await anyio.sleep(0.01)
        tasks.start_soon(_asks_in_vain, premises)


@pytest.mark.anyio
async def test_a_gateway_that_is_away_refuses_at_once_and_writes_down_who_asked() -> None:
    premises = Premises(FakeGateway(), FakeGatewayEvents())
    await premises.gateway.report(A)
    premises.go_away()
    began = anyio.current_time()
    with pytest.raises(GatewayUnreachableError):
        await premises.gateway.report(A)
    assert anyio.current_time() == began
    premises.come_back()
    await premises.gateway.health()
    assert premises.book.while_away() == {"report": 1}
    assert premises.book.sessions_since(began) == [began]


@pytest.mark.anyio
async def test_what_is_on_its_way_when_the_gateway_goes_is_cut_off() -> None:
    premises = Premises(FakeGateway(), FakeGatewayEvents())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_asks_in_vain, premises)
        await anyio.sleep(0.01)
        premises.go_away()
    assert premises.book.while_away() == {}


async def _asks_in_vain(premises: Premises) -> None:
    with pytest.raises(GatewayAnswerError):
        await premises.gateway.report(A)
