"""The pacer: how often one gateway is polled, by what it can answer.

Each poll costs the gateway tens of milliseconds of processor time, whatever it says. So polls take turns, a share of
the gateway's time at most goes to them, and that is measured by how long its answers take: a gateway that slows down is
asked less often, and one that has many sessions is asked less often about each. A session that is starting or in doubt
goes before those that are only watched: a person waits for it.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio

from wa_supervisor.domain.errors import GatewayTimeoutError

POLLS_AT_ONCE = 4
"""Polls under way at the same time: one that hangs must not stop the others."""

FIRST_GUESS = 0.05
"""Seconds that an answer takes before any was measured: one bcrypt of a session's token."""

NEWEST = 0.2
"""Weight of the newest answer in the average."""

QUICKER = 0.9
"""The same of one that was quicker: a gateway that has recovered must not be spared on."""

SLOWEST = 2.0
"""Seconds between two polls at most, however slow the answers: a gateway that hangs is the gate's business."""


@dataclass(order=True, slots=True)
class _Ticket:
    is_patient: bool
    number: int
    called: anyio.Event = field(compare=False, default_factory=anyio.Event)


class Pacer:
    """Spreads the polls of one gateway; `share` of its time goes to them."""

    def __init__(self, share: float, observe_latency: Callable[[float], None]) -> None:
        self._share = share
        self._observe_latency = observe_latency
        self._latency = FIRST_GUESS
        self._queue: list[_Ticket] = []
        self._numbers = itertools.count()
        self._under_way = 0
        self._next_at = 0.0

    def __repr__(self) -> str:
        return f"<Pacer {self._latency * 1000:.0f} ms, {len(self._queue)} wait>"

    @property
    def latency(self) -> float:
        """Seconds that an answer takes, on average."""
        return self._latency

    def interval(self, wanted: float, polls: int) -> float:
        """Give the seconds in which so many polls may be made: as wanted, or as the gateway can."""
        return max(wanted, polls * self._gap)

    @asynccontextmanager
    async def turn(self, *, is_urgent: bool = False) -> AsyncIterator[None]:
        """Wait for a turn to poll, and measure how long the answer takes."""
        ticket = _Ticket(is_patient=not is_urgent, number=next(self._numbers))
        heapq.heappush(self._queue, ticket)
        self._call_next()
        try:
            await ticket.called.wait()
            await self._keep_distance()
            with self._measuring():
                yield
        finally:
            self._leave(ticket)

    @property
    def _gap(self) -> float:
        return min(self._latency / self._share, SLOWEST)

    def _call_next(self) -> None:
        while self._queue and self._under_way < POLLS_AT_ONCE:
            heapq.heappop(self._queue).called.set()
            self._under_way += 1

    def _leave(self, ticket: _Ticket) -> None:
        if ticket.called.is_set():
            self._under_way -= 1
            self._call_next()
        else:  # cancelled while it waited
            self._queue.remove(ticket)
            heapq.heapify(self._queue)

    async def _keep_distance(self) -> None:
        now = anyio.current_time()
        begins = max(now, self._next_at)
        self._next_at = begins + self._gap
        await anyio.sleep(begins - now)

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        asked = anyio.current_time()
        try:
            yield
        except GatewayTimeoutError:
            self._measured(anyio.current_time() - asked)
            raise
        self._measured(anyio.current_time() - asked)

    def _measured(self, seconds: float) -> None:
        self._latency += (QUICKER if seconds < self._latency else NEWEST) * (seconds - self._latency)
        self._observe_latency(seconds)
