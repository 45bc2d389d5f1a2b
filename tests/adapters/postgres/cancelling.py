"""Cancels a piece of work at each of its awaits, one after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import anyio


class CancelledAt(Generator[Any, Any, object]):
    """Runs a coroutine when awaited, and cancels `scope` when it suspends for the `step`-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], scope: anyio.CancelScope, step: int) -> None:
        self._coroutine = coroutine
        self._scope = scope
        self._left = step

    def __await__(self) -> Generator[Any, Any, object]:
        return self

    def send(self, value: object) -> object:
        """Resume it."""
        return self._suspended(self._coroutine.send(value))

    def throw(self, *error: Any) -> object:  # noqa: ANN401  # three old forms and a new one
        """Resume it with an exception, cancellation for one."""
        return self._suspended(self._coroutine.throw(*error))

    def _suspended(self, waiting_for: object) -> object:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()
        return waiting_for


async def nothing() -> None:
    """Prepare nothing."""


async def cancelled_at_every_step(
    work: Callable[[], Coroutine[Any, Any, object]], prepare: Callable[[], Awaitable[object]] = nothing
) -> int:
    """Do `work` again and again, cancelled at its first await, its second, ... until it ends before; give how many."""
    step = 0
    while True:
        step += 1
        await prepare()
        with anyio.CancelScope() as scope:
            await CancelledAt(work(), scope, step)
        if not scope.cancel_called:
            return step - 1
