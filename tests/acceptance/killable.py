"""Servers that a test kills with SIGKILL and brings back, with the data that they had on disk.

One that was killed stays away until it is started again; nothing here starts it by itself. It answers at the same
address in all its lives.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import anyio
import pytest
from anyio.abc import TaskGroup, TaskStatus

from tests.daemon.embedded_room import head_of, kill, short_directory
from tests.servers import is_everything_required, policy_from_environment
from wa_supervisor.embedded import EmbeddedNotInstalledError, EmbeddedPolicy, embedded_postgres, embedded_valkey

POLICY = replace(
    policy_from_environment(), restart_first_seconds=3600.0, restart_most_seconds=3600.0, append_fsync="always"
)
"""A server that died stays dead for longer than any test, and what it answered is on disk."""


class Serve(Protocol):
    """`embedded_valkey` or `embedded_postgres`."""

    def __call__(self, state_dir: Path, *, policy: EmbeddedPolicy) -> AbstractAsyncContextManager[str]:
        """Run the server of a state directory."""


class KillableServer:
    """One server, in as many lives as it takes."""

    def __init__(self, serve: Serve, state_dir: Path, works_in: str, tasks: TaskGroup) -> None:
        self.url = ""
        """Where it answers, once it was started."""
        self._serve = serve
        self._state_dir = state_dir
        self._works_in = state_dir / works_in
        self._tasks = tasks
        self._end_life: Callable[[], None] = lambda: None
        self._ended = anyio.Event()

    def __repr__(self) -> str:
        return f"<KillableServer {self._works_in}>"

    async def start(self) -> None:
        """Begin a life; it answers then."""
        await self._tasks.start(self._live)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        await anyio.to_thread.run_sync(kill, head_of(self._works_in))
        self._end_life()
        await self._ended.wait()

    async def _live(self, *, task_status: TaskStatus[None]) -> None:
        self._ended = anyio.Event()
        try:
            with anyio.CancelScope() as scope:
                self._end_life = scope.cancel
                async with self._serve(self._state_dir, policy=POLICY) as self.url:
                    task_status.started()
                    await anyio.sleep_forever()
        finally:
            self._ended.set()


@asynccontextmanager
async def killable_valkey() -> AsyncIterator[KillableServer]:
    """Run a Valkey with its data on disk."""
    async with _killable(embedded_valkey, "valkey") as server:
        yield server


@asynccontextmanager
async def killable_postgres() -> AsyncIterator[KillableServer]:
    """Run a PostgreSQL."""
    async with _killable(embedded_postgres, "postgres") as server:
        yield server


@asynccontextmanager
async def _killable(serve: Serve, works_in: str) -> AsyncIterator[KillableServer]:
    failure: Exception | None = None
    with short_directory() as state_dir:
        async with anyio.create_task_group() as tasks:
            server = KillableServer(serve, state_dir, works_in, tasks)
            try:
                with _or_skipped():
                    await server.start()
                yield server
            except Exception as error:  # noqa: BLE001  # raised again below, outside the task group
                failure = error
            finally:
                tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


@contextmanager
def _or_skipped() -> Iterator[None]:
    try:
        yield
    except EmbeddedNotInstalledError as error:
        if is_everything_required():
            raise
        pytest.skip(str(error))
