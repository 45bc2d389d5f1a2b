"""Private servers for the length of a block: the package's front door.

The block runs while a keeper per server keeps it running; leaving the block, however, stops them. A server that dies
meanwhile is started again by its keeper and never ends the block.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import TaskGroup, TaskStatus

from wa_supervisor.domain.errors import WaSupervisorError
from wa_supervisor.embedded.endpoints import EmbeddedEndpoints, endpoints_shown
from wa_supervisor.embedded.keeper import Keeper, ServerPlan
from wa_supervisor.embedded.policy import EmbeddedPolicy
from wa_supervisor.embedded.postgres import postgres_planned
from wa_supervisor.embedded.state import directory_owned
from wa_supervisor.embedded.valkey import valkey_planned

_Planned = Callable[[Path, EmbeddedPolicy], AbstractAsyncContextManager[ServerPlan]]

_DEFAULT = EmbeddedPolicy()


@asynccontextmanager
async def embedded_servers(state_dir: Path, *, policy: EmbeddedPolicy = _DEFAULT) -> AsyncIterator[EmbeddedEndpoints]:
    """Run both servers on the data in this directory (made if need be) and yield where they answer.

    Raises EmbeddedNotInstalledError, StateDirectoryInUseError, StateDirectoryUnusableError, ClusterVersionError (all
    permanent) and ServerStartError (temporary). Cancelling stops the servers, under a shield and within
    `policy.stop_seconds`.
    """
    async with _kept(state_dir, policy, valkey_planned, postgres_planned) as (redis_url, database_url):
        endpoints = EmbeddedEndpoints(redis_url=redis_url, database_url=database_url)
        with endpoints_shown(state_dir, endpoints):
            yield endpoints


@asynccontextmanager
async def embedded_valkey(state_dir: Path, *, policy: EmbeddedPolicy = _DEFAULT) -> AsyncIterator[str]:
    """Run Valkey alone and yield its URL for redis-py; otherwise as `embedded_servers`."""
    async with _kept(state_dir, policy, valkey_planned) as (url,):
        yield url


@asynccontextmanager
async def embedded_postgres(state_dir: Path, *, policy: EmbeddedPolicy = _DEFAULT) -> AsyncIterator[str]:
    """Run PostgreSQL alone and yield its URL for libpq; otherwise as `embedded_servers`."""
    async with _kept(state_dir, policy, postgres_planned) as (url,):
        yield url


@asynccontextmanager
async def _kept(state_dir: Path, policy: EmbeddedPolicy, *kinds: _Planned) -> AsyncIterator[tuple[str, ...]]:
    """Own the directory and keep servers of these kinds in it; an error of the block leaves it as it was raised."""
    failure: Exception | SystemExit | KeyboardInterrupt | None = None
    directory = _absolute(state_dir)
    with directory_owned(directory):
        async with anyio.create_task_group() as keepers:
            try:
                yield await _started(keepers, directory, policy, kinds)
            except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - raised below, not wrapped
                failure = error
            keepers.cancel_scope.cancel()
        if failure is not None:
            raise failure


def _absolute(path: Path) -> Path:
    return path.absolute()


async def _started(
    keepers: TaskGroup, state_dir: Path, policy: EmbeddedPolicy, kinds: tuple[_Planned, ...]
) -> tuple[str, ...]:
    """Start one keeper per kind, side by side, and return their URLs in the order of the kinds."""
    urls: dict[_Planned, str] = {}
    failures: list[WaSupervisorError] = []

    async def start(kind: _Planned) -> None:
        try:
            urls[kind] = await keepers.start(_keep, kind, state_dir, policy)
        except WaSupervisorError as error:
            failures.append(error)

    async with anyio.create_task_group() as starting:
        for kind in kinds:
            starting.start_soon(start, kind)
    if failures:
        for other in failures[1:]:
            failures[0].add_note(f"and also: {other}")
        raise failures[0]
    return tuple(urls[kind] for kind in kinds)


async def _keep(kind: _Planned, state_dir: Path, policy: EmbeddedPolicy, *, task_status: TaskStatus[str]) -> None:
    async with kind(state_dir, policy) as plan:
        await Keeper(plan, policy).keep(lambda: task_status.started(plan.url))
