"""Trying again: how long to wait, what counts as a failure, and what is seen through against a cancellation."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import AsyncRetrying, Future, RetryCallState

from tests.engine.harness import cancel_after
from tests.engine.virtual_time import virtual_backend
from wa_supervisor.domain.errors import PermanentError, StoreUnavailableError, TemporaryError
from wa_supervisor.engine.retrying import full_jitter, insist, is_being_cancelled, keep_doing, patient

pytestmark = pytest.mark.anyio

only_asyncio = pytest.mark.parametrize("anyio_backend", [virtual_backend("asyncio")])
"""A cancellation that no scope asked for exists on asyncio only."""


class Log:
    """What was told before the waits."""

    def __init__(self) -> None:
        self.told: list[tuple[BaseException, float, int]] = []

    def __call__(self, error: BaseException, delay: float, attempt: int) -> None:
        self.told.append((error, delay, attempt))

    @property
    def attempts(self) -> list[int]:
        return [attempt for _, _, attempt in self.told]


class Flaky:
    """Work that fails with these errors, one after the other, and then succeeds."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def work(self) -> str:
        self.calls += 1
        await anyio.lowlevel.checkpoint()
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def do(self) -> None:
        await self.work()


def waits(initial: float, longest: float, attempt: int, error: BaseException | None) -> float:
    state = RetryCallState(AsyncRetrying(), None, (), {})
    state.attempt_number = attempt
    if error is not None:
        state.outcome = Future(attempt)
        state.outcome.set_exception(error)
    return full_jitter(initial, longest)(state)


@given(st.floats(0.01, 10), st.floats(0.01, 600), st.integers(1, 5000))
def test_a_delay_is_between_nothing_and_a_bound_that_doubles_up_to_a_cap(
    initial: float, longest: float, attempt: int
) -> None:
    bound = min(longest, initial * 2.0 ** min(attempt - 1, 100))
    for error in (RuntimeError(), StoreUnavailableError("away"), None):
        assert 0 <= waits(initial, longest, attempt, error) <= bound * 1.000001


def test_a_delay_is_never_shorter_than_the_other_side_asked_for() -> None:
    assert waits(1.0, 2.0, 1, TemporaryError("busy", retry_after=77.0)) == 77.0
    assert waits(1.0, 2.0, 1, TemporaryError("busy", retry_after=0.0)) <= 1.0


def test_delays_of_many_are_spread() -> None:
    delays = [waits(1.0, 60.0, 5, None) for _ in range(1000)]
    assert 4.0 < sum(delays) / len(delays) < 12.0
    assert len(set(delays)) > 900


async def test_what_may_pass_is_tried_until_it_works_and_each_failure_is_told_with_its_number() -> None:
    log, work = Log(), Flaky(StoreUnavailableError("1"), RuntimeError("2"), ExceptionGroup("3", [ValueError()]))
    assert await patient(1, 10, tell=log)(work.work) == "done"
    assert log.attempts == [1, 2, 3]
    assert [str(error)[0] for error, _, _ in log.told] == ["1", "2", "3"]
    assert all(0 <= delay <= 2.0 ** (attempt - 1) for _, delay, attempt in log.told)


async def test_what_is_permanent_goes_through_at_once() -> None:
    log, work = Log(), Flaky(PermanentError("no"))
    with pytest.raises(PermanentError):
        await patient(1, 10, tell=log)(work.work)
    assert log.told == []


@only_asyncio
async def test_a_cancellation_that_was_not_ours_is_a_failure_that_may_pass() -> None:
    log, work = Log(), Flaky(asyncio.CancelledError(), asyncio.CancelledError())
    assert await patient(1, 10, tell=log)(work.work) == "done"
    assert log.attempts == [1, 2]


@only_asyncio
async def test_our_own_cancellation_is_never_taken_for_a_librarys() -> None:
    log = Log()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await patient(1, 10, tell=log)(Flaky(asyncio.CancelledError()).work)
    assert scope.cancelled_caught
    assert log.told == []


@pytest.mark.parametrize("seconds", [0.0, 0.001, 1.0, 2.5, 40.0])
async def test_our_own_cancellation_ends_the_trying_wherever_it_is(seconds: float) -> None:
    async def fail() -> None:
        await anyio.sleep(0.7)
        raise StoreUnavailableError("away")

    async def try_for_ever() -> None:
        await patient(1, 5, tell=Log())(fail)

    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(try_for_ever)
        await anyio.sleep(seconds)
        tasks.cancel_scope.cancel()
    assert anyio.current_time() - began == pytest.approx(seconds)


async def test_what_is_kept_doing_waits_longer_after_each_quick_failure() -> None:
    log, times = Log(), []

    async def fail() -> None:
        times.append(anyio.current_time())
        await anyio.lowlevel.checkpoint()
        raise StoreUnavailableError("away")

    with anyio.move_on_after(3600):
        await keep_doing(fail, initial=1, longest=30, tell=log)
    assert log.attempts == list(range(1, len(log.told) + 1))
    assert 3600 / 30 * 0.8 < len(times) < 3600 / 30 * 3


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), RuntimeError("a bug")])
async def test_what_was_kept_doing_for_long_counts_from_one_again(error: Exception) -> None:
    log, lives = Log(), iter([0, 0, 0, 0, 1000, 0, 0, 31, 0])

    async def live() -> None:
        life = next(lives, None)
        await anyio.sleep(10_000 if life is None else life)
        raise error

    with anyio.move_on_after(3000):
        await keep_doing(live, initial=1, longest=30, tell=log)
    assert log.attempts == [1, 2, 3, 4, 1, 2, 3, 1, 2]
    assert all(delay <= 1.0 for _, delay, attempt in log.told if attempt == 1)


async def test_what_is_kept_doing_and_returns_is_done_again() -> None:
    work, log = Flaky(), Log()
    await cancel_after(20, lambda: keep_doing(work.work, initial=1, longest=30, tell=log))
    assert work.calls > 3
    assert log.told == []


async def test_what_is_kept_doing_ends_with_what_is_permanent() -> None:
    with pytest.raises(PermanentError):
        await keep_doing(Flaky(PermanentError("no")).work, initial=1, longest=30, tell=Log())


async def test_insisting_tries_until_it_works() -> None:
    log, work = Log(), Flaky(*(StoreUnavailableError(f"{number}") for number in range(100)))
    assert await insist(work.do, limit=4.0, tell=log)
    assert log.attempts == list(range(1, 101))


@pytest.mark.parametrize("error", [RuntimeError("a bug"), PermanentError("no")])
async def test_insisting_ends_with_what_does_not_pass_and_tells_it(error: Exception) -> None:
    log = Log()
    assert not await insist(Flaky(StoreUnavailableError("away"), error).do, limit=4.0, tell=log)
    assert [told for told, _, _ in log.told][-1] is error
    assert log.attempts == [1, 2]


async def test_insisting_is_not_interrupted_and_the_cancellation_comes_afterwards() -> None:
    done: list[bool] = []

    async def slow() -> None:
        await anyio.sleep(3)

    async with anyio.create_task_group() as tasks:
        tasks.cancel_scope.cancel()
        assert is_being_cancelled()
        done.append(await insist(slow, limit=4.0, tell=Log()))
        await anyio.lowlevel.checkpoint()
        done.append(False)
    assert done == [True]


@pytest.mark.parametrize("failing", [True, False])
async def test_insisting_ends_in_time_once_everything_is_being_cancelled(failing: bool) -> None:
    async def never() -> None:
        if failing:
            await anyio.lowlevel.checkpoint()
            raise StoreUnavailableError("away")
        await anyio.sleep_forever()

    answers: list[bool] = []

    async def try_it() -> None:
        answers.append(await insist(never, limit=4.0, tell=Log()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(try_it)
        await anyio.sleep(100.5)
        assert answers == []
        began = anyio.current_time()
        tasks.cancel_scope.cancel()
    assert answers == [False]
    assert anyio.current_time() - began <= 4.0


async def test_insisting_in_a_shield_ends_with_the_shield() -> None:
    answers: list[bool] = []
    began = anyio.current_time()
    with anyio.move_on_after(4.0, shield=True):
        answers.append(await insist(anyio.sleep_forever, limit=4.0, tell=Log()))
    assert answers == [False]
    assert anyio.current_time() - began == pytest.approx(4.0)


async def test_being_cancelled_is_asked_of_the_scopes_and_not_felt_behind_a_shield() -> None:
    assert not is_being_cancelled()
    with anyio.CancelScope() as scope:
        scope.cancel()
        assert is_being_cancelled()
        with anyio.CancelScope(shield=True):
            assert not is_being_cancelled()
            await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
