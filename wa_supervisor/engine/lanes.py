"""Lanes: one key, one lane. In order within a key, side by side across keys.

A lane is a deque and a task that lives as long as the deque has something; an idle key costs nothing. All lanes of one
`Lanes` share a bound on what may wait and a limit on what runs at the same time. An item that fails harms neither its
lane nor the others: the failure is told and the next item is taken. An item whose work is cancelled because everything
ends is not gone: it is the first of its lane in `take_rest`.

What it does not do: repeat, or decide what a failure means. That is the work's own business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from wa_supervisor.engine.retrying import is_being_cancelled

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class LanesFullError(Exception):
    """As many items wait as may wait."""


class LanesOverError(Exception):
    """Nothing is worked on any more."""


class Lanes(Generic[K, T]):
    """Keyed work, each key in order."""

    def __init__(
        self,
        work: Callable[[K, T], Awaitable[None]],
        *,
        bound: int,
        side_by_side: int,
        on_error: Callable[[BaseException], None],
        on_count: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`on_count` is told by how much the number of items has changed."""
        self._work = work
        self._bound = bound
        self._limit = anyio.CapacityLimiter(side_by_side)
        self._on_error = on_error
        self._on_count = on_count
        self._lanes: dict[K, deque[T]] = {}
        self._count = 0
        self._moved = anyio.Event()
        self._tasks: TaskGroup | None = None
        self._is_over = False

    def __repr__(self) -> str:
        return f"<Lanes {len(self._lanes)} lanes, {self._count} of {self._bound} items>"

    @property
    def count(self) -> int:
        """Items that wait or are being worked on."""
        return self._count

    async def run(self) -> None:
        """Host the lanes until cancelled, once. Items put before it runs wait for it; none can be put afterwards."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                for key in self._lanes:
                    tasks.start_soon(self._run_lane, key)
                await anyio.sleep_forever()
            finally:
                self._tasks, self._is_over = None, True
                self._tell_moved()

    def put_nowait(self, key: K, item: T) -> None:
        """Put `item` behind the others of `key`. Raises `LanesFullError` and `LanesOverError`."""
        if self._is_over:
            raise LanesOverError("nothing is taken any more")
        if self._count >= self._bound:
            raise LanesFullError(f"{self._count} items wait already")
        self._counted(1)
        lane = self._lanes.get(key)
        if lane is not None:
            lane.append(item)
            return
        self._lanes[key] = deque((item,))
        if self._tasks is not None:
            self._tasks.start_soon(self._run_lane, key)

    async def put(self, key: K, item: T) -> None:
        """Put `item` behind the others of `key`; wait while nothing more may wait. Raises `LanesOverError`."""
        while self._count >= self._bound and not self._is_over:
            await self._moved.wait()
        self.put_nowait(key, item)

    async def wait_empty(self) -> None:
        """Wait until nothing waits and nothing is being worked on."""
        while self._count:
            await self._moved.wait()

    def take_rest(self) -> list[tuple[K, T]]:
        """Take out everything that waits or was cut off, in each lane's order."""
        rest = [(key, item) for key, lane in self._lanes.items() for item in lane]
        for lane in self._lanes.values():  # emptied, not replaced: a task may still hold it
            lane.clear()
        self._counted(-len(rest))
        self._tell_moved()
        return rest

    async def _run_lane(self, key: K) -> None:
        lane = self._lanes[key]
        while lane:
            async with self._limit:
                if lane:  # else it was taken out meanwhile
                    await self._work_off(key, lane)
        del self._lanes[key]

    async def _work_off(self, key: K, lane: deque[T]) -> None:
        item = lane.popleft()
        try:
            await self._work(key, item)
        except anyio.get_cancelled_exc_class() as error:  # noqa: ASYNC103  # ours is raised; a library's own is a failure
            if is_being_cancelled():
                lane.appendleft(item)
                raise
            self._on_error(error)
        except Exception as error:  # noqa: BLE001  # supervision border: one item must not end its lane
            self._on_error(error)
        self._counted(-1)
        self._tell_moved()

    def _counted(self, change: int) -> None:
        self._count += change
        self._on_count(change)

    def _tell_moved(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()
