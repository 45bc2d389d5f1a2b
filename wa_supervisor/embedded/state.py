"""The state directory: who owns it, and where a socket can be.

The owner holds an exclusive flock on `lock`; the kernel drops it with the process, however that ends. Everything here
is small synchronous file work.

It deliberately does not know what the servers are.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wa_supervisor.embedded.errors import StateDirectoryInUseError, unusable
from wa_supervisor.embedded.policy import EmbeddedPolicy

_LONGEST_SOCKET_PATH = 107
"""Bytes; unix(7): sun_path has 108 with the closing zero."""

_RUNTIME_PREFIX = "wa-supervisor-"


@contextmanager
def directory_owned(directory: Path) -> Iterator[None]:
    """Own the directory, made if need be, until the end of the block.

    Raises StateDirectoryInUseError if a living process owns it, StateDirectoryUnusableError if it cannot be used.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise unusable(directory, error) from error
    try:
        _lock(handle, directory)
        yield
    finally:
        os.close(handle)


def log_directory(state_dir: Path) -> Path:
    """Return the directory for logs, made if need be."""
    directory = state_dir / "log"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise unusable(directory, error) from error
    return directory


@contextmanager
def socket_directory(preferred: Path, name: str, link: Path, owner: int, policy: EmbeddedPolicy) -> Iterator[Path]:
    """Yield a directory where a socket called `name` has a path short enough: `preferred`, or a private short one.

    The short one (mode 0700, of user id `owner`) is remembered by the symbolic link `link` until it is removed, so
    that the next run removes it if this one is killed.
    """
    _remove_runtime_directory(link)
    if _fits(preferred / name):
        yield preferred
        return
    made = _make_runtime_directory(name, owner, policy)
    link.symlink_to(made)
    try:
        yield made
    finally:
        _remove_runtime_directory(link)


def _make_runtime_directory(name: str, owner: int, policy: EmbeddedPolicy) -> Path:
    room = f"{_RUNTIME_PREFIX}12345678/{name}"
    session = Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"))
    private_to_us = owner == os.geteuid() and session.is_absolute() and os.access(session, os.W_OK | os.X_OK)
    parent = session if private_to_us and _fits(session / room) else policy.socket_home
    try:
        made = Path(tempfile.mkdtemp(prefix=_RUNTIME_PREFIX, dir=parent))
        os.chown(made, owner, -1)
    except OSError as error:
        raise unusable(parent, error) from error
    return made


def _remove_runtime_directory(link: Path) -> None:
    with suppress(FileNotFoundError, OSError):
        made = link.readlink()
        if made.name.startswith(_RUNTIME_PREFIX):
            shutil.rmtree(made, ignore_errors=True)
        link.unlink()


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH


def _lock(handle: int, directory: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
        raise StateDirectoryInUseError(
            f"{directory} is in use by process {owner}; stop that one, or choose another state directory"
        ) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
