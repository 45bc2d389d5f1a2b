"""How late the event loop is: a task that asks to be woken at a moment and looks how much later it was.

A loop that is late makes everything late that the daemon promises: polls, typing, acks, the watchdog. Whoever blocks it
cannot be seen from inside, but that somebody did can. It costs two wake-ups a second. It deliberately judges nothing
and ends nothing: a loop that is blocked for good feeds no watchdog, and that is what the service manager acts on.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import anyio

_logger = logging.getLogger(__name__)

Tell = Callable[[float, float], None]
"""Told after each look: seconds late now, and the worst of the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LagPolicy:
    """How closely the loop is watched."""

    interval: float = 0.5
    """Seconds between two looks: a block of a second is never missed, and two wake-ups a second cost nothing."""
    window: float = 60.0
    """Seconds of which the worst is told: longer than what is between two scrapes, so that none misses it."""
    bound: float = 1.0
    """Seconds of lateness that are worth a line in the log: an acknowledgement or "typing" would be visibly late."""
    quiet: float = 60.0
    """Seconds between two such lines; what is worst in between is told with the next."""


class LoopLag:
    """Measures the lateness of the event loop it runs in."""

    def __init__(self, tell: Tell, policy: LagPolicy | None = None) -> None:
        self._tell = tell
        self._policy = policy or LagPolicy()
        self._recent: deque[tuple[float, float]] = deque()
        """When and how late, the later the smaller: the first one is the worst of the window."""
        self._untold: list[float] = []
        self._warned_at = -math.inf

    def __repr__(self) -> str:
        return f"<LoopLag worst {self.worst():.3f} s>"

    async def run(self) -> NoReturn:
        """Measure until cancelled."""
        while True:
            due = anyio.current_time() + self._policy.interval
            await anyio.sleep_until(due)
            self._take(max(0.0, anyio.current_time() - due))

    def worst(self) -> float:
        """Give the worst lateness of the window, seconds."""
        return self._recent[0][1] if self._recent else 0.0

    def _take(self, late: float) -> None:
        now = anyio.current_time()
        while self._recent and self._recent[-1][1] <= late:
            self._recent.pop()
        self._recent.append((now, late))
        while self._recent[0][0] < now - self._policy.window:
            self._recent.popleft()
        if late >= self._policy.bound:
            self._untold.append(late)
        if self._untold and now - self._warned_at >= self._policy.quiet:
            self._warn(now)
        self._tell(late, self.worst())

    def _warn(self, now: float) -> None:
        extra = {"seconds": max(self._untold), "times": len(self._untold)}
        _logger.warning("event loop was blocked: everything waited", extra=extra)
        self._untold.clear()
        self._warned_at = now
