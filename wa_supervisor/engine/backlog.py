"""The backlog: how many messages of all sessions wait in memory to be handed over.

Each session has a bound of its own, beyond which it leaves the rest to catching up. This one is for the whole process:
when it is full, Redis is most likely away, and the gateways' event connections are let go until half of it is handed
over. What arrives meanwhile stays at WhatsApp and is fetched then.
"""

from __future__ import annotations

import math

import anyio

STALLED = 1.0
"""Seconds without any hand-over after which a full backlog is taken for a store that is away."""

LONGEST = 30.0
"""Seconds after which it is tried again although there is no room: what is stuck may be some sessions' own trouble."""

MUCH_ROOM = 0.5
"""Share of the bound at which connections are made again."""


class Backlog:
    """Counts for everybody."""

    def __init__(self, bound: int) -> None:
        self.count = 0
        """Messages that wait."""
        self._bound = bound
        self._moved_at = -math.inf
        self._has_room = anyio.Event()

    def __repr__(self) -> str:
        return f"<Backlog {self.count} of {self._bound}>"

    @property
    def is_full(self) -> bool:
        """Whether no more should be taken: as many wait as may, and nothing goes on.

        While some are handed over it is not the store that is away, and each session has a bound of its own.
        """
        return self.count >= self._bound and anyio.current_time() - self._moved_at >= STALLED

    def moved(self, change: int) -> None:
        """Take that so many more wait, or fewer."""
        self.count += change
        if change < 0:
            self._moved_at = anyio.current_time()
        if self.count <= self._bound * MUCH_ROOM:
            self._has_room.set()
            self._has_room = anyio.Event()

    async def wait_room(self) -> None:
        """Wait until there is much room again, or for as long as one waits before it is tried again."""
        with anyio.move_on_after(LONGEST):
            while self.count > self._bound * MUCH_ROOM:
                await self._has_room.wait()
        self._moved_at = anyio.current_time()
