"""A room for private servers under test: a short directory, words put into both stores, and who lives there."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import psycopg
import pytest
import redis
from redis.asyncio import Redis

from tests.servers import is_everything_required, policy_from_environment, why_no_servers
from wa_supervisor.embedded import EmbeddedEndpoints
from wa_supervisor.embedded.processes import Habitat, Tenant, tenants

POLICY = policy_from_environment()

needs_servers = pytest.mark.skipif(bool(why_no_servers()) and not is_everything_required(), reason=why_no_servers())

PATIENCE = 60.0
"""Seconds after which a test that waits for a state gives up; nothing is measured by it."""

_SERVERS = frozenset({"valkey-server", "redis-server", "redis-check-rdb", "postgres", "initdb"})


@contextmanager
def short_directory() -> Iterator[Path]:
    """Give a new directory with a path short enough for sockets, which every user can enter."""
    directory = Path(tempfile.mkdtemp(prefix="wa-test-", dir="/tmp"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        _evict(directory)
        shutil.rmtree(directory)


def _evict(directory: Path) -> None:
    """Kill every server that works below the directory, as a test that fails may leave one."""
    below = [path for path in directory.rglob("*") if path.is_dir() and not path.is_symlink()]
    for path in below:
        if path.name in {"valkey", "postgres", "postgres.new"}:
            while found := residents(path):
                kill(found[0].pid)


def residents(directory: Path) -> tuple[Tenant, ...]:
    """Return the servers' processes that work in this directory."""
    return tenants(Habitat(directory=directory, executables=_SERVERS))


def program(path: Path, *lines: str) -> Path:
    """Write a program for /bin/sh that stands in for a server or a tool."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return path


def with_our_modules() -> dict[str, str]:
    """Return our environment, for another Python that shall find the package and the tests too."""
    paths = (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@contextmanager
def another_owner(state_dir: Path, *user: str) -> Iterator[tuple[subprocess.Popen[bytes], EmbeddedEndpoints]]:
    """Run the servers in another process, of another user if given; it is killed at the end if it still lives."""
    program = (sys.executable, str(Path(__file__).with_name("embedded_owner.py")), str(state_dir), *user)
    with subprocess.Popen(program, stdout=subprocess.PIPE, env=with_our_modules()) as process:
        try:
            assert process.stdout is not None
            yield process, EmbeddedEndpoints(**json.loads(process.stdout.readline()))
        finally:
            process.kill()


def head_of(directory: Path) -> int:
    """Return the process id of the one server in this directory, not of its children."""
    found = residents(directory)
    (head,) = {each.pid for each in found if each.parent not in {other.pid for other in found}}
    return head


def sockets_below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_socket()]


async def until_there(path: Path) -> None:
    """Return when a file is there; look again until then."""
    with anyio.fail_after(PATIENCE):
        while not await anyio.Path(path).exists():  # noqa: ASYNC110 - another process makes it
            await anyio.sleep(0.001)


def kill(pid: int) -> None:
    """Kill a process and return when it has died."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        os.kill(pid, signal.SIGKILL)
        assert select.select([handle], [], [], PATIENCE)[0], f"process {pid} survives SIGKILL"
    finally:
        os.close(handle)


async def put_into_valkey(url: str, word: str) -> None:
    async with Redis.from_url(url) as client:
        await client.rpush("words", word)


async def put_into_postgres(url: str, word: str) -> None:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS words (word text)")
        await connection.execute("INSERT INTO words VALUES (%s)", (word,))


async def remember(endpoints: EmbeddedEndpoints, word: str) -> None:
    """Put a word into both stores."""
    await put_into_valkey(endpoints.redis_url, word)
    await put_into_postgres(endpoints.database_url, word)


async def remembered(endpoints: EmbeddedEndpoints) -> tuple[list[str], list[str]]:
    """Return the words in the first and in the second store."""
    return await words_in_valkey(endpoints.redis_url), await words_in_postgres(endpoints.database_url)


async def words_in_valkey(url: str) -> list[str]:
    async with Redis.from_url(url, decode_responses=True) as client:
        return [str(word) for word in await client.lrange("words", 0, -1)]


async def words_in_postgres(url: str) -> list[str]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        rows = await (await connection.execute("SELECT word FROM words")).fetchall()
    return [row[0] for row in rows]


async def until_said(file: Path, words: str) -> None:
    """Return when a file contains these words; look again until then."""
    await until_there(file)
    with anyio.fail_after(PATIENCE):
        while words not in await anyio.Path(file).read_text():  # noqa: ASYNC110 - another process writes it
            await anyio.sleep(0.001)


async def until_valkey_answers(url: str) -> None:
    """Return when a new server answers; ask again until then."""
    with anyio.fail_after(PATIENCE):
        while True:
            async with Redis.from_url(url) as client:
                try:
                    await client.ping()
                except redis.ConnectionError:
                    await anyio.sleep(0.01)
                    continue
                return


async def until_postgres_answers(url: str) -> None:
    """Return when a new server answers; ask again until then."""
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(url)
            except psycopg.OperationalError:
                await anyio.sleep(0.01)
                continue
            await connection.close()
            return
