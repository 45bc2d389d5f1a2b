"""The virtual clocks of the engine's tests keep time as real ones do, only at once."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping

import anyio
import pytest

from tests.engine.virtual_time import FIRST_INSTANT, DeadlockError, VirtualTimeLoop

Backend = tuple[str, Mapping[str, object]]


@pytest.mark.anyio
async def test_a_simulated_day_passes_without_waiting() -> None:
    begun = anyio.current_time()
    for _ in range(1440):
        await anyio.sleep(60)
    assert anyio.current_time() - begun == pytest.approx(86_400)


@pytest.mark.anyio
async def test_tasks_wake_in_the_order_of_their_deadlines() -> None:
    woken: list[float] = []

    async def wake_after(seconds: float) -> None:
        await anyio.sleep(seconds)
        woken.append(seconds)

    async with anyio.create_task_group() as group:
        for seconds in (0.3, 7200.0, 0.2, 5.0, 0.1):
            group.start_soon(wake_after, seconds)
    assert woken == [0.1, 0.2, 0.3, 5.0, 7200.0]


@pytest.mark.anyio
async def test_a_time_out_ends_a_wait_that_nobody_would_end() -> None:
    begun = anyio.current_time()
    with pytest.raises(TimeoutError), anyio.fail_after(30):
        await anyio.Event().wait()
    assert anyio.current_time() - begun == pytest.approx(30)


@pytest.mark.anyio
async def test_time_stands_still_while_somebody_works() -> None:
    begun = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 10)
        for _ in range(1000):
            await anyio.lowlevel.checkpoint()
        assert anyio.current_time() == begun


@pytest.mark.anyio
async def test_the_clocks_of_the_two_loops_start_at_different_times(anyio_backend: Backend) -> None:
    await anyio.lowlevel.checkpoint()
    assert anyio.current_time() == (0.0 if anyio_backend[0] == "trio" else FIRST_INSTANT)


def test_an_asyncio_loop_that_would_wait_for_ever_says_so() -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    impatient = functools.partial(VirtualTimeLoop, patience=0)
    with pytest.raises(DeadlockError), asyncio.Runner(loop_factory=impatient) as runner:
        runner.run(wait_for_ever())
