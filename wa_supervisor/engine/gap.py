"""The gap: whether messages of a session may be missing, and who has to wait for that.

It opens when something could have been missed (a connection that was lost, a queue that was full) and is closed by
whoever has fetched what was missed. While it is open, what arrives live waits, chat by chat, so that it does not
overtake what is being fetched; nobody waits longer than `longest`, because a gateway whose history cannot be read must
not silence its people.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from wa_supervisor.domain.names import ChatId

LONGEST_HOLD = 30.0
"""Seconds that a live message waits for what may be before it; then order gives way to latency."""


DEMANDS = {"started": 3, "connected": 2, "reconnected": 2, "doubt": 2}
"""How much a cause asks of whoever closes the gap; any other asks least. A lesser one does not replace a greater."""


class Gap:
    """Open from the beginning: nobody knows what happened before."""

    def __init__(self, cause: str, *, tell_open: Callable[[str], None], longest: float = LONGEST_HOLD) -> None:
        self.cause = cause
        """Why it is open, or was last."""
        self.number = 1
        """How often it was opened: whoever fetches what was missed looks whether more was missed meanwhile."""
        self._is_open = True
        self._tell_open = tell_open
        self._longest = longest
        self._free: set[ChatId] = set()
        self._are_all_free = False
        self._opened = anyio.Event()
        self._opened.set()
        self._moved = anyio.Event()

    def __repr__(self) -> str:
        return f"<Gap {self.number} {f'open: {self.cause}' if self._is_open else 'closed'}>"

    @property
    def is_open(self) -> bool:
        """Whether messages may be missing."""
        return self._is_open

    def open(self, cause: str) -> None:
        """Messages may be missing from now on; also while it is open already."""
        self.number += 1
        if not self._is_open or DEMANDS.get(cause, 1) >= DEMANDS.get(self.cause, 1):
            self.cause = cause
        self._free.clear()
        self._are_all_free = False
        if not self._is_open:
            self._is_open = True
            self._tell_open(cause)
        self._opened.set()

    def free(self, chat: ChatId, number: int) -> None:
        """Nothing that this opening of the gap made missing in this chat is still to come."""
        if number == self.number:
            self._free.add(chat)
            self._tell_moved()

    def free_all(self, number: int) -> None:
        """Nobody has to wait, although something may still be missing."""
        if number == self.number:
            self._are_all_free = True
            self._tell_moved()

    def close(self, number: int) -> bool:
        """Nothing is missing; False, and it stays open, if it was opened again since it had this number."""
        if number != self.number:
            return False
        self._is_open = False
        self._free.clear()
        self._opened = anyio.Event()
        self._tell_moved()
        return True

    async def wait_open(self) -> None:
        """Wait until it is open."""
        while not self._is_open:
            await self._opened.wait()

    async def wait_free(self, chat: ChatId, since: float) -> None:
        """Wait until a live message of this chat that came at `since` may go on, or has waited as long as one may."""
        with anyio.CancelScope(deadline=since + self._longest):
            while self._is_open and not self._are_all_free and chat not in self._free:
                await self._moved.wait()

    def _tell_moved(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()
