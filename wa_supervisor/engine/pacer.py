"""The pacer: how often one gateway is polled, by what it can answer.

Each poll costs the gateway tens of milliseconds of processor time, whatever it says. So polls take turns, a share of
the gateway's time at most goes to them, and that is measured by how long its answers take: a gateway that slows down is
asked less often, and one that has many sessions is asked less often about each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

POLLS_AT_ONCE = 2
"""Polls under way at the same time: one that hangs must not stop the others."""

FIRST_GUESS = 0.05
"""Seconds that an answer takes before any was measured: one bcrypt of a session's token."""

NEWEST = 0.2
"""Weight of the newest answer in the average."""

SLOWEST = 5.0
"""Seconds between two polls at most, however slow the answers: a gateway that hangs is the gate's business."""


class Pacer:
    """Spreads the polls of one gateway; `share` of its time goes to them."""

    def __init__(self, share: float, observe_latency: Callable[[float], None]) -> None:
        self._share = share
        self._observe_latency = observe_latency
        self._latency = FIRST_GUESS
        self._turns = anyio.CapacityLimiter(POLLS_AT_ONCE)
        self._next_at = 0.0

    def __repr__(self) -> str:
        return f"<Pacer {self._latency * 1000:.0f} ms>"

    @property
    def latency(self) -> float:
        """Seconds that an answer takes, on average."""
        return self._latency

    def interval(self, wanted: float, sessions: int) -> float:
        """Give the seconds between two polls of each of so many sessions: as wanted, or as the gateway can."""
        return max(wanted, sessions * self._gap)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn to poll, and measure how long the answer takes."""
        async with _limited(self._turns):
            now = anyio.current_time()
            begins = max(now, self._next_at)
            self._next_at = begins + self._gap
            await anyio.sleep(begins - now)
            asked = anyio.current_time()
            yield
            self._measured(anyio.current_time() - asked)

    @property
    def _gap(self) -> float:
        return min(self._latency / self._share, SLOWEST)

    def _measured(self, seconds: float) -> None:
        self._latency += NEWEST * (seconds - self._latency)
        self._observe_latency(seconds)


@asynccontextmanager
async def _limited(limiter: anyio.CapacityLimiter) -> AsyncIterator[None]:
    # By a token and not by the task, which may hold a turn already.
    await limiter.acquire_on_behalf_of(token := object())
    try:
        yield
    finally:
        limiter.release_on_behalf_of(token)
