"""What the tests of both echo agents share: a Redis of their own that can be killed, and the agents as programs."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
from anyio.abc import Process


@asynccontextmanager
async def program(module: str, redis_url: str, agents: Sequence[str], log: Path) -> AsyncIterator[Process]:
    """Run an agent as a program, killed at the end if it still runs."""
    words = [sys.executable, "-m", f"wa_supervisor.simulator.{module}", "--redis", redis_url]
    words += ["--agents", ",".join(agents), "--log", str(log)]
    async with await anyio.open_process(words, stdout=None, stderr=None, env=dict(os.environ)) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                with anyio.move_on_after(5, shield=True):
                    await process.wait()


def lines(log: Path) -> list[dict[str, object]]:
    """Read what the agent has written so far."""
    if not log.exists():
        return []
    return [msgspec.json.decode(line) for line in log.read_bytes().splitlines()]


async def until_lines(log: Path, count: int, *, kind: str) -> list[dict[str, object]]:
    """Wait for so many lines of one kind, which another process writes."""
    with anyio.fail_after(20):
        while len(found := [line for line in lines(log) if kind in line]) < count:  # noqa: ASYNC110  # no event for it
            await anyio.sleep(0.02)
    return found
