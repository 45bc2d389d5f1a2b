"""How late the event loop is: measured in virtual time, and on a real loop that is really blocked."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.daemon.daemon_room import until
from tests.engine.virtual_time import virtual_backend
from wa_supervisor.daemon.lag import LagPolicy, LoopLag

pytestmark = pytest.mark.anyio

POLICY = LagPolicy()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, object]]:
    """Give both event loops in virtual time."""
    return virtual_backend(request.param)


class Told:
    """What was measured."""

    def __init__(self) -> None:
        self.looks: list[tuple[float, float]] = []

    def __call__(self, late: float, worst: float) -> None:
        self.looks.append((late, worst))


@asynccontextmanager
async def measuring(told: Told) -> AsyncIterator[LoopLag]:
    """Measure for the length of the block."""
    lag = LoopLag(told)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lag.run)
        yield lag
        tasks.cancel_scope.cancel()


async def test_an_idle_loop_is_never_late_and_is_looked_at_twice_a_second() -> None:
    told = Told()
    async with measuring(told):
        await anyio.sleep(60.1)
    assert len(told.looks) == 120
    assert max(late for late, _ in told.looks) < 0.001


async def test_the_worst_is_that_of_the_last_minute() -> None:
    lag, seen = LoopLag(Told()), []
    for late, pause in ((0.2, 10), (3.0, 10), (0.5, 45), (0.1, 10), (0.0, 61), (0.0, 0)):
        lag._take(late)
        seen.append(lag.worst())
        await anyio.sleep(pause)
    assert seen == [0.2, 3.0, 3.0, 3.0, 0.5, 0.0]


async def test_a_loop_that_is_blocked_again_and_again_is_told_once_a_minute_with_the_worst(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lag = LoopLag(Told())
    for second in range(130):
        lag._take(2.0 if second == 30 else 1.0)
        await anyio.sleep(1)
    said = [(each.__dict__["seconds"], each.__dict__["times"]) for each in caplog.records]
    assert said == [(1.0, 1), (2.0, 60), (1.0, 60)]
    assert {each.levelno for each in caplog.records} == {logging.WARNING}


async def test_what_was_not_told_yet_is_told_when_the_minute_is_over(caplog: pytest.LogCaptureFixture) -> None:
    lag = LoopLag(Told())
    lag._take(1.0)
    lag._take(5.0)
    for _ in range(2):
        await anyio.sleep(POLICY.quiet)
        lag._take(0.0)
    assert [each.__dict__["seconds"] for each in caplog.records] == [1.0, 5.0]


async def test_it_shows_the_worst() -> None:
    lag = LoopLag(Told())
    lag._take(0.25)
    assert repr(lag) == "<LoopLag worst 0.250 s>"


async def test_lateness_below_the_bound_is_a_number_and_no_line(caplog: pytest.LogCaptureFixture) -> None:
    LoopLag(Told())._take(POLICY.bound / 2)
    assert not caplog.records


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_loop_that_is_really_blocked_is_seen() -> None:
    told = Told()
    async with measuring(told):
        await until(lambda: told.looks)
        time.sleep(1.2)  # noqa: ASYNC251  # what is measured
        await until(lambda: max(late for late, _ in told.looks) > 0.6)
