"""Polls take a share of the gateway's time, as its answers tell, and none stops the others."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import anyio
import pytest

from tests.engine.harness import cancel_after
from wa_supervisor.domain.errors import GatewayTimeoutError
from wa_supervisor.engine.pacer import FIRST_GUESS, NEWEST, POLLS_AT_ONCE, SLOWEST, Pacer

pytestmark = pytest.mark.anyio

SHARE = 0.25


class Polls:
    """A gateway that takes as long as it takes, and who polls it."""

    def __init__(self) -> None:
        self.told: list[float] = []
        self.pacer = Pacer(SHARE, self.told.append)
        self.begun: list[float] = []
        self.busy = 0.0
        self.at_once = 0
        self.most = 0

    async def poll(self, takes: float = FIRST_GUESS, *, is_urgent: bool = False) -> None:
        """Ask once; the answer takes so many seconds."""
        async with self.pacer.turn(is_urgent=is_urgent):
            self.begun.append(anyio.current_time())
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            try:
                await anyio.sleep(takes)
                self.busy += takes
            finally:
                self.at_once -= 1

    async def poll_all(self, count: int, takes: float) -> float:
        """Ask so often, all at the same time; give the seconds that it took."""
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(self.poll, takes)
        return anyio.current_time() - began


async def test_one_alone_polls_at_once() -> None:
    polls, began = Polls(), anyio.current_time()
    await polls.poll()
    assert polls.begun == [began]
    assert polls.told == pytest.approx([FIRST_GUESS])


async def test_polls_take_no_more_than_their_share_of_the_gateways_time() -> None:
    polls = Polls()
    seconds = await polls.poll_all(100, FIRST_GUESS)
    assert polls.busy / seconds == pytest.approx(SHARE, rel=0.02)
    gaps = [after - before for before, after in pairwise(polls.begun)]
    assert gaps == pytest.approx([FIRST_GUESS / SHARE] * 99)


async def test_a_gateway_that_slows_down_is_asked_less_often_and_keeps_its_share() -> None:
    polls = Polls()
    await polls.poll_all(50, 0.5)
    busy = polls.busy
    seconds = await polls.poll_all(50, 0.5)
    assert (polls.busy - busy) / seconds == pytest.approx(SHARE, rel=0.05)


async def test_a_gateway_that_recovers_is_asked_more_often_again() -> None:
    polls = Polls()
    await polls.poll_all(50, 1.0)
    slow = polls.pacer.latency
    await polls.poll_all(50, 0.01)
    assert slow == pytest.approx(1.0, rel=0.01)
    assert polls.pacer.latency == pytest.approx(0.01, rel=0.01)


async def test_the_latency_is_an_average_in_which_the_newest_answer_weighs_a_fifth() -> None:
    polls = Polls()
    assert polls.pacer.latency == FIRST_GUESS
    await polls.poll(1.05)
    assert polls.pacer.latency == pytest.approx(FIRST_GUESS + NEWEST * 1.0)
    assert repr(polls.pacer) == "<Pacer 250 ms, 0 wait>"
    assert polls.told == pytest.approx([1.05])


async def test_the_interval_is_as_wanted_or_as_the_gateway_can() -> None:
    polls = Polls()
    assert polls.pacer.interval(45.0, 10) == 45.0
    assert polls.pacer.interval(45.0, 1000) == pytest.approx(1000 * FIRST_GUESS / SHARE)


async def test_however_slow_the_answers_two_polls_are_never_further_apart_than_the_bound() -> None:
    polls = Polls()
    for _ in range(30):
        await polls.poll(100.0)
    assert polls.pacer.interval(45.0, 100) == pytest.approx(100 * SLOWEST)
    began = anyio.current_time()
    await polls.poll(0.0)
    assert polls.begun[-1] - began <= SLOWEST


async def test_an_error_goes_through_is_not_measured_and_frees_its_turn() -> None:
    polls = Polls()

    async def fail() -> None:
        async with polls.pacer.turn():
            await anyio.sleep(30)
            raise ValueError("no answer")

    for _ in range(3 * POLLS_AT_ONCE):
        with pytest.raises(ValueError, match="no answer"):
            await fail()
    assert polls.told == []
    assert polls.pacer.latency == FIRST_GUESS
    with anyio.fail_after(SLOWEST):
        await polls.poll_all(POLLS_AT_ONCE, 0.01)


async def test_a_poll_that_hangs_does_not_stop_the_others() -> None:
    polls = Polls()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(polls.poll, 1_000_000.0)
        await anyio.sleep(1)
        seconds = await polls.poll_all(20, FIRST_GUESS)
        assert seconds < 20 * FIRST_GUESS / SHARE + 1
        tasks.cancel_scope.cancel()


async def test_no_more_are_under_way_than_may() -> None:
    polls = Polls()
    for _ in range(2):
        await polls.poll_all(20, 20.0)
    assert polls.most == POLLS_AT_ONCE


@pytest.mark.parametrize("turns", range(8))
async def test_wherever_a_cancellation_comes_no_turn_is_lost(turns: int) -> None:
    polls = Polls()
    for _ in range(2 * POLLS_AT_ONCE):
        await cancel_after(turns, polls.poll)
    async with anyio.create_task_group() as tasks:
        for _ in range(POLLS_AT_ONCE):
            tasks.start_soon(polls.poll, 1000.0)
        await anyio.sleep(100)
        assert polls.at_once == POLLS_AT_ONCE
        tasks.cancel_scope.cancel()


async def test_who_cannot_wait_goes_before_those_that_wait_already_and_after_others_that_cannot() -> None:
    polls = Polls()
    order: list[str] = []

    async def poll(name: str, *, is_urgent: bool) -> None:
        async with polls.pacer.turn(is_urgent=is_urgent):
            order.append(name)
            await anyio.sleep(10)

    async with anyio.create_task_group() as tasks:
        for name in ("first", "second", "third", "fourth", "patient"):
            tasks.start_soon(partial(poll, name, is_urgent=False))
            await anyio.sleep(1)
        assert repr(polls.pacer) == "<Pacer 50 ms, 1 wait>"
        for name in ("urgent", "urgent too"):
            tasks.start_soon(partial(poll, name, is_urgent=True))
            await anyio.sleep(1)
    assert order == ["first", "second", "third", "fourth", "urgent", "urgent too", "patient"]


async def test_an_answer_that_did_not_come_in_time_is_measured() -> None:
    polls = Polls()

    async def ask() -> None:
        async with polls.pacer.turn():
            await anyio.sleep(30)
            raise GatewayTimeoutError("no answer")

    with pytest.raises(GatewayTimeoutError):
        await ask()
    assert polls.told == pytest.approx([30.0])
    assert polls.pacer.latency > FIRST_GUESS


async def test_one_task_may_poll_within_a_poll() -> None:
    polls = Polls()
    with anyio.fail_after(10):
        async with polls.pacer.turn():
            await polls.poll()
    assert len(polls.told) == 2
