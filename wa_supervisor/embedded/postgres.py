"""The private PostgreSQL: how it is configured, run and asked.

Everyone who can reach the socket is trusted; the socket lies in a directory with mode 0700, and there is no TCP. Every
commit is flushed to disk. Statements and key values are kept out of the log, because they contain phone numbers.

It deliberately does not create tables: that is the adapter's work.
"""

from __future__ import annotations

import os
import shutil
import signal
import struct
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

import anyio
import anyio.to_thread

from wa_supervisor.embedded.account import account_for
from wa_supervisor.embedded.cluster import (
    POSTGRES_EXECUTABLES,
    Cluster,
    find_cluster,
    home_of_cluster,
    make_cluster,
)
from wa_supervisor.embedded.keeper import ServerPlan
from wa_supervisor.embedded.policy import EmbeddedPolicy
from wa_supervisor.embedded.processes import Habitat
from wa_supervisor.embedded.software import find_postgres
from wa_supervisor.embedded.state import directory_owned, log_directory, socket_directory

_NAME = "wa_supervisor"
"""Of the database and of its user."""

_SOCKET = ".s.PGSQL.5432"

_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
"""On the command line, which outranks every file in the cluster. The port is part of the socket's name."""


@asynccontextmanager
async def postgres_planned(state_dir: Path, policy: EmbeddedPolicy) -> AsyncIterator[ServerPlan]:
    """Yield the plan of the PostgreSQL in a state directory that we own; its cluster is made if there is none.

    Raises EmbeddedNotInstalledError, StateDirectoryUnusableError, ClusterVersionError, ServerStartError.
    """
    installed = find_postgres(policy.postgres_bin)
    log = log_directory(state_dir) / "postgres.log"
    account = await anyio.to_thread.run_sync(account_for, state_dir / "postgres", policy)
    home = await anyio.to_thread.run_sync(home_of_cluster, state_dir, account, policy)
    with ExitStack() as stack:
        if home != state_dir:
            if policy.is_throwaway:
                stack.callback(shutil.rmtree, home, ignore_errors=True)
            stack.enter_context(directory_owned(home))
        cluster = await anyio.to_thread.run_sync(find_cluster, home, account, installed)
        await make_cluster(cluster, _NAME, log, policy)
        owner = account.uid if account else os.geteuid()
        link = state_dir / "postgres.runtime"
        sockets = stack.enter_context(socket_directory(cluster.directory, _SOCKET, link, owner, policy))
        yield _plan(cluster, sockets, log)


def _plan(cluster: Cluster, sockets: Path, log: Path) -> ServerPlan:
    settings = {**_SETTINGS, "unix_socket_directories": f'"{sockets}"'}
    options = tuple(word for key, value in settings.items() for word in ("-c", f"{key}={value}"))
    query = urlencode({"host": str(sockets), "user": _NAME}, quote_via=quote)
    return ServerPlan(
        name="postgres",
        url=f"postgresql:///{_NAME}?{query}",
        command=(str(cluster.bin_directory / "postgres"), "-D", str(cluster.directory), *options),
        habitat=Habitat(directory=cluster.directory, executables=POSTGRES_EXECUTABLES),
        account=cluster.account,
        log=log,
        stop_signal=signal.SIGINT,
        sweep=lambda: _sweep(cluster.directory, sockets),
        is_answering=lambda: _is_answering(sockets / _SOCKET),
    )


def _sweep(directory: Path, sockets: Path) -> None:
    """Remove the marks of a dead server; with a recycled process id in them PostgreSQL would refuse to start."""
    for mark in (directory / "postmaster.pid", sockets / _SOCKET, sockets / f"{_SOCKET}.lock"):
        mark.unlink(missing_ok=True)


async def _is_answering(socket: Path) -> bool:
    """Begin a session and end it (protocol 3.0); while the server recovers it answers an error, which is not yet."""
    words = b"".join(word.encode() + b"\0" for word in ("user", _NAME, "database", _NAME, ""))
    try:
        async with await anyio.connect_unix(socket) as stream:
            await stream.send(struct.pack("!ii", 8 + len(words), 0x30000) + words)
            received = b""
            while not received.endswith(b"Z\0\0\0\5I"):
                received += await stream.receive()
            await stream.send(b"X\0\0\0\4")
            return True
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream):
        return False
