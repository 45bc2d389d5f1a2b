"""One gateway's room: its client, its gate and its feed, living and ending together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import anyio

from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import Observer, Trouble
from wa_supervisor.engine.ack_teller import AckTeller
from wa_supervisor.engine.backlog import Backlog
from wa_supervisor.engine.crash import CrashError, cause_of, crashing
from wa_supervisor.engine.feed import Feed
from wa_supervisor.engine.gate import Gate
from wa_supervisor.engine.policies import GatePolicy
from wa_supervisor.engine.ports import Gateway, GatewayEvents, Receipts
from wa_supervisor.engine.retrying import keep_doing

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
        receipts: Receipts | None = None,
        backlog: Backlog | None = None,
        wall: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`wall` gives seconds since the epoch, for receipts; without `receipts` acks are told to nobody."""
        self.gateway = gateway
        self.address = address
        """Where the gateway is: a room at another address is another server, with browsers of its own."""
        self._hang_up = hang_up
        self._policy = policy
        self._observe = observe
        self._listens = True
        self._users = 0
        self._unused = anyio.Event()
        self.gate = Gate(gateway, policy, observe)
        self._teller = None if receipts is None else AckTeller(self.name, receipts, wall=wall, observe=observe)
        self.feed = Feed(
            gateway=gateway,
            events=events,
            gate=self.gate,
            policy=policy,
            observe=observe,
            backlog=backlog,
            tell_ack=self._teller.take if self._teller is not None else lambda _: None,
        )
        self._scope = anyio.CancelScope()
        self._feed_scope = anyio.CancelScope()

    def __repr__(self) -> str:
        return f"<GatewayRoom {self.name} {self.gate!r} {self.feed!r}>"

    @property
    def name(self) -> GatewayName:
        """The gateway's name."""
        return self.gateway.name

    async def run(self) -> None:
        """Listen and probe until closed or cancelled; whatever fails in here is begun anew."""
        policy = self._policy
        try:
            with self._scope:
                await keep_doing(
                    self._live, initial=policy.reconnect_initial, longest=policy.reconnect_max, tell=self._tell
                )
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
        self._listens = False
        self._feed_scope.cancel()

    def close(self) -> None:
        """End it."""
        self._scope.cancel()

    async def _live(self) -> NoReturn:
        await crashing(self._listen_and_probe)
        raise CrashError("it ended, and nobody had asked it to")  # as a cancellation that leaks into it makes it do

    async def _listen_and_probe(self) -> None:
        async with anyio.create_task_group() as tasks:
            if self._listens:
                tasks.start_soon(self._run_feed)
            if self._teller is not None:
                tasks.start_soon(self._teller.run)
            await self.gate.run()

    async def _run_feed(self) -> None:
        with anyio.CancelScope() as self._feed_scope:
            await self.feed.run()

    def _tell(self, error: BaseException, delay: float, attempt: int) -> None:
        error = cause_of(error)
        message = f"the gateway's room failed {attempt} times, next try in {delay:.1f} s: {error}"
        self._observe(Trouble(where="gateway", message=message, error=error, gateway=self.name))
