"""What a process holds, as the kernel and the process itself tell: file descriptors, threads, memory, tasks."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_TASKS = re.compile(r"^(wa_\w*tasks)(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)
"""A gauge of the daemon's that counts the tasks of its event loop, under whatever name it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """One look at a process."""

    fds: int
    threads: int
    rss_mb: float
    tasks: int | None
    """Tasks of its event loop; `None` when it does not tell."""
    kinds: Counter[str]
    """File descriptors by kind: `file`, `pipe`, `unix`, `tcp to 21465` (the other side's port), ..."""


def look_at(pid: int, metrics: str = "") -> Vitals:
    """Look at a process; `metrics` is its own page. Raises `OSError` when it is gone."""
    kinds = Counter(_fd_kinds(pid))
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return Vitals(
        fds=kinds.total(),
        threads=int(_field(status, "Threads")),
        rss_mb=round(int(_field(status, "VmRSS")) / 1024, 2),
        tasks=tasks_told(metrics),
        kinds=kinds,
    )


def tasks_told(metrics: str) -> int | None:
    """Give the number of tasks that a page of metrics tells, if it does."""
    found = _TASKS.search(metrics)
    return int(float(found[2])) if found else None


def least(looks: list[Vitals]) -> Vitals:
    """Give the least of several looks, each figure for itself: what comes and goes is not held."""
    tasks = [look.tasks for look in looks if look.tasks is not None]
    fewest = min(looks, key=lambda look: look.fds)
    return Vitals(
        fds=fewest.fds,
        threads=min(look.threads for look in looks),
        rss_mb=min(look.rss_mb for look in looks),
        tasks=min(tasks) if tasks else None,
        kinds=fewest.kinds,
    )


def _fd_kinds(pid: int) -> list[str]:
    ports, kinds = _tcp_ports(pid), []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue  # closed between the two calls
        kind, _, inode = target.partition(":")
        if kind == "socket":
            kind = ports.get(inode.strip("[]"), "unix")
        kinds.append("file" if target.startswith("/") else kind)
    return kinds


def _tcp_ports(pid: int) -> dict[str, str]:
    """Give, for each TCP socket by its inode, whom it is connected to."""
    rows = Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return {row.split()[9]: f"tcp to {int(row.split()[2].rpartition(':')[2], 16)}" for row in rows}


def _field(status: str, name: str) -> str:
    found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
    if found is None:
        raise ProcessLookupError(f"no {name}: the process has ended")
    return found[1]
