"""The servers' log files: one per server, kept short, quoted in errors.

Small synchronous file work. The server writes with O_APPEND, so a log can be emptied under it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_QUOTED_LINES = 12
"""Of a log, in an error: enough for PostgreSQL's FATAL with its hint."""

_READ_BYTES = 16 * 1024
"""From the end of a log: more than the quoted lines ever take."""

_HINTS = {
    "No space left on device": "the disk is full: free some space",
    "Permission denied": "a file belongs to another user: give the state directory to the user that runs the daemon",
    "Bad file format reading the append only file": (
        "the append-only file is damaged in the middle: restore the directory valkey/ from a backup; or copy it away"
        " and cut off what follows the damage with: bash -c 'exec -a valkey-check-aof VALKEY-SERVER --fix FILE', FILE"
        " being the one named .incr.aof (with the manifest, Valkey 9.1's check stops at a base file that is sound)"
    ),
    "could not resize shared memory": "there is too little of it: give the container more (--shm-size=256m)",
    "could not create shared memory": "the system's limit for shared memory is reached: raise kernel.shmmax",
}
"""What a server says -> what to do."""


def explain(problem: str, log: Path) -> str:
    """Return the problem with what to do, if known, and the last lines of the log."""
    quoted = log_end(log)
    hints = "".join(f"; {hint}" for sign, hint in _HINTS.items() if sign in quoted)
    return f"{problem}{hints}; the end of {log}:\n{quoted}"


def begin_log(log: Path) -> BinaryIO:
    """Open an empty log and keep the one before as `.1`."""
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
    return log.open("ab")


def shorten_log(log: Path, limit: int) -> None:
    """Move a log of more than `limit` bytes aside; the server goes on writing to the emptied file."""
    with suppress(OSError):  # a full disk: the next look tries again
        if log.stat().st_size > limit:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)


def log_end(log: Path) -> str:
    """Return the last lines of a log, or that there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _READ_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        return f"(no log: {error.strerror})"
    return "\n".join(lines[-_QUOTED_LINES:])
