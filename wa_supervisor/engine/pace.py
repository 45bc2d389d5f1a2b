"""Pace: how fast one session sends. People who send like machines are banned, and the number with them.

Two sends are at least a small, random gap apart, and there are only so many within a minute. The first after a pause
waits for nothing. Turns are given in the order in which they are asked for.
"""

from __future__ import annotations

import random
from collections import deque

import anyio

from wa_supervisor.engine.policies import OutboundPolicy

MINUTE = 60.0
"""Seconds for which a send counts."""


class Pace:
    """The turns to send of one session."""

    def __init__(self, policy: OutboundPolicy) -> None:
        self._policy = policy
        self._lock = anyio.Lock()
        self._next_at = 0.0
        self._sends: deque[float] = deque(maxlen=policy.per_minute)

    def __repr__(self) -> str:
        return f"<Pace {len(self._sends)} of {self._policy.per_minute} a minute>"

    async def turn(self) -> None:
        """Wait for the next turn."""
        async with self._lock:
            begins = self._begins()
            if begins > anyio.current_time():
                await anyio.sleep_until(begins)
            now = anyio.current_time()
            self._sends.append(now)
            policy = self._policy
            self._next_at = now + policy.min_gap + random.uniform(0, policy.jitter)  # noqa: S311  # to look like a person

    def _begins(self) -> float:
        is_full = len(self._sends) == self._sends.maxlen
        return max(self._next_at, self._sends[0] + MINUTE) if is_full else self._next_at
