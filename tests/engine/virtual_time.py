"""Virtual time for asyncio: a loop that never sleeps but moves its clock to the next timer.

It is what `trio.testing.MockClock(autojump_threshold=0)` is for trio, so that a simulated hour takes milliseconds and
always the same steps. Callbacks and file descriptors that are ready go first; only when nothing is does the clock move.
It deliberately knows nothing of threads: one that is still at work does not hold the clock. Never use it with real
sockets, whose answers take real time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping

import trio.testing

FIRST_INSTANT = 1_000.0
"""Where the clock starts, in seconds: not 0, which trio's has, so that nothing can mistake an unset time for a time."""

PATIENCE = 5.0
"""Real seconds with nothing at all to do after which the loop says that it would wait for ever."""


class DeadlockError(Exception):
    """Every task waits for something that nobody will do."""


class _JumpingSelector(selectors.DefaultSelector):
    """Answers at once; the time it was asked to wait is added to `now` instead."""

    def __init__(self, patience: float) -> None:
        super().__init__()
        self.now = FIRST_INSTANT
        self._patience = patience

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(self._patience) or self._give_up()
        ready = super().select(0)
        if not ready:
            self.now += max(0.0, timeout)
        return ready

    def _give_up(self) -> list[tuple[selectors.SelectorKey, int]]:
        raise DeadlockError("no timer, callback or file descriptor will ever wake a task: give the wait a time-out")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio loop whose `time()` only passes while everything waits."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._jumping = _JumpingSelector(patience)
        super().__init__(self._jumping)

    def time(self) -> float:
        """Give the virtual time in seconds."""
        return self._jumping.now


def virtual_backend(name: str) -> tuple[str, Mapping[str, object]]:
    """Give what an `anyio_backend` fixture yields for `asyncio` or `trio` in virtual time, with a clock of its own."""
    if name == "trio":
        return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}
    return "asyncio", {"loop_factory": VirtualTimeLoop}
