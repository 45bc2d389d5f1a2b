"""The private Valkey: how it is configured, found and asked.

Persistence is on (append-only file), memory is never reclaimed by dropping keys, and changes of hashes are announced,
because the wish is a hash. It listens on a unix socket only. An append-only file that was cut off in the middle of its
last command, as a power failure leaves it, is loaded up to there.

Runs as the user who runs the daemon, also if that is root: it does not mind, and nobody else can reach its socket.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import anyio

from wa_supervisor.embedded.errors import unusable
from wa_supervisor.embedded.keeper import ServerPlan
from wa_supervisor.embedded.policy import EmbeddedPolicy
from wa_supervisor.embedded.processes import Habitat
from wa_supervisor.embedded.software import find_valkey
from wa_supervisor.embedded.state import log_directory, socket_directory

_SOCKET = "valkey.sock"

_EXECUTABLES = frozenset({"valkey-server", "redis-server", "redis-check-rdb"})
"""Debian's redis-server is a link to redis-check-rdb."""


@asynccontextmanager
async def valkey_planned(state_dir: Path, policy: EmbeddedPolicy) -> AsyncIterator[ServerPlan]:
    """Yield the plan of the Valkey in a state directory that we own.

    Raises EmbeddedNotInstalledError, StateDirectoryUnusableError.
    """
    program = find_valkey(policy.redis_server)
    data = state_dir / "valkey"
    _make_private(data)
    with socket_directory(data, _SOCKET, state_dir / "valkey.runtime", os.geteuid(), policy) as sockets:
        yield _plan(program, data, sockets / _SOCKET, log_directory(state_dir) / "valkey.log", policy)


def _plan(program: Path, data: Path, socket: Path, log: Path, policy: EmbeddedPolicy) -> ServerPlan:
    return ServerPlan(
        name="valkey",
        url=f"unix://{quote(str(socket))}?db=0",
        command=(str(program), *_options(data, socket, policy)),
        habitat=Habitat(directory=data, executables=_EXECUTABLES | {program.resolve().name}),
        account=None,
        log=log,
        stop_signal=signal.SIGTERM,
        sweep=lambda: socket.unlink(missing_ok=True),
        is_answering=lambda: _is_answering(socket),
    )


def _options(data: Path, socket: Path, policy: EmbeddedPolicy) -> tuple[str, ...]:
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "dir": str(data),
        "daemonize": "no",
        "save": "",
        "appendonly": "yes",
        "appendfsync": policy.append_fsync,
        "aof-load-truncated": "yes",
        "maxmemory-policy": "noeviction",
        "notify-keyspace-events": "Kgh",
    }
    return tuple(word for key, value in settings.items() for word in (f"--{key}", value))


def _make_private(data: Path) -> None:
    try:
        data.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise unusable(data, error) from error


async def _is_answering(socket: Path) -> bool:
    """Ask PING; while it reads its file back it answers -LOADING, which is not yet."""
    try:
        async with await anyio.connect_unix(socket) as stream:
            await stream.send(b"PING\r\n")
            return (await stream.receive()).startswith(b"+PONG")
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream):
        return False
