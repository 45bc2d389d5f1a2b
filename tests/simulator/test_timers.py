"""Lines of timers: everything is called once, in order, and one that fails does not stop the others."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from tests.simulator.harness import PATIENCE
from wa_supervisor.simulator.timers import Line

pytestmark = pytest.mark.anyio


async def test_without_a_delay_it_is_called_at_once() -> None:
    called: list[int] = []
    Line(0).add(lambda: called.append(1))
    assert called == [1]


async def test_everything_is_called_once_in_the_order_in_which_it_was_set() -> None:
    line, called, done = Line(0.01), list[int](), anyio.Event()
    for number in range(100):
        line.add(lambda number=number: called.append(number))  # type: ignore[misc]  # a default binds the loop's value
        if number % 10 == 0:
            await anyio.lowlevel.checkpoint()
    line.add(done.set)
    assert called != list(range(100))
    with anyio.fail_after(PATIENCE):
        await done.wait()
    assert called == list(range(100))


async def test_one_that_fails_does_not_stop_the_others() -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context["exception"]))
    line, done = Line(0.01), anyio.Event()

    def fail() -> None:
        raise LookupError("mine")

    line.add(fail)
    line.add(done.set)
    with anyio.fail_after(PATIENCE):
        await done.wait()
    assert [type(failure) for failure in failures] == [LookupError]
