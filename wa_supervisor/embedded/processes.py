"""Finding and ending processes without ever hitting a stranger.

A server of ours is known by where it works: both servers change into their data directory, which belongs to one daemon
alone. A process whose working directory *is* that directory (same device and inode) and whose executable is a server's
is ours; that needs no record that could be stale, missing or recycled, and finds the children of a dead PostgreSQL too.
Signals go through a pidfd that was opened before that was checked, so they cannot reach a recycled process id.

It deliberately does not wait for children by id: that is the event loop's work.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from wa_supervisor.embedded.errors import ServerStartError
from wa_supervisor.embedded.identity import PROC, stat_fields
from wa_supervisor.embedded.policy import EmbeddedPolicy

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habitat:
    """Where servers of one kind live: their working directory and the names of their executables."""

    directory: Path
    executables: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A process found in a habitat."""

    pid: int
    parent: int


def tenants(habitat: Habitat) -> tuple[Tenant, ...]:
    """Return every living process of the habitat. Reads all of /proc: some milliseconds, so call it in a thread."""
    if not habitat.directory.exists():
        return ()
    return tuple(found for pid in _pids() if (found := _tenant(pid, habitat)) is not None)


async def end_tenants(habitat: Habitat, first_signal: signal.Signals, policy: EmbeddedPolicy) -> int:
    """End every process of the habitat, by this signal and if need be by SIGKILL; return how many there were.

    Raises ServerStartError if one survives SIGKILL.
    """
    first = found = await anyio.to_thread.run_sync(tenants, habitat)
    polite = () if first_signal is signal.SIGKILL else ((first_signal, policy.stop_seconds),)
    for number, seconds in (*polite, (signal.SIGKILL, policy.kill_seconds)):
        if found:
            await _signal_and_wait(habitat, found, number, seconds)
            found = await anyio.to_thread.run_sync(tenants, habitat)
    if found:
        pids = ", ".join(str(each.pid) for each in found)
        raise ServerStartError(
            f"processes {pids} of an earlier run in {habitat.directory} do not end, even by SIGKILL;"
            " look at the disk (a process that hangs in a disk operation cannot be killed)"
        )
    return len(first)


async def _signal_and_wait(habitat: Habitat, found: tuple[Tenant, ...], number: signal.Signals, seconds: float) -> None:
    """Signal the heads among `found` (all of them for SIGKILL) and wait until all have ended or time is up."""
    pids = {each.pid for each in found}
    heads = {each.pid for each in found if number is signal.SIGKILL or each.parent not in pids}
    logger.info("ending processes", extra={"pids": sorted(heads), "signal": number.name})
    with _handles(habitat, pids) as handles:
        for pid, handle in handles.items():
            if pid in heads:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, number)
        with anyio.move_on_after(seconds):
            for handle in handles.values():
                await anyio.wait_readable(handle)


@contextmanager
def _handles(habitat: Habitat, pids: Iterable[int]) -> Iterator[dict[int, int]]:
    """Open a pidfd for each process, leaving out those that have ended or changed meanwhile."""
    with ExitStack() as stack:
        handles: dict[int, int] = {}
        for pid in pids:
            with suppress(ProcessLookupError):
                handle = os.pidfd_open(pid)
                stack.callback(os.close, handle)
                if _tenant(pid, habitat) is not None:
                    handles[pid] = handle
        yield handles


def _tenant(pid: int, habitat: Habitat) -> Tenant | None:
    """Say who this process is if it lives in the habitat; one that we may not look at is not ours."""
    with suppress(OSError):
        if not (PROC / str(pid) / "cwd").samefile(habitat.directory):
            return None
        executable = Path((PROC / str(pid) / "exe").readlink()).name.removesuffix(" (deleted)")
        if executable in habitat.executables and (fields := stat_fields(pid))[0] not in "ZX":
            return Tenant(pid=pid, parent=int(fields[1]))
    return None


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
