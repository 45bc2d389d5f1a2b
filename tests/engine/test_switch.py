"""A switch is a level, a bell is a ring that nobody has to be quick for."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from wa_supervisor.engine.switch import Bell, Switch

pytestmark = pytest.mark.anyio


async def test_waiting_for_the_side_that_is_there_returns_at_once() -> None:
    with anyio.fail_after(1):
        await Switch(on=True).wait_on()
        await Switch().wait_off()


async def test_a_turn_wakes_everybody_who_waits_for_that_side_and_nobody_else() -> None:
    switch, woken = Switch(), []

    async def wait(name: str, *, on: bool) -> None:
        await (switch.wait_on() if on else switch.wait_off())
        woken.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: wait("first", on=True))
        tasks.start_soon(lambda: wait("second", on=True))
        await anyio.sleep(1)
        assert woken == []
        switch.turn(on=True)
        await anyio.sleep(1)
        assert sorted(woken) == ["first", "second"]
        tasks.start_soon(lambda: wait("third", on=False))
        await anyio.sleep(1)
        switch.turn(on=True)
        await anyio.sleep(1)
        assert len(woken) == 2
        switch.turn(on=False)
    assert woken[2:] == ["third"]


async def test_a_side_that_is_gone_again_before_the_waiter_runs_is_waited_for_again() -> None:
    switch, states = Switch(), []

    async def wait() -> None:
        await switch.wait_on()
        states.append(switch.is_on)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.sleep(1)
        switch.turn(on=True)
        switch.turn(on=False)
        await anyio.sleep(1)
        assert states == []
        switch.turn(on=True)
    assert states == [True]


async def test_a_switch_says_how_it_stands() -> None:
    assert (repr(Switch()), repr(Switch(on=True))) == ("<Switch off>", "<Switch on>")


async def test_a_ring_before_anybody_waits_is_kept_and_taken_once_however_often_it_rang() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    assert await bell.wait_for(0.001)
    assert not await bell.wait_for(10)


async def test_a_ring_wakes_everybody_who_waits() -> None:
    bell, woken = Bell(), []

    async def wait() -> None:
        await bell.wait()
        woken.append(1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        tasks.start_soon(wait)
        await anyio.sleep(1)
        bell.ring()
    assert woken == [1, 1]
    assert not await bell.wait_for(10)


async def test_a_ring_between_two_waiters_that_wake_is_not_lost() -> None:
    bell, woken = Bell(), []

    async def wait() -> None:
        await bell.wait()
        woken.append(1)
        if len(woken) == 1:
            bell.ring()  # the other waiter was woken by the first ring, but did not run yet

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        tasks.start_soon(wait)
        await anyio.sleep(1)
        bell.ring()
    assert woken == [1, 1]
    assert await bell.wait_for(10)


async def test_waiting_for_a_while_ends_with_the_ring_or_with_the_time() -> None:
    bell, began = Bell(), anyio.current_time()
    assert not await bell.wait_for(30)
    assert anyio.current_time() - began == pytest.approx(30)

    async def ring_soon() -> None:
        await anyio.sleep(5)
        bell.ring()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ring_soon)
        assert await bell.wait_for(30)
    assert anyio.current_time() - began == pytest.approx(35)


async def test_a_waiter_that_is_cancelled_while_it_rings_leaves_the_ring_to_the_next() -> None:
    bell = Bell()
    with anyio.CancelScope() as scope:
        bell.ring()
        scope.cancel()
        await bell.wait()
    assert scope.cancelled_caught
    assert await bell.wait_for(10)


async def test_every_turn_of_a_switch_is_seen_by_a_waiter_that_keeps_up() -> None:
    switch, seen = Switch(), 0

    async def follow() -> None:
        nonlocal seen
        for _ in range(50):
            await switch.wait_on()
            await switch.wait_off()
            seen += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        for number in range(100):
            await anyio.sleep(1)
            switch.turn(on=number % 2 == 0)
            await checkpoint()
    assert seen == 50
