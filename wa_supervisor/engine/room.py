"""One gateway's room: its client, its gate and its feed, living and ending together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio

from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import Observer
from wa_supervisor.engine.feed import Feed
from wa_supervisor.engine.gate import Gate
from wa_supervisor.engine.policies import GatePolicy
from wa_supervisor.engine.ports import Gateway, GatewayEvents

HANG_UP_TIMEOUT = 3.0
"""Seconds that closing the connections to a gateway may take."""


class GatewayRoom:
    """Everything that the sessions of one gateway share."""

    def __init__(
        self,
        gateway: Gateway,
        events: GatewayEvents,
        policy: GatePolicy,
        observe: Observer,
        *,
        hang_up: Callable[[], Awaitable[None]] | None = None,
        address: str = "",
    ) -> None:
        self.gateway = gateway
        self.address = address
        """Where the gateway is: a room at another address is another server, with browsers of its own."""
        self._hang_up = hang_up
        self._users = 0
        self._unused = anyio.Event()
        self.gate = Gate(gateway, policy, observe)
        self.feed = Feed(gateway=gateway, events=events, gate=self.gate, policy=policy, observe=observe)
        self._scope = anyio.CancelScope()
        self._feed_scope = anyio.CancelScope()

    def __repr__(self) -> str:
        return f"<GatewayRoom {self.name} {self.gate!r} {self.feed!r}>"

    @property
    def name(self) -> GatewayName:
        """The gateway's name."""
        return self.gateway.name

    async def run(self) -> None:
        """Listen and probe until closed or cancelled."""
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._run_feed)
                    await self.gate.run()
        finally:
            if self._hang_up is not None:
                with anyio.move_on_after(HANG_UP_TIMEOUT, shield=True):
                    await self._hang_up()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep the room open for the length of the block."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self._unused.set()
            self._unused = anyio.Event()

    async def wait_unused(self) -> None:
        """Wait until nobody uses it any more."""
        while self._users:
            await self._unused.wait()

    def stop_listening(self) -> None:
        """Take nothing more from the gateway; calls to it still work."""
        self._feed_scope.cancel()

    def close(self) -> None:
        """End it."""
        self._scope.cancel()

    async def _run_feed(self) -> None:
        with self._feed_scope:
            await self.feed.run()
