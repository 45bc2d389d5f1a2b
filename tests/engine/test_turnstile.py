"""The turnstile keeps its rate exactly, lets those first through that waited longest, and loses no slot."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.harness import cancel_after
from tests.engine.virtual_time import virtual_backend
from wa_supervisor.engine.turnstile import PASSING_AT_ONCE, Turnstile

pytestmark = pytest.mark.anyio

PER_SECOND = 20.0
INTERVAL = 1 / PER_SECOND
NEARLY = 1e-6


class Crowd:
    """Sessions at a turnstile, and when each came through."""

    def __init__(self) -> None:
        self.turnstile = Turnstile(PER_SECOND)
        self.passed: list[str] = []
        self.times: list[float] = []
        self.sent_away: list[str] = []
        self.inside = 0
        self.most = 0

    async def come(self, name: str, since: float, stays: float = 0.0) -> None:
        """Come, wait, and stay within for so many seconds."""
        async with self.turnstile.passage(since) as is_let_through:
            if not is_let_through:
                self.sent_away.append(name)
                return
            self.passed.append(name)
            self.times.append(anyio.current_time())
            self.inside += 1
            self.most = max(self.most, self.inside)
            try:
                await anyio.sleep(stays)
            finally:
                self.inside -= 1

    def gaps(self) -> list[float]:
        """Give the seconds between each and the next."""
        return [after - before for before, after in pairwise(self.times)]


@asynccontextmanager
async def open_turnstile() -> AsyncIterator[Crowd]:
    """Give a crowd whose turnstile has been idle for a while, and look at the end whether a slot is lost."""
    crowd = Crowd()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(crowd.turnstile.run)
        await anyio.sleep(100)
        with anyio.fail_after(3600):
            yield crowd
            await check_that_no_slot_is_lost(crowd)
        tasks.cancel_scope.cancel()


async def check_that_no_slot_is_lost(crowd: Crowd) -> None:
    assert crowd.turnstile.waiting == 0
    assert repr(crowd.turnstile) == "<Turnstile 0 wait, 0 pass>"
    before = len(crowd.passed)
    async with anyio.create_task_group() as tasks:
        for number in range(PASSING_AT_ONCE):
            tasks.start_soon(crowd.come, f"checking {number}", 0.0, 50.0)
        await anyio.sleep(10)
        assert len(crowd.passed) - before == PASSING_AT_ONCE


async def test_whoever_comes_alone_goes_through_at_once() -> None:
    async with open_turnstile() as crowd:
        began = anyio.current_time()
        await crowd.come("a", 0.0)
        assert anyio.current_time() == began


async def test_the_rate_is_kept_exactly_and_an_idle_while_saves_nothing_up() -> None:
    async with open_turnstile() as crowd:
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for number in range(60):
                tasks.start_soon(crowd.come, f"{number}", began)
        assert crowd.times == pytest.approx([began + number * INTERVAL for number in range(60)])


async def test_who_comes_in_dribs_and_drabs_is_not_let_through_faster() -> None:
    async with open_turnstile() as crowd:
        async with anyio.create_task_group() as tasks:
            for number in range(60):
                tasks.start_soon(crowd.come, f"{number}", 0.0)
                await anyio.sleep(INTERVAL * 1.9 if number % 2 else 0.0)
        assert min(crowd.gaps()) >= INTERVAL - NEARLY


async def test_those_that_waited_longest_are_first_and_of_equals_who_came_first() -> None:
    async with open_turnstile() as crowd:
        await crowd.come("before", 0.0)  # so that nobody's turn is at once
        async with anyio.create_task_group() as tasks:
            for name, since in (("new", 90.0), ("older", 50.0), ("oldest", 10.0), ("older too", 50.0)):
                tasks.start_soon(crowd.come, name, since)
                await checkpoint()
        assert crowd.passed == ["before", "oldest", "older", "older too", "new"]


async def test_no_more_pass_at_once_than_the_gateway_answers_however_long_that_takes() -> None:
    async with open_turnstile() as crowd:
        async with anyio.create_task_group() as tasks:
            for number in range(5 * PASSING_AT_ONCE):
                tasks.start_soon(crowd.come, f"{number}", 0.0, 30.0)
            await anyio.sleep(29)
            assert len(crowd.passed) == PASSING_AT_ONCE
            assert repr(crowd.turnstile) == f"<Turnstile {4 * PASSING_AT_ONCE} wait, {PASSING_AT_ONCE} pass>"
        assert crowd.most == PASSING_AT_ONCE
        assert len(crowd.passed) == 5 * PASSING_AT_ONCE


async def test_who_gives_up_waiting_leaves_its_place_and_the_order_of_the_others_stays() -> None:
    async with open_turnstile() as crowd:
        await crowd.come("before", 0.0)
        scopes = {name: anyio.CancelScope() for name in "abcdef"}

        async def come(name: str) -> None:
            with scopes[name]:
                await crowd.come(name, float(ord(name)))

        async with anyio.create_task_group() as tasks:
            for name in "fbdcea":
                tasks.start_soon(come, name)
            await anyio.sleep(INTERVAL / 2)
            assert crowd.turnstile.waiting == 6
            scopes["a"].cancel()
            scopes["d"].cancel()
            await anyio.sleep(INTERVAL / 4)
            assert crowd.turnstile.waiting == 4
        assert crowd.passed == ["before", "b", "c", "e", "f"]


@pytest.mark.parametrize("turns", range(10))
async def test_wherever_a_cancellation_comes_no_slot_is_lost(turns: int) -> None:
    async with open_turnstile() as crowd:
        for number in range(2 * PASSING_AT_ONCE):
            await cancel_after(turns, lambda number=number: crowd.come(f"{number}", 0.0, 10.0))  # type: ignore[misc]  # a default in a lambda
            await anyio.sleep(1)


async def test_who_is_cancelled_in_the_very_moment_of_being_let_through_leaks_no_slot() -> None:
    async with open_turnstile() as crowd:
        for _ in range(2 * PASSING_AT_ONCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(crowd.come, "a", 0.0, 10.0)
                while "0 pass" in repr(crowd.turnstile):  # noqa: ASYNC110  # the very moment is what the test is about
                    await checkpoint()
                tasks.cancel_scope.cancel()
            await anyio.sleep(1)


async def test_all_who_wait_are_turned_away_and_those_within_are_not() -> None:
    async with open_turnstile() as crowd:
        async with anyio.create_task_group() as tasks:
            for number in range(PASSING_AT_ONCE + 3):
                tasks.start_soon(crowd.come, f"{number}", float(number), 20.0)
            await anyio.sleep(10)
            began = anyio.current_time()
            crowd.turnstile.turn_all_away()
            await checkpoint()
            await checkpoint()
            await checkpoint()
            assert anyio.current_time() == began
            assert sorted(crowd.sent_away) == ["10", "8", "9"]
            assert crowd.inside == PASSING_AT_ONCE
        await crowd.come("later", 0.0)
        assert crowd.passed[-1] == "later"


async def test_who_is_turned_away_and_cancelled_at_once_leaves_nothing_behind() -> None:
    async with open_turnstile() as crowd:
        await crowd.come("before", 0.0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(crowd.come, "a", 0.0)
            await checkpoint()
            await checkpoint()
            crowd.turnstile.turn_all_away()
            tasks.cancel_scope.cancel()


async def test_who_fails_within_frees_its_slot() -> None:
    async with open_turnstile() as crowd:
        for _ in range(2 * PASSING_AT_ONCE):
            with suppress(ValueError):
                async with crowd.turnstile.passage(0.0):
                    raise ValueError


async def _random_story(seed: int) -> None:
    dice = random.Random(seed)
    async with open_turnstile() as crowd:
        async with anyio.create_task_group() as tasks:

            async def come(number: int) -> None:
                with anyio.move_on_after(dice.uniform(0.0, 5.0) if dice.random() < 0.3 else 1000.0):
                    await crowd.come(f"{number}", dice.uniform(0, 100), dice.uniform(0.0, 2.0))

            for number in range(dice.randrange(1, 60)):
                tasks.start_soon(come, number)
                if dice.random() < 0.05:
                    crowd.turnstile.turn_all_away()
                await anyio.sleep(dice.choice([0.0, 0.0, INTERVAL / 3, 1.0]))
        assert crowd.most <= PASSING_AT_ONCE
        assert all(gap >= INTERVAL - NEARLY for gap in crowd.gaps())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_whatever_comes_rate_and_slots_are_kept(backend: str, seed: int) -> None:
    name, options = virtual_backend(backend)
    anyio.run(_random_story, seed, backend=name, backend_options=dict(options))
