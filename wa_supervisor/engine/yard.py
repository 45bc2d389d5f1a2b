"""The yard: where sessions run, so that nobody has to wait for one that does not stop.

A task group that outlives the keepers, with a scope for each stay. Whoever put work here asks it to stop and waits as
long as it likes; work that swallows its cancellation, or cleans up for ever behind a shield, stays in the yard and
holds up nobody. Whatever way work ends, with an error, a group of them, or a cancellation that nobody gave, is its
stay's outcome and not the yard's.

What it does not do: decide how long to wait, or keep what was abandoned from acting; that is its owner's business. A
yard that is cancelled itself waits for what does not stop, as a task group must: whoever ends the process looks at
`unfinished` and does not wait.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup, TaskStatus

from wa_supervisor.domain.errors import LeakedCancellationError
from wa_supervisor.engine.crash import CrashError
from wa_supervisor.engine.retrying import is_being_cancelled

Work = Callable[[], Awaitable[None]]


class Stay:
    """One piece of work in the yard."""

    def __init__(self, name: str, on_end: Callable[[], None]) -> None:
        self.name = name
        self.error: Exception | None = None
        """What it failed with, if it did."""
        self._on_end = on_end
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()

    def __repr__(self) -> str:
        return f"<Stay {self.name}{', ended' if self.has_ended else ''}>"

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._ended.is_set()

    def stop(self) -> None:
        """Ask it to stop."""
        self._scope.cancel()

    async def wait(self) -> None:
        """Wait until it has ended."""
        await self._ended.wait()

    async def live(self, work: Work) -> None:
        """Do the work, and keep how it ended."""
        try:
            with self._scope:
                await _as_errors(work)
        except Exception as error:  # noqa: BLE001  # supervision border: one session's trouble is its own
            self.error = error
        finally:
            self._ended.set()
            self._on_end()


class Yard:
    """Runs what must not hold up anybody."""

    def __init__(self) -> None:
        self._stays: dict[Stay, None] = {}
        self._tasks: TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<Yard {len(self._stays)} at work>"

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Be open until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            task_status.started()
            await anyio.sleep_forever()

    def take_in(self, name: str, work: Work, on_end: Callable[[], None] = lambda: None) -> Stay:
        """Begin `work`; it runs until it ends, or is told to stop. `on_end` is called then."""
        assert self._tasks is not None, "the yard runs"  # noqa: S101  # an order that callers keep
        stay = Stay(name, on_end)
        self._stays[stay] = None
        self._tasks.start_soon(self._live, stay, work)
        return stay

    def unfinished(self) -> tuple[str, ...]:
        """Name what is still at work, in the order in which it came."""
        return tuple(stay.name for stay in self._stays)

    async def _live(self, stay: Stay, work: Work) -> None:
        try:
            await stay.live(work)
        finally:
            del self._stays[stay]


async def _as_errors(work: Work) -> None:
    """Do the work; a cancellation that nobody gave, alone or in a group, becomes an error."""
    try:
        await work()
    except anyio.get_cancelled_exc_class() as error:
        if is_being_cancelled():
            raise
        raise LeakedCancellationError("nobody gave it") from error  # noqa: ASYNC104  # ours is raised as it is
    except BaseExceptionGroup as group:
        if is_being_cancelled() or group.subgroup((KeyboardInterrupt, SystemExit)):
            raise
        raise CrashError(f"{group}") from group
