"""Real servers for tests: one Valkey and one PostgreSQL for the whole run, from the wheels or from elsewhere.

`tests/conftest.py` imports the fixtures, so a test only names them:

    redis_url       an empty database on the run's Valkey or Redis (flushed before the test)
    database_url    a database of the test's own on the run's PostgreSQL (dropped after the test)
    valkey_url, postgres_url   the servers themselves, as they are

All are synchronous and give URLs for redis-py and psycopg. The servers run in an event loop in a thread, in private
directories below /tmp, and end with the run. Environment:

    WA_TEST_REDIS_SERVER    a redis-server or valkey-server program to run instead of the wheel's
    WA_TEST_POSTGRES_BIN    a directory with postgres and initdb to run instead of the wheel's
    WA_TEST_REQUIRE_ALL=1   a missing server is a failure, not a reason to skip
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, Protocol

import psycopg
import pytest
import redis
from anyio.from_thread import start_blocking_portal
from psycopg import sql

from wa_supervisor.embedded import EmbeddedNotInstalledError, EmbeddedPolicy, embedded_postgres, embedded_valkey
from wa_supervisor.embedded.software import find_postgres, find_valkey


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """Run one Valkey for the whole run and give its URL."""
    with _served(embedded_valkey) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Run one PostgreSQL for the whole run and give the URL of its first database."""
    with _served(embedded_postgres) as url:
        yield url


@pytest.fixture
def redis_url(valkey_url: str) -> str:
    """Give the URL of an empty database 0."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    return valkey_url


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """Give the URL of a new, empty database, which is dropped after the test, connections to it or not."""
    name = f"test_{uuid.uuid4().hex}"
    _execute(postgres_url, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield postgres_url.replace("///wa_supervisor?", f"///{name}?")
    _execute(postgres_url, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def policy_from_environment() -> EmbeddedPolicy:
    """Return the policy with the programs that the environment chooses."""
    return EmbeddedPolicy(
        redis_server=_path_from("WA_TEST_REDIS_SERVER"),
        postgres_bin=_path_from("WA_TEST_POSTGRES_BIN"),
    )


def is_everything_required() -> bool:
    """Say whether a missing server is a failure instead of a reason to skip."""
    return os.environ.get("WA_TEST_REQUIRE_ALL") == "1"


def why_no_servers() -> str:
    """Say why the servers cannot be started here, empty if they can; for tests that start their own."""
    policy = policy_from_environment()
    try:
        find_valkey(policy.redis_server)
        find_postgres(policy.postgres_bin)
    except EmbeddedNotInstalledError as error:
        return str(error)
    return ""


class _Serve(Protocol):
    def __call__(self, state_dir: Path, *, policy: EmbeddedPolicy) -> AbstractAsyncContextManager[str]: ...


@contextmanager
def _served(serve: _Serve) -> Iterator[str]:
    """Run a server in an event loop of its own until the end of the block."""
    policy = replace(policy_from_environment(), is_throwaway=True)
    state = Path(tempfile.mkdtemp(prefix="wa-test-", dir="/tmp"))  # short, and PostgreSQL's user may enter it
    try:
        with start_blocking_portal("asyncio") as portal, ExitStack() as running:
            try:
                url = running.enter_context(portal.wrap_async_context_manager(serve(state, policy=policy)))
            except EmbeddedNotInstalledError as error:
                _do_without(str(error))
            yield url
    finally:
        shutil.rmtree(state)


def _do_without(reason: str) -> NoReturn:
    if is_everything_required():
        pytest.fail(reason)
    pytest.skip(reason)


def _execute(url: str, statement: sql.Composed) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def _path_from(variable: str) -> Path | None:
    given = os.environ.get(variable)
    return Path(given) if given else None
