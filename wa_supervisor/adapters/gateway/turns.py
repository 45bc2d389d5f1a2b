"""Turns: how many calls may be in the part of their way that costs the gateway its processor.

Checking a call's token costs the gateway about 50 ms of bcrypt, so many calls at once only wait there. A call that
takes long has that behind it: it hangs in a page, costs the gateway nothing, and must not keep other sessions' calls
waiting. So a turn ends with its call or after a while, whichever is sooner. One object per gateway, in one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Turns:
    """At most `count` turns at once, none longer than `longest` seconds."""

    def __init__(self, count: int, *, longest: float) -> None:
        self._free = anyio.Semaphore(count, fast_acquire=True)
        self._longest = longest

    @asynccontextmanager
    async def turn(self, within: float) -> AsyncIterator[None]:
        """Wait for a turn and hold it, at most for the block. Raises `TimeoutError` if none came `within` seconds."""
        with anyio.fail_after(within):
            await self._free.acquire()
        is_held = True

        def give_back() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._free.release()

        timer = asyncio.get_running_loop().call_later(self._longest, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()
