"""A room for tests of the command line: statuses and records as a daemon and an operator write them, and a runner.

Keys are written with the domain's own encoders through redis-py, so that the command line is tested against what it
did not write itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, cast

import msgspec
import redis
from click.testing import CliRunner

from wa_supervisor.cli import root
from wa_supervisor.domain.integration import Defaults, read_integration
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.status import DaemonStatus, LoginOffer, SessionStatus, Transition

GATEWAYS = """
[gateways.main]
url = "http://127.0.0.1:21465"
token = "t"
[gateways.second]
url = "http://127.0.0.1:21466"
token = "t"
[wish]
default_gateway = "main"
"""

LONGEST = 60.0
"""Seconds after which a command that hangs fails its test."""


def wall() -> float:
    """Give the wall clock."""
    return datetime.now(UTC).timestamp()


def make_status(name: str, state: State = State.RUNNING, **fields: Any) -> SessionStatus:  # noqa: ANN401 - as the struct
    """Give a status; of a running session, if nothing else is said."""
    is_running = state is State.RUNNING
    told: dict[str, Any] = {
        "id": IntegrationId(name),
        "agent_id": AgentId("agent-1"),
        "session": SessionName(name),
        "gateway": GatewayName("main"),
        "state": state,
        "reason": "Connected" if is_running else state.value.title(),
        "message": "connected" if is_running else f"it is {state.value}",
        "since": 900.0,
        "observed_at": 1000.0,
        "daemon": "d1",
        "pid": 12,
    }
    return SessionStatus(**(told | fields))


def make_step(target: State = State.RUNNING, **fields: Any) -> Transition:  # noqa: ANN401 - as the struct
    """Give a step of a session's life."""
    told: dict[str, Any] = {
        "at": 990.5,
        "source": State.STARTING,
        "target": target,
        "cause": "connected",
        "reason": "Connected",
        "message": "connected",
        "attempt": 0,
        "lasted": 8.0,
    }
    return Transition(**(told | fields))


def make_daemon(**fields: Any) -> DaemonStatus:  # noqa: ANN401 - as the struct
    """Give a daemon that is alive and ready."""
    told: dict[str, Any] = {
        "id": "d1",
        "host": "host-1",
        "pid": 12,
        "version": "0.1.0",
        "started_at": 100.0,
        "observed_at": 1000.0,
        "ready": True,
        "sessions": 1,
        "by_state": {"running": 1},
    }
    return DaemonStatus(**(told | fields))


def revision_of(name: str, record: bytes) -> str:
    """Give the revision of a record, as daemons do."""
    return read_integration(name, record, Defaults(gateways=frozenset())).revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        """What it printed, as JSON."""
        return msgspec.json.decode(self.out)


class CliRoom:
    """One server, one configuration file, and the commands that use them."""

    def __init__(self, url: str, folder: Path, *, settings: str = GATEWAYS) -> None:
        self.url = url
        self.config = folder / "config.toml"
        self.configure(f'[redis]\nurl = "{url}"\n[embedded]\nstate_dir = "{folder}/state"\n{settings}')
        self.redis: redis.Redis = redis.Redis.from_url(url)
        self.environ: dict[str, str] = {"XDG_STATE_HOME": str(folder / "nowhere"), "CREDENTIALS_DIRECTORY": ""}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.redis.close()

    def configure(self, text: str) -> None:
        """Write the configuration file."""
        self.config.write_text(text)
        self.config.chmod(0o600)

    # What is there

    def declare(self, name: str, **record: object) -> bytes:
        """Write a record of the wish; give it as it is there."""
        encoded = msgspec.json.encode({"agent_id": "agent-1", "session": name, "gateway": "main"} | record)
        self.redis.hset("wa:integrations", name, encoded)
        return encoded

    def record(self, name: str) -> dict[str, object] | None:
        """Read a record of the wish."""
        found = cast("bytes | None", self.redis.hget("wa:integrations", name))
        return None if found is None else msgspec.json.decode(found)

    def announce(self, **fields: object) -> None:
        """Have a daemon be alive."""
        daemon = make_daemon(**({"observed_at": wall()} | fields))
        self.redis.set(f"wa:daemon:{daemon.id}", msgspec.json.encode(daemon))
        self.redis.sadd("wa:daemons", daemon.id)

    def publish(self, status: SessionStatus) -> SessionStatus:
        """Have a daemon tell a status."""
        self.redis.hset("wa:status", status.id, msgspec.json.encode(status))
        return status

    def offer(self, name: str, kind: str, data: str) -> None:
        """Have a daemon offer a code."""
        offer = LoginOffer(kind=kind, data=data, offered_at=wall())
        self.redis.set(f"wa:login:{name}", msgspec.json.encode(offer))

    def has(self, name: str, state: State = State.RUNNING, **fields: object) -> SessionStatus:
        """Declare an integration and have a daemon tell of it, just now, as it is in the wish."""
        record = self.declare(name)
        now = wall()
        told: dict[str, Any] = {
            "since": now - 240,
            "observed_at": now,
            "observed_generation": revision_of(name, record),
        }
        return self.publish(make_status(name, state, **(told | fields)))

    # Commands

    def run(self, *arguments: str, given: str | None = None, environ: Mapping[str, str] | None = None) -> Ended:
        """Run a command in this process, far from any terminal."""
        ended = CliRunner(env=self.environ | dict(environ or {})).invoke(
            root, self._completed(arguments), input=given, prog_name="wa-supervisor"
        )
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return Ended(code=ended.exit_code, out=ended.stdout, err=ended.stderr)

    def start(self, *arguments: str, **popen: Any) -> subprocess.Popen[str]:  # noqa: ANN401 - as Popen
        """Start a command as a process of its own."""
        told: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "env": {**os.environ, **self.environ, "PYTHONUNBUFFERED": "1"},
        }
        command = [sys.executable, "-m", "wa_supervisor", *self._completed(arguments)]
        return subprocess.Popen(command, **(told | popen))

    def _completed(self, arguments: tuple[str, ...]) -> list[str]:
        needs_none = "--config" in arguments or "--help" in arguments or arguments[:1] == ("simulate-gateway",)
        return [*arguments] if needs_none else [*arguments, "--config", str(self.config)]


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait for the end of a process."""
    try:
        out, err = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Ended(code=process.returncode, out=out or "", err=err or "")
