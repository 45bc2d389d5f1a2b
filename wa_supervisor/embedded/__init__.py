"""Private Valkey and PostgreSQL servers, from PyPI wheels, for a host that has neither.

`embedded_servers(state_dir)` runs both as child processes on unix sockets in a directory that belongs to one daemon at
a time, keeps them running, and stops them at the end; the data stay and are there at the next start. `embedded_valkey`
and `embedded_postgres` run one alone. `read_endpoints(state_dir)` finds the servers of a running daemon.

What lies in the state directory (mode 0700; 0711 when run by root, because PostgreSQL then runs as another user):

    lock              held by the owning process for as long as it lives; contains its process id
    endpoints.json    where the servers answer, while they run (mode 0600)
    valkey/           append-only file and socket
    postgres/         the cluster and its socket; a link to where it is if root keeps it elsewhere (see `account.py`)
    log/              valkey.log, postgres.log and the same of the start before, with `.1`
    software/         a copy of PostgreSQL, only if its user cannot reach the installed one

A daemon killed with SIGKILL leaves its servers running; the next start in the same state directory finds them by where
they work (see `processes.py`), stops them in order and starts its own. Systemd ends them together with the daemon.
PR_SET_PDEATHSIG is not used: it fires when the *thread* that forked ends, and setting it needs `preexec_fn`, which can
deadlock in a process with threads. The servers have a session of their own, so a terminal's Ctrl-C does not reach
them before the daemon has drained.

This package deliberately does not listen on TCP, speak Redis or SQL beyond asking "are you there?", back up, or migrate
a cluster to another major version. It needs Linux (pidfd, /proc) and the asyncio backend.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from wa_supervisor.embedded.endpoints import EmbeddedEndpoints, read_endpoints
from wa_supervisor.embedded.errors import (
    ClusterVersionError,
    EmbeddedNotInstalledError,
    ServerStartError,
    StateDirectoryInUseError,
    StateDirectoryUnusableError,
)

if TYPE_CHECKING:
    from wa_supervisor.embedded.policy import EmbeddedPolicy
    from wa_supervisor.embedded.servers import embedded_postgres, embedded_servers, embedded_valkey

__all__ = [
    "ClusterVersionError",
    "EmbeddedEndpoints",
    "EmbeddedNotInstalledError",
    "EmbeddedPolicy",
    "ServerStartError",
    "StateDirectoryInUseError",
    "StateDirectoryUnusableError",
    "embedded_postgres",
    "embedded_servers",
    "embedded_valkey",
    "read_endpoints",
]

_LATE = {
    "EmbeddedPolicy": "wa_supervisor.embedded.policy",
    "embedded_postgres": "wa_supervisor.embedded.servers",
    "embedded_servers": "wa_supervisor.embedded.servers",
    "embedded_valkey": "wa_supervisor.embedded.servers",
}
"""Imported when first used: `read_endpoints` is for `status`, which has no time to import an event loop."""


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)
