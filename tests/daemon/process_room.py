"""A room for daemons in processes of their own: started as a service manager does, watched as it does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from tests.acceptance.harness import Daemon as Process
from tests.daemon.daemon_room import PATIENCE, Manager, until

ROOT = Path(__file__).parents[2]

WATCHDOG = "WATCHDOG=1"

BLOCKABLE = (sys.executable, "-m", "tests.daemon.blockable")
"""The command, whose event loop SIGUSR1 blocks for good."""

DEAF = (sys.executable, "-m", "tests.daemon.deaf")
"""A daemon that does not end when it is told to; its argument is the configuration."""


@asynccontextmanager
async def started(config: Path, *command: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """Run a program that writes `daemon.log` beside its configuration; it is killed if it still runs at the end."""
    folder = config.parent
    with (folder / "daemon.log").open("wb") as log:
        process = await anyio.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
        )
    async with process:
        try:
            yield Process(process=process, folder=folder, config=config)
        finally:
            if process.returncode is None:
                process.kill()


def watched(manager: Manager, seconds: float) -> dict[str, str]:
    """Give the environment of a program that must give a sign of life within so many seconds, again and again."""
    return {**manager.environ, "WATCHDOG_USEC": str(int(seconds * 1_000_000))}


async def until_fed(manager: Manager, times: int) -> None:
    """Wait until so many more signs of life came."""
    before = manager.count(WATCHDOG)
    await until(lambda: manager.count(WATCHDOG) >= before + times)


async def until_silent(manager: Manager, seconds: float) -> None:
    """Wait, with the service manager's own timer, until no sign of life came for so many seconds."""
    with anyio.fail_after(PATIENCE):
        heard = -1
        while (count := manager.count(WATCHDOG)) != heard:
            heard = count
            await anyio.sleep(seconds)
