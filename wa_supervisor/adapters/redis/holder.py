"""Who holds a lease: one process of one daemon, as it stands in the lease, and whether it is known to have ended.

A process id means something only where it was given. So the holder names that place too: the boot of its kernel and its
namespace of process ids. From another place, a container beside or a host of the same name, nothing is known about it.
Where the place cannot be found out (no /proc), nobody is ever known to have ended.

It deliberately does not ask for more than whether such a process lives. A process id that was given anew makes a
dead holder look alive, and a container that starts again has a new namespace: both cost waiting for the lease's ttl, at
most. The opposite, taking from one that lives, cannot happen.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Annotated

import msgspec

_PROC = Path("/proc")


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """One process, as JSON in a lease."""

    daemon: str
    """The daemon's name, which its next process will have too."""
    host: str
    """For a person; names of hosts need not be unique."""
    pid: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    place: str
    """Where the process id was given: the same text means the same namespace of the same boot. Empty: not known."""
    instance: str
    """Random word of the process: by it a process knows its own leases."""


class KeptLease(Holder, frozen=True, kw_only=True):
    """A whole lease: its holder and its number."""

    fence: int


def this_process(daemon: str, instance: str) -> Holder:
    """Describe the process that we are."""
    return Holder(daemon=daemon, host=socket.gethostname(), pid=os.getpid(), place=_place(_PROC), instance=instance)


def read_lease(text: bytes) -> KeptLease | None:
    """Read a lease; `None` for a text that is none."""
    try:
        return msgspec.json.decode(text, type=KeptLease)
    except msgspec.DecodeError:
        return None


def is_left_behind(holder: Holder, successor: Holder) -> bool:
    """Whether `holder` was a process of the same daemon, in the same place, that certainly lives no more."""
    is_predecessor = holder.daemon == successor.daemon and holder.instance != successor.instance
    is_visible = bool(holder.place) and holder.place == successor.place
    return is_predecessor and is_visible and _has_ended(holder.pid)


def _has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.ESRCH  # any other error, such as "not permitted", is about one that lives
    return False


def _place(proc: Path) -> str:
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(proc / 'self/ns/pid').readlink()}"
    except OSError:
        return ""
