"""A room for the daemon in this process: settings quick enough for tests, a service manager, and what is held open."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import redis
from pydantic import SecretStr

from wa_supervisor.config import (
    AdminSettings,
    DaemonSettings,
    GatewaySettings,
    InboundSettings,
    OutboundSettings,
    PostgresSettings,
    RedisSettings,
    SessionsSettings,
    Settings,
    StatusSettings,
)
from wa_supervisor.daemon import Daemon, Started
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.simulator import SimulatedGateway

PATIENCE = 60.0
"""Seconds after which a wait gives up, so that a failure ends; nothing here takes that long."""

LOOK = 0.01
"""Seconds between two looks at what has no event."""

NOWHERE = "unix:///nowhere/redis.sock?db=0"
"""A Redis that is not there."""


class Manager:
    """The service manager's end of `NOTIFY_SOCKET`."""

    def __init__(self, path: Path) -> None:
        self.environ = {"NOTIFY_SOCKET": str(path)}
        self.messages: list[str] = []
        """Every line that was told, oldest first."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0)

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def listen(self) -> list[str]:
        """Take in what was told since the last time; give everything."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.messages += self._socket.recv(65536).decode().splitlines()
        return self.messages

    def count(self, line: str) -> int:
        """Say how often a line was told."""
        return self.listen().count(line)

    async def until(self, line: str) -> None:
        """Wait until a line that begins so was told."""
        await until(lambda: any(each.startswith(line) for each in self.listen()))


@contextmanager
def service_manager(folder: Path) -> Iterator[Manager]:
    """Listen on a socket in `folder`."""
    manager = Manager(folder / "notify")
    try:
        yield manager
    finally:
        manager.close()


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds that has no event."""
    with anyio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110  # for what has no event
            await anyio.sleep(LOOK)


def gateways_of(gateways: Mapping[str, SimulatedGateway]) -> dict[GatewayName, GatewaySettings]:
    """Give the settings of simulated gateways."""
    return {
        GatewayName(name): GatewaySettings(
            url=each.url, secret=SecretStr(each.secret), starts_at_once=20, start_interval=0.01
        )
        for name, each in gateways.items()
    }


def settings_for(
    redis_url: str,
    gateways: Mapping[str, SimulatedGateway] | None = None,
    database_url: str = "",
    **sections: Any,  # noqa: ANN401 - sections of the settings
) -> Settings:
    """Give settings, quick enough for tests; `sections` win."""
    ours: dict[str, Any] = {
        "daemon": DaemonSettings(id="test", shutdown_timeout=20.0),
        "redis": RedisSettings(url=SecretStr(redis_url), connect_timeout=2.0, command_timeout=2.0),
        "postgres": PostgresSettings(url=SecretStr(database_url), timeout=2.0),
        "gateways": gateways_of(gateways or {}),
        "sessions": SessionsSettings(poll_starting=0.2, poll_connected=1.0, alive_evidence=0.5, backoff_initial=0.1),
        "inbound": InboundSettings(catch_up_settle=0.2),
        "outbound": OutboundSettings(min_gap=0.02, jitter=0.02, per_minute=600),
        "status": StatusSettings(ttl=6.0, refresh=1.0),
        "admin": AdminSettings(port=0),
    }
    return Settings(**(ours | sections))


@asynccontextmanager
async def running(daemon: Daemon) -> AsyncIterator[Started]:
    """Run a daemon beside the block, and end it in order."""
    async with anyio.create_task_group() as tasks:
        started: Started = await tasks.start(daemon.run)
        yield started
        daemon.stop()
        with anyio.fail_after(PATIENCE):
            await daemon.stopped.wait()
        tasks.cancel_scope.cancel()


async def until_state(daemon: Daemon, name: str, state: State) -> None:
    """Wait until an integration is in that state."""
    await until(lambda: any(each.id == name and each.state is state for each in daemon.statuses()))


def record(name: str, **more: object) -> bytes:
    """Give the record of an integration with an agent and a session of its own."""
    return json.dumps({"agent_id": f"agent-{name}", "session": f"{name}-number", **more}).encode()


def declare(redis_url: str, *names: str, **more: object) -> None:
    """Write records into the wish, as a program of the operator's would."""
    with redis.Redis.from_url(redis_url) as client:
        client.hset("wa:integrations", mapping={name: record(name, **more) for name in names})


async def page(started: Started, path: str) -> tuple[int, Any]:
    """Get a page of the admin server: status and JSON, or text."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{started.admin_url}{path}")
    is_json = answer.headers["content-type"].startswith("application/json")
    return answer.status_code, answer.json() if is_json else answer.text


def held_open() -> dict[str, int]:
    """Count what this process holds open and what runs in it."""
    kinds = Counter(_kind_of(entry) for entry in Path("/proc/self/fd").iterdir())
    # A simulated gateway's pings, which it sends for half a minute to whoever has gone, are none of the daemon's.
    tasks = [
        task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "") != "AsyncSocket._send_ping"
    ]
    return {**kinds, "tasks": len(tasks), "threads": threading.active_count()}


def _kind_of(entry: Path) -> str:
    try:
        return str(entry.readlink()).partition(":")[0]
    except FileNotFoundError:
        return "the folder being read"


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Put logging back as it was: a daemon that reloads, and the command, set it up anew."""
    root, ours = logging.getLogger(), logging.getLogger("wa_supervisor")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
        logging.getLogger("psycopg.pool").setLevel(logging.NOTSET)
        logging.captureWarnings(capture=False)
