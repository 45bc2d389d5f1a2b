"""Everything that runs: gateways, Valkey, PostgreSQL and the daemon, as children, and where they are found.

The servers are started by the plans of `wa_supervisor.embedded`, but by this program and not by a keeper: a server
that is to be away must not come back by itself. The daemon is started again when it dies, as a service manager does
it; a death that nobody ordered is noted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import anyio
import httpx
import msgspec

from tests.benchmarks.chaos.processes import Child
from tests.servers import policy_from_environment
from wa_supervisor.embedded.account import tool_environment
from wa_supervisor.embedded.keeper import ServerPlan
from wa_supervisor.embedded.policy import EmbeddedPolicy
from wa_supervisor.embedded.postgres import postgres_planned
from wa_supervisor.embedded.processes import end_tenants, tenants
from wa_supervisor.embedded.state import directory_owned
from wa_supervisor.embedded.valkey import valkey_planned
from wa_supervisor.simulator import Status

COMMAND = str(Path(sys.executable).with_name("wa-supervisor"))
"""The command as pip installed it."""

LOOK = 0.1
"""Seconds between two looks at another process, which has no event to wait for."""

SIMULATE = (COMMAND, "simulate-gateway")
"""The program of a gateway; one with the same options, and the same two lines to say where it is, will do."""

UP = 60.0
"""Seconds that anything here may take to come up; a busy machine needs seconds, and more is a failure."""

RESTART = 0.5
"""Seconds after which a dead daemon is started again (systemd's RestartSec is 0.1 s by default)."""

SECRET = "THISISMYSECURETOKEN"
"""What simulated gateways take unless they are told otherwise."""


class Gateway:
    """A simulated gateway in a process of its own, and the hand on its control interface."""

    def __init__(
        self, name: str, folder: Path, client: httpx.AsyncClient, *, program: Sequence[str] = SIMULATE
    ) -> None:
        self.name = name
        self.url = ""
        self.control_url = ""
        """Where it is scripted, without `/_control`: the same place, unless its program has another for that."""
        self.restarts = 0
        """How often it began anew; it then starts by itself what was ever started there."""
        self.pages: list[dict[str, Any]] = []
        """Ledgers of lives that have ended."""
        self._folder = folder
        self._client = client
        self._program = program
        self.child = self._make_child(0)

    def __repr__(self) -> str:
        return f"<Gateway {self.name} at {self.url}>"

    async def start(self) -> None:
        """Start it on the port that it had, a free one at first; wait until it listens."""
        if self.url:
            self.child = self._make_child(int(self.url.rpartition(":")[2]))
        began = self.child.log.stat().st_size if self.child.log.exists() else 0
        await self.child.start()
        with anyio.fail_after(UP):
            while "control  " not in (said := self.child.log.read_text(encoding="utf-8")[began:]):
                assert self.child.returncode is None, said
                await anyio.sleep(LOOK)
        self.url, self.control_url = said.split()[1], said.split()[3].removesuffix("/_control/state")

    async def kill(self) -> None:
        """Kill it; what its people received is read first."""
        self.pages.append(await self.look("ledger"))
        self.restarts += 1
        self.child.send(signal.SIGKILL)
        await self.child.wait()

    async def end(self) -> None:
        """End it in order."""
        await self.child.end()

    async def control(self, command: str, **body: object) -> bool:
        """Script it, as soon as it can be reached; say whether that was possible (not in its present state: no)."""
        answer = await self._request("POST", command, msgspec.json.encode(body))
        if answer.status_code not in {200, 409}:
            raise RuntimeError(f"{command} {body}: {answer.status_code} {answer.text}")
        return answer.status_code == 200

    async def write(self, body: dict[str, object]) -> bool | None:
        """Let a person write; whether it was emitted, `None` when the gateway is away."""
        try:
            answer = await self._client.post(f"{self.control_url}/_control/write", content=msgspec.json.encode(body))
        except httpx.TransportError:
            return None
        return bool(answer.raise_for_status().json()["emitted"])

    async def look(self, page: str) -> dict[str, Any]:
        """Read a page of the control interface."""
        answer = await self._request("GET", page, None)
        read: dict[str, Any] = msgspec.json.decode(answer.content)
        return read

    async def received(self) -> list[str]:
        """Give every text that people received, in all lives."""
        pages = [*self.pages, await self.look("ledger")]
        return [entry["text"] for page in pages for entry in page["received"]]

    async def is_connected(self, session: str) -> bool:
        """Whether a session is connected and its page alive."""
        shown = (await self.look("state"))["sessions"].get(session, {})
        return bool(shown.get("status") == Status.CONNECTED and shown.get("page") == "alive")

    async def _request(self, method: str, what: str, content: bytes | None) -> httpx.Response:
        with anyio.fail_after(UP):
            while True:
                try:
                    return await self._client.request(method, f"{self.control_url}/_control/{what}", content=content)
                except httpx.TransportError:
                    await anyio.sleep(LOOK)

    def _make_child(self, port: int) -> Child:
        words = [*self._program, "--port", str(port)]
        return Child(self.name, words, self._folder / f"{self.name}.log")


class Server:
    """Valkey or PostgreSQL, by its plan, in the private folder of the run."""

    def __init__(self, plan: ServerPlan, policy: EmbeddedPolicy) -> None:
        self.url = plan.url
        self._plan = plan
        self._policy = policy
        self._child = Child(
            plan.name,
            plan.command,
            plan.log,
            env=tool_environment(),
            cwd=plan.habitat.directory,
            account=plan.account,
        )

    async def start(self) -> None:
        """Start it and wait until it answers."""
        with anyio.fail_after(UP):
            self._plan.sweep()
            await self._child.start()
            while not await self._plan.is_answering():
                assert self._child.returncode is None, self._plan.log.read_text(encoding="utf-8")[-2000:]
                await anyio.sleep(LOOK)

    async def kill(self) -> None:
        """Kill it and its children, all of which live in its private folder."""
        self._child.send(signal.SIGKILL)
        await self._child.wait()
        await end_tenants(self._plan.habitat, signal.SIGKILL, self._policy)

    async def stop(self) -> None:
        """Stop it and its children in their tracks."""
        await self._signal_all(signal.SIGSTOP)

    async def go_on(self) -> None:
        """Let them go on."""
        await self._signal_all(signal.SIGCONT)

    async def end(self) -> None:
        """End it in order."""
        await self.go_on()
        await self._child.end(self._plan.stop_signal)
        await end_tenants(self._plan.habitat, signal.SIGKILL, self._policy)

    async def _signal_all(self, number: signal.Signals) -> None:
        for each in await anyio.to_thread.run_sync(tenants, self._plan.habitat):
            try:
                os.kill(each.pid, number)
            except ProcessLookupError:
                continue  # a worker that had just ended


class Daemon:
    """The daemon, and its service manager."""

    def __init__(self, folder: Path, name: str = "daemon") -> None:
        self.config = folder / f"{name}.toml"
        self.log = folder / f"{name}.log"
        self.lives = 0
        self.unordered: list[int | None] = []
        """How it ended when nobody had told it to."""
        self._child = Child(name, [COMMAND, "run", "--config", str(self.config)], self.log, env=plain_environment())
        self._is_ordered = False
        self._pause = RESTART
        self._life_began = 0
        """Bytes of the log before this life."""

    @property
    def pid(self) -> int:
        """Its process id; 0 while it is dead."""
        return self._child.pid

    @property
    def is_ready(self) -> bool:
        """Whether the one that lives has said so."""
        return bool(self.pid) and any(line.get("message") == "ready" for line in self.lines(self._life_began))

    def lines(self, start: int = 0) -> list[dict[str, Any]]:
        """Give the lines of its log from a byte on; what is no JSON (an interpreter's last words) is a `message`."""
        with self.log.open("rb") as log:
            log.seek(start)
            return [_line(line) for line in log.read().splitlines()]

    async def keep(self) -> None:
        """Start it, and again whenever it has died, until cancelled."""
        while True:
            self._life_began = self.log.stat().st_size if self.log.exists() else 0
            self.lives += 1
            await self._child.start()
            ended = await self._child.wait()
            if not self._is_ordered:
                self.unordered.append(ended)
            await anyio.sleep(self._pause)
            self._is_ordered, self._pause = False, RESTART

    async def until_ready(self) -> None:
        """Wait until it has made its first plan."""
        with anyio.fail_after(UP):
            while not self.is_ready:  # noqa: ASYNC110  # another process has no event to wait for
                await anyio.sleep(LOOK)

    def end_life(self, how: signal.Signals, away: float) -> None:
        """End this life; the next begins `away` seconds later."""
        self._is_ordered, self._pause = True, max(away, RESTART)
        self._child.send(how)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._child.send(number)

    async def end(self) -> None:
        """End it for good; `keep` must be over."""
        await self._child.end()


class Stage:
    """All of it."""

    def __init__(
        self, folder: Path, gateways: dict[str, Gateway], redis: Server, postgres: Server, daemon: Daemon
    ) -> None:
        self.folder = folder
        self.gateways = gateways
        self.redis = redis
        self.postgres = postgres
        self.daemon = daemon

    def write_config(self, *, changes: int = 0, more: str = "") -> None:
        """Write the daemon's configuration; `changes` makes the first gateway's another, `more` stands at its end."""
        tables = "\n".join(
            _GATEWAY.format(name=each.name, url=each.url, secret=SECRET, admissions=20 + changes * (number == 0))
            for number, each in enumerate(self.gateways.values())
        )
        text = _CONFIG.format(redis=self.redis.url, postgres=self.postgres.url, gateways=tables)
        self.daemon.config.write_text(text + more, encoding="utf-8")


@asynccontextmanager
async def serving(directory: Path, policy: EmbeddedPolicy) -> AsyncIterator[tuple[Server, Server]]:
    """Run Valkey and PostgreSQL in a private directory; both are ended at the end."""
    policy = replace(policy, is_throwaway=True)
    async with AsyncExitStack() as ending:
        ending.enter_context(directory_owned(directory))
        redis = Server(await ending.enter_async_context(valkey_planned(directory, policy)), policy)
        postgres = Server(await ending.enter_async_context(postgres_planned(directory, policy)), policy)
        for server in (redis, postgres):
            ending.push_async_callback(ended, server)
            await server.start()
        yield redis, postgres


@asynccontextmanager
async def staged(folder: Path, gateways: Sequence[str]) -> AsyncIterator[Stage]:
    """Set the stage: gateways and servers run, the daemon is configured; at the end all of them are ended."""
    async with AsyncExitStack() as ending:
        client = await ending.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=5.0))
        redis, postgres = await ending.enter_async_context(serving(folder / "servers", policy_from_environment()))
        found = {name: Gateway(name, folder, client) for name in gateways}
        for gateway in found.values():
            ending.push_async_callback(ended, gateway)
            await gateway.start()
        daemon = Daemon(folder)
        ending.push_async_callback(ended, daemon)
        stage = Stage(folder, found, redis, postgres, daemon)
        stage.write_config()
        yield stage


class Ending(Protocol):
    """What can be ended."""

    async def end(self) -> None:
        """End it for good."""


ENDING = 60.0
"""Seconds that ending one child may take in all; each has limits of its own, which are shorter."""


async def ended(child: Ending) -> None:
    """End one of them, also while everything is being cancelled."""
    with anyio.move_on_after(ENDING, shield=True):
        await child.end()


def plain_environment() -> dict[str, str]:
    """Give the environment without what the daemon would take for a setting or a service manager."""
    theirs = ("WA_SUPERVISOR_", "WPPCONNECT_", "REDIS_", "DATABASE_URL", "LOG_LEVEL", "NOTIFY_SOCKET", "WATCHDOG_")
    return {name: value for name, value in os.environ.items() if not name.startswith(theirs)}


def _line(line: bytes) -> dict[str, Any]:
    try:
        read = json.loads(line)
    except ValueError:
        read = None
    return read if isinstance(read, dict) else {"level": "raw", "message": line.decode(errors="replace")}


_GATEWAY = """\
[gateways.{name}]
url = "{url}"
secret = "{secret}"
starts_at_once = 20
start_interval = 0.01
request_timeout = 2
send_timeout = 4
reconnect_initial = 0.2
reconnect_max = 2
probe_interval = 0.5
admissions = {admissions}
failing_window = 5
hold_initial = 1
hold_max = 4
flapping_half_life = 10
"""

_CONFIG = """\
[daemon]
id = "chaos"
log_format = "json"
lease_ttl = 3
shutdown_timeout = 8
[redis]
url = "{redis}"
connect_timeout = 2
command_timeout = 2
[postgres]
url = "{postgres}"
timeout = 2
[wish]
resync = 3
[inbound]
catch_up_settle = 0.3
[sessions]
poll_starting = 0.3
poll_connected = 1.5
alive_evidence = 1
start_timeout = 5
healthy_after = 5
backoff_initial = 0.2
backoff_max = 3
budget_half_life = 10
quarantine_probe = 10
[outbound]
ack_timeout = 2
backoff_max = 2
hold_longest = 20
sweep = 0.5
claim_after = 5
[typing]
refresh = 2
longest = 5
[status]
ttl = 6
refresh = 1
[admin]
port = 0
{gateways}
"""
