"""A gateway's event connection under the hand of a test: the fake of port `GatewayEvents`."""

from __future__ import annotations

from typing import NoReturn

import anyio

from wa_supervisor.domain.errors import FeedLostError
from wa_supervisor.engine.ports import EventSink


class FakeGatewayEvents:
    """Delivers what the test emits; is lost, or refuses, when the test says so."""

    def __init__(self) -> None:
        self.refuses = False
        """Whether a connection can be made at all."""
        self.listens = 0
        """How often somebody began to listen."""
        self._sink: EventSink | None = None
        self._names: frozenset[str] = frozenset()
        self._lost = anyio.Event()
        self._connected = anyio.Event()

    async def listen(self, sink: EventSink, names: frozenset[str]) -> NoReturn:
        """See `GatewayEvents.listen`."""
        self.listens += 1
        await anyio.lowlevel.checkpoint()
        if self.refuses:
            raise FeedLostError("refused by the test")
        self._sink, self._names, self._lost = sink, names, anyio.Event()
        try:
            sink.connected()
            self._connected.set()
            await self._lost.wait()
        finally:
            self._sink = None
            self._connected = anyio.Event()
        raise FeedLostError("lost by the test")

    async def emit(self, name: str, payload: object) -> bool:
        """Emit one event to whoever listens; say whether anybody did."""
        if self._sink is None:
            return False
        if name in self._names:
            await self._sink.deliver(name, payload)
        return True

    @property
    def is_listening(self) -> bool:
        """Whether a connection stands."""
        return self._sink is not None

    def lose(self) -> None:
        """End the connection."""
        self._lost.set()

    async def until_connected(self) -> None:
        """Wait until somebody listens."""
        await self._connected.wait()
