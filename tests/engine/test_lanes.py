"""Lanes keep the order within a key, let keys pass each other, bound what waits, and lose count of nothing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.harness import cancel_after
from tests.engine.virtual_time import virtual_backend
from wa_supervisor.engine.lanes import Lanes, LanesFullError, LanesOverError

pytestmark = pytest.mark.anyio

Backend = tuple[str, Mapping[str, object]]


class Works:
    """Work that takes as long as its item says, and keeps books on everything."""

    def __init__(self, *, bound: int = 1000, side_by_side: int = 1000) -> None:
        self.lanes: Lanes[str, float] = Lanes(
            self.work, bound=bound, side_by_side=side_by_side, on_error=self.errors_append
        )
        self.errors: list[BaseException] = []
        self.begun: list[tuple[str, float]] = []
        self.done: list[tuple[str, float]] = []
        self.at_work: Counter[str] = Counter()
        self.most = 0

    def errors_append(self, error: BaseException) -> None:
        self.errors.append(error)

    async def work(self, key: str, seconds: float) -> None:
        self.begun.append((key, seconds))
        self.at_work[key] += 1
        assert self.at_work[key] == 1, "two of one key at the same time"
        self.most = max(self.most, self.at_work.total())
        try:
            if seconds < 0:
                raise ValueError(seconds)
            await anyio.sleep(seconds)
        finally:
            self.at_work[key] -= 1
        self.done.append((key, seconds))


async def test_one_key_is_in_order_and_a_slow_key_delays_no_other() -> None:
    works, began = Works(), anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(works.lanes.run)
        for seconds in (100.0, 1.0, 2.0):
            works.lanes.put_nowait("slow", seconds)
        for seconds in (3.0, 1.0):
            works.lanes.put_nowait("quick", seconds)
        await anyio.sleep(5)
        assert works.done == [("quick", 3.0), ("quick", 1.0)]
        await works.lanes.wait_empty()
        assert works.done[2:] == [("slow", 100.0), ("slow", 1.0), ("slow", 2.0)]
        assert anyio.current_time() - began == pytest.approx(103)
        tasks.cancel_scope.cancel()


async def test_no_more_run_side_by_side_than_may_and_each_lane_has_its_turn() -> None:
    works = Works(side_by_side=3)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(works.lanes.run)
        for _ in range(4):
            for key in "abcdefgh":
                works.lanes.put_nowait(key, 1.0)
        await works.lanes.wait_empty()
        assert works.most == 3
        firsts = {key for key, _ in works.begun[:9]}  # three at a time, in any order
        assert firsts == set("abcdefgh")
        tasks.cancel_scope.cancel()


async def test_what_is_put_before_the_lanes_run_waits_for_them() -> None:
    works = Works()
    works.lanes.put_nowait("a", 0.0)
    await works.lanes.put("a", 1.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(works.lanes.run)
        await works.lanes.wait_empty()
        assert works.done == [("a", 0.0), ("a", 1.0)]
        tasks.cancel_scope.cancel()


async def test_an_idle_key_costs_nothing() -> None:
    works = Works(bound=3)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(works.lanes.run)
        works.lanes.put_nowait("a", 1.0)
        works.lanes.put_nowait("b", 2.0)
        assert repr(works.lanes) == "<Lanes 2 lanes, 2 of 3 items>"
        await works.lanes.wait_empty()
        await checkpoint()
        assert repr(works.lanes) == "<Lanes 0 lanes, 0 of 3 items>"
        tasks.cancel_scope.cancel()


async def test_a_full_queue_refuses_those_who_do_not_wait_and_those_who_wait_go_on_when_there_is_room() -> None:
    works = Works(bound=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(works.lanes.run)
        works.lanes.put_nowait("a", 10.0)
        works.lanes.put_nowait("b", 20.0)
        with pytest.raises(LanesFullError):
            works.lanes.put_nowait("c", 1.0)
        began = anyio.current_time()
        await works.lanes.put("c", 1.0)
        assert anyio.current_time() - began == pytest.approx(10)
        assert works.lanes.count == 2
        await works.lanes.wait_empty()
        tasks.cancel_scope.cancel()
    assert [key for key, _ in works.done] == ["a", "c", "b"]


async def test_of_many_who_wait_for_room_only_as_many_as_fit_go_on() -> None:
    works = Works(bound=3)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(works.lanes.run)
        for number in range(20):
            tasks.start_soon(works.lanes.put, f"{number}", 1.0)
        while len(works.done) < 20:
            assert works.lanes.count <= 3
            await anyio.sleep(0.5)
        tasks.cancel_scope.cancel()


async def test_an_item_that_fails_is_told_and_ends_neither_its_lane_nor_another() -> None:
    works = Works()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(works.lanes.run)
        for seconds in (-1.0, 1.0, -2.0, 2.0):
            works.lanes.put_nowait("a", seconds)
        works.lanes.put_nowait("b", 1.5)
        await works.lanes.wait_empty()
        tasks.cancel_scope.cancel()
    assert [str(error) for error in works.errors] == ["-1.0", "-2.0"]
    assert works.done == [("a", 1.0), ("b", 1.5), ("a", 2.0)]


@pytest.mark.parametrize("anyio_backend", [virtual_backend("asyncio")])
async def test_a_cancellation_that_was_not_ours_is_a_failure_of_its_item_alone() -> None:
    errors: list[BaseException] = []
    done: list[str] = []

    async def work(_: str, item: str) -> None:
        if item == "broken":
            raise asyncio.CancelledError
        done.append(item)

    lanes: Lanes[str, str] = Lanes(work, bound=10, side_by_side=10, on_error=errors.append)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lanes.run)
        for item in ("first", "broken", "last"):
            lanes.put_nowait("a", item)
        await lanes.wait_empty()
        tasks.cancel_scope.cancel()
    assert done == ["first", "last"]
    assert [type(error) for error in errors] == [asyncio.CancelledError]


async def test_what_was_cut_off_is_the_first_of_the_rest_and_nothing_is_missing() -> None:
    works = Works()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(works.lanes.run)
        for seconds in (1.0, 10.0, 3.0):
            works.lanes.put_nowait("a", seconds)
        works.lanes.put_nowait("b", 20.0)
        await anyio.sleep(5)
        tasks.cancel_scope.cancel()
    assert works.lanes.count == 3
    assert works.lanes.take_rest() == [("a", 10.0), ("a", 3.0), ("b", 20.0)]
    assert works.lanes.count == 0
    assert works.lanes.take_rest() == []
    assert works.done == [("a", 1.0)]


async def test_after_the_end_nothing_is_taken_and_who_waits_for_room_is_let_go() -> None:
    works, refused = Works(bound=1), list[str]()

    async def put(key: str) -> None:
        try:
            await works.lanes.put(key, 1.0)
        except LanesOverError:
            refused.append(key)

    async with anyio.create_task_group() as putting, anyio.create_task_group() as tasks:
        tasks.start_soon(works.lanes.run)
        works.lanes.put_nowait("a", 100.0)
        putting.start_soon(put, "b")
        putting.start_soon(put, "c")
        await anyio.sleep(5)
        tasks.cancel_scope.cancel()
    assert sorted(refused) == ["b", "c"]
    assert works.lanes.take_rest() == [("a", 100.0)]
    with pytest.raises(LanesOverError):
        works.lanes.put_nowait("a", 1.0)
    with pytest.raises(LanesOverError):
        await works.lanes.put("a", 1.0)
    assert works.lanes.count == 0


async def test_taking_the_rest_while_the_lanes_run_takes_only_what_nobody_works_on() -> None:
    works = Works()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(works.lanes.run)
        for seconds in (5.0, 1.0, 2.0):
            works.lanes.put_nowait("a", seconds)
        await anyio.sleep(1)
        assert works.lanes.take_rest() == [("a", 1.0), ("a", 2.0)]
        assert works.lanes.count == 1
        works.lanes.put_nowait("a", 3.0)  # must wait for the one that is being worked on
        await works.lanes.wait_empty()
        tasks.cancel_scope.cancel()
    assert works.done == [("a", 5.0), ("a", 3.0)]


async def test_taking_the_rest_from_a_lane_that_waits_for_its_turn_leaves_it_nothing_to_do() -> None:
    works = Works(side_by_side=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(works.lanes.run)
        works.lanes.put_nowait("a", 5.0)
        await anyio.sleep(1)
        works.lanes.put_nowait("b", 1.0)
        await anyio.sleep(1)
        assert works.lanes.take_rest() == [("b", 1.0)]
        await works.lanes.wait_empty()
        await anyio.sleep(1)
        works.lanes.put_nowait("b", 2.0)
        await works.lanes.wait_empty()
        tasks.cancel_scope.cancel()
    assert works.done == [("a", 5.0), ("b", 2.0)]


async def test_who_gives_up_waiting_for_room_has_put_nothing() -> None:
    works = Works(bound=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(works.lanes.run)
        works.lanes.put_nowait("a", 10.0)
        with anyio.move_on_after(5):
            await works.lanes.put("a", 1.0)
        await works.lanes.wait_empty()
        assert works.done == [("a", 10.0)]
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("turns", range(40))
async def test_wherever_the_end_comes_every_item_is_done_or_in_the_rest(turns: int) -> None:
    seen: list[str] = []

    async def work(_: str, item: str) -> None:
        await checkpoint()
        await checkpoint()
        seen.append(item)

    lanes: Lanes[str, str] = Lanes(work, bound=20, side_by_side=2, on_error=lambda _: None)
    items = [f"{key}{number}" for number in range(4) for key in "abc"]
    for item in items:
        lanes.put_nowait(item[0], item)
    await cancel_after(turns, lanes.run)
    rest = [item for _, item in lanes.take_rest()]
    assert sorted(seen + rest) == sorted(items)
    for key in "abc":
        mine = [item for item in seen + rest if item[0] == key]
        assert mine == sorted(mine)


class Story:
    """A random life of lanes: items are put, done, failed and taken out, and the books are compared all the time."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.lanes: Lanes[int, int] = Lanes(self.work, bound=5, side_by_side=2, on_error=self.failed)
        self.put: list[int] = []
        self.ended: defaultdict[str, list[int]] = defaultdict(list)
        self.number = 0

    def failed(self, error: BaseException) -> None:
        self.ended["failed"].append(error.args[0])

    async def work(self, key: int, item: int) -> None:
        del key
        for _ in range(self.dice.randrange(3)):
            await checkpoint()
        if self.dice.random() < 0.3:
            raise ValueError(item)
        self.ended["done"].append(item)

    async def putting(self) -> None:
        for _ in range(20):
            self.number += 1
            item, key = self.number, self.dice.randrange(3)
            with anyio.CancelScope() as scope, suppress(LanesOverError):  # the lanes may be cancelled first
                if self.dice.random() < 0.2:
                    scope.cancel()
                await self.lanes.put(key, item)
                self.put.append(item)
            await checkpoint()

    async def taking(self) -> None:
        for _ in range(self.dice.randrange(10)):
            self.check()
            await checkpoint()
            if self.dice.random() < 0.2:
                self.ended["rest"] += [item for _, item in self.lanes.take_rest()]

    def check(self) -> None:
        gone = sum(map(len, self.ended.values()))
        assert 0 <= self.lanes.count <= 5
        # An item that just ended is told a moment before it is counted out.
        assert 0 <= self.lanes.count - (len(self.put) - gone) <= 2

    async def play(self) -> None:
        turns = self.dice.randrange(1, 60)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.lanes.run)
            tasks.start_soon(self.putting)
            tasks.start_soon(self.taking)
            for _ in range(turns):
                await checkpoint()
            tasks.cancel_scope.cancel()
        self.ended["rest"] += [item for _, item in self.lanes.take_rest()]
        assert sorted(item for items in self.ended.values() for item in items) == self.put
        assert self.lanes.count == 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_whatever_happens_the_count_never_drifts(backend: str, seed: int) -> None:
    async def play() -> None:
        await Story(random.Random(seed)).play()

    name, options = virtual_backend(backend)
    anyio.run(play, backend=name, backend_options=dict(options))
