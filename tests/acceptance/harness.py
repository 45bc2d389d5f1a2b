"""The installed command as a user runs it: real processes, signals and sockets, against a simulated gateway."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import anyio
import httpx
import redis
from anyio.abc import Process

from wa_supervisor.simulator import SimulatedGateway

COMMAND = str(Path(sys.executable).with_name("wa-supervisor"))
"""The command as pip installed it, beside the interpreter that runs the tests."""

PATIENCE = 60.0
"""Seconds after which a wait gives up, so that a failure ends; nothing here takes that long."""

LOOK = 0.05
"""Seconds between two looks at another process, which has no event to wait for."""


@dataclass(kw_only=True)
class Daemon:
    """A `wa-supervisor run` in another process."""

    process: Process
    folder: Path
    config: Path

    @property
    def log(self) -> str:
        """Everything that it wrote so far."""
        return (self.folder / "daemon.log").read_text(encoding="utf-8")

    async def until_said(self, pattern: str) -> re.Match[str]:
        """Wait until the log has a match."""
        with anyio.move_on_after(PATIENCE):
            while not (found := re.search(pattern, self.log)):
                assert self.process.returncode is None, self.log
                await anyio.sleep(LOOK)
            return found
        raise AssertionError(f"no {pattern!r} in the log:\n{self.log}")

    async def until_running(self, count: int) -> None:
        """Wait until `status` shows that many running."""
        with anyio.fail_after(PATIENCE):
            while (found := await running(self.config)) != count:
                assert self.process.returncode is None, self.log
                assert found <= count
                await anyio.sleep(4 * LOOK)

    async def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and give the exit code."""
        self.process.send_signal(how)
        with anyio.fail_after(PATIENCE):
            return await self.process.wait()


async def command(config: Path | None, *words: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run the command; give exit code, stdout and stderr."""
    which = ["--config", str(config)] if config else []
    with anyio.fail_after(PATIENCE):
        done = await anyio.run_process(
            [COMMAND, *words, *which], check=False, stderr=subprocess.PIPE, env={**os.environ, **(env or {})}
        )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def running(config: Path) -> int:
    """Count the sessions that `status` calls running."""
    _, out, _ = await command(config, "status", "-o", "json")
    return sum(1 for each in json.loads(out)["sessions"] if each["state"] == "running") if out else 0


Settings = Mapping[str, Mapping[str, object]]
"""Section -> key -> value; the section `gateways` is for every gateway."""

QUICK: Settings = {
    "daemon": {"id": "test", "log_format": "text"},
    "gateways": {"starts_at_once": 20, "start_interval": 0.01},
    "sessions": {"poll_starting": 0.2, "poll_connected": 1.0, "alive_evidence": 0.5, "backoff_initial": 0.1},
    "inbound": {"catch_up_settle": 0.2},
    "outbound": {"min_gap": 0.02, "jitter": 0.02, "per_minute": 600},
    "status": {"ttl": 6.0, "refresh": 1.0},
    "admin": {"port": 0},
}
"""Quick enough for tests."""


def write_config(
    folder: Path,
    gateways: Mapping[str, SimulatedGateway],
    redis_url: str,
    database_url: str = "",
    *,
    more: str = "",
    settings: Settings = MappingProxyType({}),
) -> Path:
    """Write a configuration for these servers: `QUICK` with `settings` over it, and `more` as it is behind it."""
    sections = {name: {**QUICK.get(name, {}), **settings.get(name, {})} for name in {**QUICK, **settings}}
    for_each = sections.pop("gateways")
    servers: dict[str, Mapping[str, object]] = {
        f"gateways.{name}": {"url": each.url, "secret": each.secret, **for_each} for name, each in gateways.items()
    }
    stores: Settings = {"redis": {"url": redis_url}, "postgres": {"url": database_url}}
    path = folder / "config.toml"
    tables = {**sections, **stores, **servers}
    path.write_text("\n".join(_table(name, tables[name]) for name in tables) + more, encoding="utf-8")
    return path


def _table(name: str, values: Mapping[str, object]) -> str:
    return "\n".join((f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""))


@asynccontextmanager
async def daemon(config: Path, *words: str) -> AsyncIterator[Daemon]:
    """Run the daemon until the block ends; it is killed if it still runs then."""
    folder = config.parent
    with (folder / "daemon.log").open("wb") as log:
        process = await anyio.open_process(
            [COMMAND, "run", "--config", str(config), *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    async with process:
        try:
            started = Daemon(process=process, folder=folder, config=config)
            await started.until_said(r"info +ready")
            yield started
        finally:
            if process.returncode is None:
                process.kill()


async def add(config: Path, name: str, *words: str, agent: str | None = None) -> None:
    """Declare an integration with the command line."""
    code, _, said = await command(
        config, "add", name, "--agent", agent or f"agent-{name}", "--session", f"{name}-number", *words
    )
    assert code == 0, said


def record(name: str, **more: object) -> bytes:
    """Give the record of an integration as `add` would."""
    return json.dumps({"agent_id": f"agent-{name}", "session": f"{name}-number", **more}).encode()


def declare(redis_url: str, wish: Mapping[str, bytes]) -> None:
    """Write many integrations into the hash at once, as a program of the operator's would."""
    with redis.Redis.from_url(redis_url) as client:
        client.hset("wa:integrations", mapping=dict(wish))


async def admin_url(config: Path) -> str:
    """Find the admin server as an operator does."""
    _, out, _ = await command(config, "status", "-o", "json")
    url: str = json.loads(out)["daemons"][0]["admin_url"]
    return url


async def fetch(url: str) -> httpx.Response:
    """Get a page of the admin server."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(url)
