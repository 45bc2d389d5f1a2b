"""Functions that run side by side: the first error comes out as itself."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from wa_supervisor.adapters.redis.together import run_together

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def fail() -> None:
    await checkpoint()
    try:
        raise KeyError("cause")
    except KeyError as error:
        raise ValueError("failed") from error


async def test_the_first_error_ends_the_others_and_comes_out_with_its_own_cause() -> None:
    ended = anyio.Event()

    async def wait() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    with anyio.fail_after(20), pytest.raises(ValueError, match="failed") as error:
        await run_together(wait, fail)
    assert ended.is_set()
    assert isinstance(error.value.__cause__, KeyError)
    assert error.value.__context__ is error.value.__cause__


async def test_it_ends_when_all_have_ended() -> None:
    with anyio.fail_after(20):
        await run_together(checkpoint, checkpoint)


async def test_the_first_of_several_errors_comes_out_alone() -> None:
    with anyio.fail_after(20), pytest.raises(ValueError, match="failed"):
        await run_together(fail, lambda: run_together(fail, fail))


async def test_cancelling_it_cancels_all() -> None:
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(run_together, anyio.sleep_forever, anyio.sleep_forever)
            await checkpoint()
            group.cancel_scope.cancel()
