"""Where the servers of a state directory answer, told to other processes.

`endpoints.json` is written whole (rename) once the servers answer and removed when they stop; what a killed owner left
is recognised by its process identity.

Imports little: `wa-supervisor status` uses it and has 150 ms.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from wa_supervisor.embedded.errors import unusable
from wa_supervisor.embedded.identity import process_identity


class EmbeddedEndpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Where private servers answer: `unix:///path?db=0` and `postgresql:///wa_supervisor?host=/directory&user=...`."""

    redis_url: str
    database_url: str


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    pid: int
    identity: str
    redis_url: str
    database_url: str


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
