"""The turnstile: lets sessions through one by one when their gateway is back, those first that waited longest.

A token bucket without a store of tokens: a gateway that has just come back has nothing to spare, so nobody is let
through faster because nobody came for a while. And no more pass at once than the gateway answers: one that is slow is
asked more slowly, whatever the rate allows.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import anyio

from wa_supervisor.engine.switch import Switch

PASSING_AT_ONCE = 8
"""Sessions that are being looked at, at most: a gateway of two processors has all hands full with half of them."""


@dataclass(order=True, slots=True)
class _Ticket:
    since: float
    number: int
    called: anyio.Event = field(compare=False, default_factory=anyio.Event)
    is_let_through: bool = field(compare=False, default=False)


class Turnstile:
    """Whose turn it is to come back, at `per_second`."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1.0 / per_second
        self._queue: list[_Ticket] = []
        self._numbers = itertools.count()
        self._wanted = Switch()
        self._free = Switch(on=True)
        self._passing = 0
        self._next_at = 0.0

    def __repr__(self) -> str:
        return f"<Turnstile {len(self._queue)} wait, {self._passing} pass>"

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    async def run(self) -> NoReturn:
        """Let through until cancelled."""
        while True:
            await self._wanted.wait_on()
            await self._free.wait_on()
            now = anyio.current_time()
            if now < self._next_at:
                await anyio.sleep(self._next_at - now)
            elif self._queue:
                self._let_through(heapq.heappop(self._queue), now)

    def turn_all_away(self) -> None:
        """Send away everybody who waits: the gate closed."""
        for ticket in self._queue:
            ticket.called.set()
        self._queue.clear()
        self._wanted.turn(on=False)

    @asynccontextmanager
    async def passage(self, since: float) -> AsyncIterator[bool]:
        """Wait for a turn, with the right of whoever waits since `since`; False: turned away."""
        ticket = _Ticket(since=since, number=next(self._numbers))
        heapq.heappush(self._queue, ticket)
        self._wanted.turn(on=True)
        try:
            await ticket.called.wait()
            yield ticket.is_let_through
        finally:
            self._leave(ticket)

    def _let_through(self, ticket: _Ticket, now: float) -> None:
        self._next_at = now + self._interval
        self._passing += 1
        ticket.is_let_through = True
        ticket.called.set()
        self._update()

    def _leave(self, ticket: _Ticket) -> None:
        if ticket.is_let_through:
            self._passing -= 1
        elif ticket in self._queue:  # cancelled while it waited
            self._queue.remove(ticket)
            heapq.heapify(self._queue)
        self._update()

    def _update(self) -> None:
        self._wanted.turn(on=bool(self._queue))
        self._free.turn(on=self._passing < PASSING_AT_ONCE)
