"""A switch that tasks can wait for: on or off, as often as needed.

anyio's `Event` is set once and for all; this one is a level. Waiting for a side that is already there returns at once,
without a checkpoint.
"""

from __future__ import annotations

import anyio


class Switch:
    """On or off, and somebody may wait for either."""

    __slots__ = ("_is_on", "_turned")

    def __init__(self, *, on: bool = False) -> None:
        self._is_on = on
        self._turned = anyio.Event()

    def __repr__(self) -> str:
        return f"<Switch {'on' if self._is_on else 'off'}>"

    @property
    def is_on(self) -> bool:
        """Whether it is on now."""
        return self._is_on

    def turn(self, *, on: bool) -> None:
        """Turn it; those who wait for that side go on."""
        if on != self._is_on:
            self._is_on = on
            self._turned.set()
            self._turned = anyio.Event()

    async def wait_on(self) -> None:
        """Wait until it is on; it may be off again by the time that the waiter runs."""
        while not self._is_on:
            await self._turned.wait()

    async def wait_off(self) -> None:
        """Wait until it is off."""
        while self._is_on:
            await self._turned.wait()


class Bell:
    """Somebody rang; how often does not matter. One task waits for it."""

    __slots__ = ("_rung",)

    def __init__(self) -> None:
        self._rung = anyio.Event()

    def ring(self) -> None:
        """Let the waiter go on, now or the next time that it waits."""
        self._rung.set()

    async def wait(self) -> None:
        """Wait for a ring and take it."""
        await self._rung.wait()
        self._rung = anyio.Event()

    async def wait_for(self, seconds: float) -> bool:
        """Wait for a ring for at most `seconds`; say whether it came."""
        with anyio.move_on_after(seconds):
            await self.wait()
            return True
        return False
