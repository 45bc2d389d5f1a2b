"""A switch that tasks can wait for: on or off, as often as needed; and a bell that nobody has to be quick for.

anyio's `Event` is set once and for all; these are levels. Waiting for what is already there returns at once, the switch
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
        """Wait until it is on, as it is when this returns; a moment of it while the waiter did not run is missed."""
        while not self._is_on:
            await self._turned.wait()

    async def wait_off(self) -> None:
        """Wait until it is off, in the same way."""
        while self._is_on:
            await self._turned.wait()


class Bell:
    """Somebody rang; how often does not matter. A ring wakes everybody who waits, or the next one to wait."""

    __slots__ = ("_rung",)

    def __init__(self) -> None:
        self._rung = anyio.Event()

    def ring(self) -> None:
        """Let the waiters go on, or the next one who waits."""
        self._rung.set()

    async def wait(self) -> None:
        """Wait for a ring and take it."""
        rung = self._rung
        await rung.wait()
        if self._rung is rung:  # else another waiter took it, and a ring that came since is not to be lost
            self._rung = anyio.Event()

    async def wait_for(self, seconds: float) -> bool:
        """Wait for a ring for at most `seconds`; say whether it came. One that comes at the last moment is kept."""
        with anyio.move_on_after(seconds):
            await self.wait()
            return True
        return False
