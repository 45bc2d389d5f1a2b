"""A gateway's room: what goes wrong in it is begun anew, and ends nobody else."""

from __future__ import annotations

from typing import cast

import anyio
import pytest

from tests.engine.harness import MAIN, Witness
from tests.fakes.gateway import FakeGateway
from tests.fakes.gateway_events import FakeGatewayEvents
from wa_supervisor.domain.errors import LoginGivenUpError
from wa_supervisor.domain.observations import Trouble
from wa_supervisor.engine.feed import Feed
from wa_supervisor.engine.policies import GatePolicy
from wa_supervisor.engine.room import GatewayRoom

pytestmark = pytest.mark.anyio


class BadFeed:
    """A feed that fails once."""

    def __init__(self, error: BaseException) -> None:
        self.runs = 0
        self.is_up = anyio.Event()
        self._error = error

    async def run(self) -> None:
        """Fail, or stay."""
        self.runs += 1
        if self.runs == 1:
            raise self._error
        self.is_up.set()
        await anyio.sleep_forever()


async def survives(error: BaseException) -> BaseException | None:
    """Let something in a room raise `error`; give what the room told about it."""
    witness, hung_up = Witness(), anyio.Event()

    async def hang_up() -> None:
        hung_up.set()

    gateway = FakeGateway(MAIN)
    room = GatewayRoom(gateway, FakeGatewayEvents(), GatePolicy(), witness.observe, hang_up=hang_up)
    feed = BadFeed(error)
    room.feed = cast("Feed", feed)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(room.run)
        with anyio.fail_after(60):
            await feed.is_up.wait()
        assert not hung_up.is_set()
        room.close()
        with anyio.fail_after(60):
            await hung_up.wait()
    (trouble,) = witness.all_told(Trouble)
    assert trouble.gateway == MAIN
    return trouble.error


@pytest.mark.parametrize("error", [ValueError("a bug"), LoginGivenUpError("permanent")])
async def test_whatever_fails_in_a_room_is_begun_anew(error: Exception) -> None:
    told = await survives(error)
    assert isinstance(told, ExceptionGroup)
    assert told.exceptions == (error,)


async def test_a_cancellation_that_nobody_gave_does_not_end_the_room(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("trio lets nobody make its cancellations")
    told = await survives(anyio.get_cancelled_exc_class()())
    assert "nobody had asked it to" in str(told)


async def test_a_room_that_was_told_to_listen_no_more_does_not_begin_to_when_it_is_begun_anew() -> None:
    witness = Witness()
    events = FakeGatewayEvents()
    room = GatewayRoom(FakeGateway(MAIN), events, GatePolicy(), witness.observe)
    assert "GatewayRoom main" in repr(room)
    room.stop_listening()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(room.run)
        await anyio.sleep(60)
        assert not events.listens
        tasks.cancel_scope.cancel()
