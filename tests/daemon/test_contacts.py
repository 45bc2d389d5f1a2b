"""A gateway that was never reached is told once, also when no session is declared."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.engine.virtual_time import virtual_backend
from tests.fakes.gateway import FakeGateway
from tests.fakes.gateway_events import FakeGatewayEvents
from wa_supervisor.daemon.contacts import LOOK, Contacts
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import GatewayChanged, Observation
from wa_supervisor.engine.policies import GatePolicy
from wa_supervisor.engine.room import GatewayRoom

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, object]]:
    """Give both event loops in virtual time."""
    return virtual_backend(request.param)


def make_room(told: list[Observation], name: str = "main") -> GatewayRoom:
    return GatewayRoom(FakeGateway(GatewayName(name)), FakeGatewayEvents(), GatePolicy(), told.append)


@asynccontextmanager
async def watching(rooms: list[GatewayRoom], told: list[Observation]) -> AsyncIterator[None]:
    """Watch for the length of the block."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Contacts(lambda: rooms, told.append).run)
        yield
        tasks.cancel_scope.cancel()


async def test_a_gate_that_was_refused_before_it_ever_opened_is_told_once() -> None:
    told: list[Observation] = []
    room = make_room(told)
    async with watching([room], told):
        await anyio.sleep(10 * LOOK)
        assert told == []
        for number in range(3):
            room.gate.report_feed(stands=False, reason=f"refused {number}")
            await anyio.sleep(10 * LOOK)
    assert told == [GatewayChanged(gateway=GatewayName("main"), what="gate_closed", message="refused 0", why="feed")]


async def test_a_gate_that_opened_tells_for_itself() -> None:
    told: list[Observation] = []
    room = make_room(told)
    async with watching([room], told):
        room.gate.report_feed(stands=True)
        await anyio.sleep(2 * LOOK)
        room.gate.report_feed(stands=False, reason="lost")
        await anyio.sleep(10 * LOOK)
    assert [each.what for each in told if isinstance(each, GatewayChanged)] == ["gate_opened", "gate_closed"]


async def test_a_gateway_that_a_reload_brings_is_watched_too() -> None:
    told: list[Observation] = []
    rooms = [make_room(told, "old")]
    async with watching(rooms, told):
        await anyio.sleep(2 * LOOK)
        rooms[:] = [make_room(told, "new")]
        rooms[0].gate.report_feed(stands=False, reason="refused")
        await anyio.sleep(2 * LOOK)
    assert [each.gateway for each in told if isinstance(each, GatewayChanged)] == ["new"]
