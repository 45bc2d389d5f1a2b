"""The simulated gateway is asyncio, real sockets and real time, on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.simulator.harness import Caller, Listener, caller, listener
from wa_supervisor.simulator import SimulatedGateway, simulated_gateway


@pytest.fixture
def anyio_backend() -> str:
    """Aiohttp and python-socketio run on asyncio only."""
    return "asyncio"


@pytest.fixture
async def gateway() -> AsyncIterator[SimulatedGateway]:
    """Run a fast gateway on a free port."""
    async with simulated_gateway(secret="secret") as running:
        yield running


@pytest.fixture
async def api(gateway: SimulatedGateway) -> AsyncIterator[Caller]:
    """Call session "acme" over HTTP, with a token."""
    async with caller(gateway, "acme") as calling:
        yield calling


@pytest.fixture
async def events(gateway: SimulatedGateway) -> AsyncIterator[Listener]:
    """Listen to the gateway's events, as the daemon does."""
    async with listener(gateway) as listening:
        yield listening
