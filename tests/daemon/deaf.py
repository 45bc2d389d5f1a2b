"""A daemon with a task that swallows its cancellation, as a library might: it can be ended by force alone.

Run as `python -m tests.daemon.deaf CONFIG [IMPATIENCE]`; its patience is divided by the latter, where how long it is
does not matter.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio

from wa_supervisor.adapters.logs import set_up_logging
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.config import Settings, load_settings
from wa_supervisor.daemon import Daemon, LastResort, run_under_signals
from wa_supervisor.engine.ports import People


class _DeafDaemon(Daemon):
    async def _supervise(self, store: RedisStore, people: People | None) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_hear_nothing)
            await super()._supervise(store, people)
            tasks.cancel_scope.cancel()


async def _hear_nothing() -> None:
    while True:
        try:
            await anyio.sleep_forever()
        except BaseException:  # noqa: ASYNC103, BLE001, S112  # what this program is for
            continue  # noqa: ASYNC104


class _ImpatientResort(LastResort):
    def arm(self, seconds: float, *, names: Callable[[], Sequence[str]] = tuple) -> None:
        super().arm(seconds / float(sys.argv[2]), names=names)


def _load() -> Settings:
    return load_settings(Path(sys.argv[1]), os.environ).settings


async def _run(settings: Settings) -> None:
    resort = _ImpatientResort() if len(sys.argv) > 2 else LastResort()
    await run_under_signals(_DeafDaemon(settings, environ=os.environ, last_resort=resort), _load)


if __name__ == "__main__":
    given = _load()
    set_up_logging(given.daemon.log_level, given.daemon.log_format)
    anyio.run(_run, given, backend="asyncio")
