"""The gate of one gateway: open while the gateway answers and its events arrive.

One gate for all sessions of a gateway. Whoever finds the gateway unreachable says so here; the gate closes, one probe
asks for all, and it opens again when the probe is answered. A gateway's event connection (the feed) counts too: a
gateway that can be commanded but not heard would lose every message.

It also gives out turns to start browsers, because each takes a core of the gateway's host for seconds.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from wa_supervisor.domain.errors import GatewayUnreachableError
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import GatewayChanged, Observer
from wa_supervisor.engine.policies import GatePolicy
from wa_supervisor.engine.ports import Gateway
from wa_supervisor.engine.switch import Switch


class Gate:
    """Whether a gateway may be used, and whose turn it is to start."""

    def __init__(self, gateway: Gateway, policy: GatePolicy, observe: Observer) -> None:
        self._gateway = gateway
        self._policy = policy
        self._observe = observe
        self._answers = Switch(on=True)
        self._open = Switch()
        self._feed_stands = False
        self._turns = anyio.CapacityLimiter(policy.starts_at_once)
        self._spacing = anyio.Lock()
        self._next_start = 0.0
        self._reason: str | None = None
        self._waiting = 0
        self._news = anyio.Event()
        self.on_close: Callable[[], None] = lambda: None
        """Called when the gate closes, so that those who wait for something else look up."""

    def __repr__(self) -> str:
        return f"<Gate {self.name} {'open' if self.is_open else 'closed: ' + self.reason}>"

    @property
    def name(self) -> GatewayName:
        """The gateway's name."""
        return self._gateway.name

    @property
    def is_open(self) -> bool:
        """Whether the gateway may be used."""
        return self._open.is_on

    @property
    def reason(self) -> str:
        """Why it is closed, for a person."""
        return self._reason or "connecting for the first time"

    @property
    def was_refused(self) -> bool:
        """Whether it is closed because something failed, not because nothing was tried yet."""
        return not self.is_open and self._reason is not None

    @property
    def waiting_turns(self) -> int:
        """How many wait for their turn to start."""
        return self._waiting

    async def wait_open(self) -> None:
        """Wait until the gateway may be used."""
        await self._open.wait_on()

    async def wait_news(self) -> None:
        """Wait until it opens or closes, or is closed for another reason."""
        await self._news.wait()

    def report_unreachable(self, error: GatewayUnreachableError) -> None:
        """Close the gate: nothing answers."""
        self._close_for(str(error))
        self._answers.turn(on=False)
        self._decide()

    def report_feed(self, *, stands: bool, reason: str = "") -> None:
        """Take the word of the event connection."""
        self._feed_stands = stands
        if not stands:
            self._close_for(reason)
        self._decide()

    async def run(self) -> None:
        """Probe whenever the gateway does not answer, until cancelled."""
        while True:
            await self._answers.wait_off()
            await anyio.sleep(self._policy.probe_interval * random.uniform(0.5, 1.5))  # noqa: S311  # jitter
            await self._probe()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn to start a browser, and keep it as long as the browser starts."""
        self._waiting += 1
        try:
            await self._turns.acquire_on_behalf_of(token := object())
        finally:
            self._waiting -= 1
        try:
            await self._keep_distance()
            yield
        finally:
            self._turns.release_on_behalf_of(token)

    async def _keep_distance(self) -> None:
        async with self._spacing:
            await anyio.sleep(max(0.0, self._next_start - anyio.current_time()))
            self._next_start = anyio.current_time() + self._policy.start_interval

    async def _probe(self) -> None:
        try:
            await self._gateway.health()
        except Exception as error:  # noqa: BLE001  # supervision border: a probe must not end the gateway's room
            self._close_for(str(error))
        else:
            self._answers.turn(on=True)
            self._decide()

    def _close_for(self, reason: str) -> None:
        if reason != self._reason:
            self._reason = reason
            self._tell_news()

    def _tell_news(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def _decide(self) -> None:
        should_be_open = self._answers.is_on and self._feed_stands
        if should_be_open == self._open.is_on:
            return
        self._open.turn(on=should_be_open)
        self._tell_news()
        what = "gate_opened" if should_be_open else "gate_closed"
        self._observe(GatewayChanged(gateway=self.name, what=what, message="" if should_be_open else self.reason))
        if not should_be_open:
            self.on_close()
