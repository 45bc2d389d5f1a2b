"""The yard: work that ends as it likes, or never, and holds up nobody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from wa_supervisor.engine.crash import CrashError, cause_of, crashing
from wa_supervisor.engine.yard import Stay, Yard

pytestmark = pytest.mark.anyio

Work = Callable[[], Awaitable[None]]


async def outcome(work: Work) -> Stay:
    """Let work end in a yard in which other work goes on."""
    yard, rung = Yard(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        await tasks.start(yard.run)
        other = yard.take_in("other", anyio.sleep_forever)
        stay = yard.take_in("work", work, rung.set)
        with anyio.fail_after(10):
            await stay.wait()
            await rung.wait()
        assert not other.has_ended
        assert yard.unfinished() == ("other",)
        tasks.cancel_scope.cancel()
    return stay


async def nothing() -> None:
    """Do nothing."""


async def fail() -> None:
    """Fail at once."""
    raise ValueError("a bug")


async def leak() -> None:
    """Raise a cancellation that nobody gave, as a library does on asyncio."""
    raise anyio.get_cancelled_exc_class()


async def fail_in_a_group() -> None:
    """Fail as task groups do."""
    raise BaseExceptionGroup("two", [ValueError("a bug"), GeneratorExit()])


async def test_work_that_ends_has_ended_without_an_error() -> None:
    assert (await outcome(nothing)).error is None


async def test_an_error_is_the_outcome_of_its_work_alone() -> None:
    assert isinstance((await outcome(fail)).error, ValueError)


async def test_a_group_of_whatever_exceptions_is_the_outcome_of_its_work_alone() -> None:
    error = (await outcome(fail_in_a_group)).error
    assert isinstance(error, CrashError)
    assert isinstance(cause_of(error), BaseExceptionGroup)


async def test_a_cancellation_that_nobody_gave_is_the_outcome_of_its_work_alone(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio lets nobody make its cancellations")
    error = (await outcome(leak)).error
    assert error is not None
    assert "nobody gave it" in str(error)


async def test_work_that_is_told_to_stop_ends_without_an_error() -> None:
    yard = Yard()
    async with anyio.create_task_group() as tasks:
        await tasks.start(yard.run)
        stay = yard.take_in("work", anyio.sleep_forever)
        await anyio.sleep(1)
        assert not stay.has_ended
        stay.stop()
        await stay.wait()
        assert stay.error is None
        tasks.cancel_scope.cancel()


async def test_work_that_does_not_stop_is_named_and_holds_up_nobody() -> None:
    yard, let_go = Yard(), anyio.Event()

    async def stubborn() -> None:
        with anyio.CancelScope(shield=True):
            await let_go.wait()

    async with anyio.create_task_group() as tasks:
        await tasks.start(yard.run)
        stay = yard.take_in("stubborn", stubborn)
        await anyio.sleep(1)
        stay.stop()
        await anyio.sleep(100)
        assert yard.unfinished() == ("stubborn",)
        assert "ended" not in repr(stay)
        let_go.set()
        await stay.wait()
        assert "ended" in repr(stay)
        assert "0 at work" in repr(yard)
        tasks.cancel_scope.cancel()


async def test_an_error_while_everything_is_cancelled_ends_with_it() -> None:
    yard = Yard()
    await _cancel_all(yard, ValueError("a bug"))
    assert not yard.unfinished()


async def test_a_group_while_everything_is_cancelled_goes_through() -> None:
    yard = Yard()
    with pytest.raises(BaseExceptionGroup) as caught:
        await _cancel_all(yard, BaseExceptionGroup("g", [GeneratorExit()]))
    assert caught.value.subgroup(GeneratorExit) is not None
    assert not yard.unfinished()


async def test_the_end_of_the_process_goes_through() -> None:
    async def leave() -> None:
        raise BaseExceptionGroup("g", [SystemExit(3)])

    async def run() -> None:
        yard = Yard()
        async with anyio.create_task_group() as tasks:
            await tasks.start(yard.run)
            yard.take_in("work", leave)
            await anyio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await run()
    assert caught.value.subgroup(SystemExit) is not None


async def test_a_crash_keeps_its_cause() -> None:
    async def crash_twice() -> None:
        await crashing(lambda: crashing(fail))

    with pytest.raises(CrashError) as caught:
        await crash_twice()
    assert isinstance(cause_of(caught.value), ValueError)
    assert isinstance(cause_of(CrashError("alone")), CrashError)
    assert cause_of(error := KeyError("k")) is error


async def _cancel_all(yard: Yard, error: BaseException) -> None:
    async def fail_late() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise error

    async with anyio.create_task_group() as tasks:
        await tasks.start(yard.run)
        yard.take_in("work", fail_late)
        await anyio.sleep(1)
        tasks.cancel_scope.cancel()
