"""Telling one process from another that had the same id.

Imports next to nothing: `wa-supervisor status` uses it and has 150 ms.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def process_identity(pid: int) -> str | None:
    """Return what tells this process from any other that has or had its id, or None if none lives.

    Boot id and start time (proc(5), `/proc/pid/stat` fields 3 and 22); a zombie does not live.
    """
    with suppress(OSError):
        fields = stat_fields(pid)
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"
    return None


def stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/pid/stat from the state on; the name before may contain anything, even `)`.

    Raises OSError if there is no such process.
    """
    return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
