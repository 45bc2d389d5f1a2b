"""The state directory: who owns it, where its servers answer, where a socket can be.

The owner holds an exclusive flock on `lock`; the kernel drops it with the process, however that ends. `endpoints.json`
is written whole (rename) once the servers answer and removed when they stop; what a killed owner left is recognised by
its process identity. Everything here is small synchronous file work.

It deliberately does not know what the servers are.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from wa_supervisor.embedded.errors import StateDirectoryInUseError, StateDirectoryUnusableError
from wa_supervisor.embedded.policy import EmbeddedPolicy
from wa_supervisor.embedded.processes import process_identity

_LONGEST_SOCKET_PATH = 107
"""Bytes; unix(7): sun_path has 108 with the closing zero."""

_RUNTIME_PREFIX = "wa-supervisor-"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedEndpoints:
    """Where private servers answer: `unix:///path?db=0` and `postgresql:///wa_supervisor?host=/directory&user=...`."""

    redis_url: str
    database_url: str


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    pid: int
    identity: str
    redis_url: str
    database_url: str


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


def unusable(path: Path, error: OSError) -> StateDirectoryUnusableError:
    """Return the error that says why this path cannot be used and what to do."""
    return StateDirectoryUnusableError(
        f"cannot use {path}: {error.strerror or error}; choose a state directory on a disk with free space that"
        f" user {os.geteuid()} owns and may write, or give this one to that user (chown -R)"
    )


def log_directory(state_dir: Path) -> Path:
    """Return the directory for logs, made if need be."""
    directory = state_dir / "log"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise unusable(directory, error) from error
    return directory


@contextmanager
def endpoints_shown(directory: Path, endpoints: EmbeddedEndpoints) -> Iterator[None]:
    """Have `read_endpoints` find these until the end of the block."""
    target = directory / "endpoints.json"
    record = _Record(
        pid=os.getpid(),
        identity=process_identity(os.getpid()) or "",
        redis_url=endpoints.redis_url,
        database_url=endpoints.database_url,
    )
    try:
        _write_whole(target, msgspec.json.encode(record))
    except OSError as error:
        raise unusable(target, error) from error
    try:
        yield
    finally:
        target.unlink(missing_ok=True)


def read_endpoints(state_dir: Path) -> EmbeddedEndpoints | None:
    """Return where the servers of the daemon that owns this state directory answer; None if none runs there.

    Raises StateDirectoryUnusableError if the file is there but may not be read.
    """
    target = state_dir / "endpoints.json"
    try:
        record = msgspec.json.decode(target.read_bytes(), type=_Record)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
    except OSError as error:
        raise unusable(target, error) from error
    if process_identity(record.pid) != record.identity:
        return None
    return EmbeddedEndpoints(redis_url=record.redis_url, database_url=record.database_url)


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


def _write_whole(target: Path, content: bytes) -> None:
    """Write a private file that is there whole or not at all."""
    handle, draft = tempfile.mkstemp(prefix=target.name, dir=target.parent)
    try:
        os.write(handle, content)
        Path(draft).replace(target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
