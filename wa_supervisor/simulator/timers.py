"""Timers of the running event loop, for those who need thousands a second.

The event loop keeps timers in a heap and compares them in Python, which is felt when every message sets three. All acks
of one kind are due after the same delay, hence in the order in which they were set: a `Line` keeps them in a queue and
needs one timer of the loop for all of them. Nothing here is ever cancelled; what is called looks whether it still may.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

Act = Callable[[], None]


class Line:
    """Calls that are all due the same number of seconds after they were set."""

    __slots__ = ("_acts", "_delay", "_is_armed")

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._acts: deque[tuple[float, Act]] = deque()
        self._is_armed = False

    def add(self, act: Act) -> None:
        """Call `act` after the line's delay; now if there is none."""
        if self._delay <= 0:
            act()
            return
        loop = asyncio.get_running_loop()
        self._acts.append((loop.time() + self._delay, act))
        if not self._is_armed:
            self._is_armed = True
            loop.call_later(self._delay, self._fire)

    def _fire(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        try:
            while self._acts and self._acts[0][0] <= now:
                self._acts.popleft()[1]()
        finally:
            self._is_armed = bool(self._acts)
            if self._acts:
                loop.call_at(self._acts[0][0], self._fire)
