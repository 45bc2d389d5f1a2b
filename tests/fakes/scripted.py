"""What every fake can do: count calls, fail or wait when told to, and say when something has happened.

Runs on asyncio and trio. A fake passes a checkpoint before a call has its effect and another after, as a real call
does: who is cancelled cannot know whether it was done. Nothing here sleeps, so virtual time moves on as it should.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import cast

import anyio
from anyio.lowlevel import checkpoint

from wa_supervisor.domain.errors import StoreUnavailableError


@dataclass(slots=True)
class _Failure:
    error: Exception
    times: int
    after_effect: bool


class Line:
    """One long-running call, which the test may cut off."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def check(self) -> None:
        """Raise what the test cut the line off with."""
        if self.error is not None:
            raise self.error


class Scripted:
    """The part of a fake that a test writes the script for."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        """How often each method was called, failed and cancelled calls included."""
        self._failures: defaultdict[str, deque[_Failure]] = defaultdict(deque)
        self._held: dict[str, anyio.Event] = {}
        self._lines: defaultdict[str, list[Line]] = defaultdict(list)
        self._changed = anyio.Event()

    def fail_next(
        self, method: str, error: Exception | None = None, times: int = 1, *, after_effect: bool = False
    ) -> None:
        """Make the next `times` calls of `method` raise `error` (`StoreUnavailableError` if none is given).

        With `after_effect` the call does its work and then fails, as when the answer is lost on the way back.
        """
        self._known(method)
        self._failures[method].append(_Failure(_or_unavailable(error), times, after_effect))

    def hold(self, method: str) -> None:
        """Make calls of `method` wait, before their effect, until `release`."""
        self._known(method)
        self._held.setdefault(method, anyio.Event())

    def release(self, method: str) -> None:
        """Let the calls that `hold` stopped go on, and later ones through."""
        self._held.pop(method).set()

    def break_off(self, method: str, error: Exception | None = None) -> int:
        """End every running call of a `method` that listens, as when its connection is lost; give how many."""
        self._known(method)
        lines = self._lines[method]
        for line in lines:
            line.error = _or_unavailable(error)
        self._touch()
        return len(lines)

    def listening(self, method: str) -> int:
        """Give how many calls of a `method` that listens are running."""
        return len(self._lines[method])

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds()` is true; it is asked again whenever something happens to this fake."""
        while not holds():
            await self._changed.wait()

    def _known(self, method: str) -> None:
        if method.startswith("_") or not callable(getattr(self, method, None)):
            raise ValueError(f"{type(self).__name__} has no method {method!r}")

    def _touch(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _take_failure(self, method: str, *, after_effect: bool) -> None:
        waiting = self._failures[method]
        if waiting and waiting[0].after_effect is after_effect:
            failure = waiting[0]
            failure.times -= 1
            if not failure.times:
                waiting.popleft()
            raise failure.error

    def _call(self, method: str) -> AbstractAsyncContextManager[None, None]:
        """The border of one call: the script runs on its way in and out."""
        # It lets every exception out, which the type says so that a body may return from within.
        return cast("AbstractAsyncContextManager[None, None]", self._scripted(method))

    @asynccontextmanager
    async def _scripted(self, method: str) -> AsyncIterator[None]:
        self.calls[method] += 1
        self._touch()
        await checkpoint()
        while (held := self._held.get(method)) is not None:
            await held.wait()
        self._take_failure(method, after_effect=False)
        yield
        self._touch()
        self._take_failure(method, after_effect=True)
        await checkpoint()

    @asynccontextmanager
    async def _line(self, method: str) -> AsyncIterator[Line]:
        async with self._call(method):
            pass
        line = Line()
        self._lines[method].append(line)
        self._touch()
        try:
            yield line
        finally:
            self._lines[method].remove(line)
            self._touch()

    async def _next_change(self, line: Line) -> None:
        changed = self._changed
        line.check()
        await changed.wait()
        line.check()


def _or_unavailable(error: Exception | None) -> Exception:
    return error if error is not None else StoreUnavailableError("Redis cannot be reached (scripted)")
