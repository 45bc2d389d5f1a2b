"""A bell that rings whenever anything changes, for those who wait until something holds.

One bell for the whole gateway: ringing costs an attribute look-up while nobody waits, so every message can afford it.
It carries no news: who waits looks again. It deliberately has no time limit; the waiter brings an `anyio.fail_after`.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio


class Bell:
    """Ring it after a change; wait on it for a state."""

    __slots__ = ("_rung",)

    def __init__(self) -> None:
        self._rung: anyio.Event | None = None

    def ring(self) -> None:
        """Wake everybody who waits; they look for themselves."""
        if self._rung is not None:
            self._rung.set()
            self._rung = None

    async def until(self, holds: Callable[[], object]) -> None:
        """Return as soon as `holds()` is true, at once if it is true already."""
        while not holds():
            if self._rung is None:
                self._rung = anyio.Event()
            await self._rung.wait()
