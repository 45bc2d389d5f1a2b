"""The backlog: how many messages of all sessions wait in memory to be handed over.

Each session has a bound of its own, beyond which it leaves the rest to catching up. This one is for the whole process:
when it is full, Redis is most likely away, and the gateways' event connections are let go until half of it is handed
over. What arrives meanwhile stays at WhatsApp and is fetched then.
"""

from __future__ import annotations

import anyio

MUCH_ROOM = 0.5
"""Share of the bound at which connections are made again."""


class Backlog:
    """Counts for everybody."""

    def __init__(self, bound: int) -> None:
        self.count = 0
        """Messages that wait."""
        self._bound = bound
        self._has_room = anyio.Event()

    def __repr__(self) -> str:
        return f"<Backlog {self.count} of {self._bound}>"

    @property
    def is_full(self) -> bool:
        """Whether no more should be taken."""
        return self.count >= self._bound

    def moved(self, change: int) -> None:
        """Take that so many more wait, or fewer."""
        self.count += change
        if self.count <= self._bound * MUCH_ROOM:
            self._has_room.set()
            self._has_room = anyio.Event()

    async def wait_room(self) -> None:
        """Wait until there is much room again."""
        while self.count > self._bound * MUCH_ROOM:
            await self._has_room.wait()
