"""Private servers while they run and after: what an ordinary run promises."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import psycopg
import pytest
from redis.asyncio import Redis

from tests.daemon.embedded_room import (
    POLICY,
    needs_servers,
    remember,
    remembered,
    residents,
    short_directory,
    sockets_below,
    until_postgres_answers,
    until_there,
    until_valkey_answers,
    with_our_modules,
)
from wa_supervisor.embedded import (
    StateDirectoryInUseError,
    embedded_postgres,
    embedded_servers,
    embedded_valkey,
    read_endpoints,
)

pytestmark = [pytest.mark.anyio, needs_servers]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def state_dir() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


async def test_what_was_written_is_there_after_the_next_start(state_dir: Path) -> None:
    async with embedded_servers(state_dir, policy=POLICY) as endpoints:
        await remember(endpoints, "first")
    async with embedded_servers(state_dir, policy=POLICY) as endpoints:
        await remember(endpoints, "second")
        assert await remembered(endpoints) == (["first", "second"], ["first", "second"])


async def test_leaving_the_block_leaves_no_process_and_no_socket(state_dir: Path) -> None:
    async with embedded_servers(state_dir, policy=POLICY):
        assert residents(state_dir / "valkey")
        assert residents(state_dir / "postgres")
    assert residents(state_dir / "valkey") == ()
    assert residents(state_dir / "postgres") == ()
    assert sockets_below(state_dir) == []


async def test_another_process_finds_the_endpoints_only_while_the_servers_run(state_dir: Path) -> None:
    question = (
        "from pathlib import Path; from wa_supervisor.embedded import *;"
        f" print(read_endpoints(Path({str(state_dir)!r})))"
    )
    async with embedded_servers(state_dir, policy=POLICY) as endpoints:
        answer = await anyio.run_process([sys.executable, "-c", question], env=with_our_modules())
        assert answer.stdout.decode().strip() == repr(endpoints)
        assert stat.S_IMODE((state_dir / "endpoints.json").stat().st_mode) == 0o600
    assert read_endpoints(state_dir) is None
    assert read_endpoints(state_dir / "never-made") is None


async def test_second_owner_is_refused_with_the_process_id_of_the_first(state_dir: Path) -> None:
    async with embedded_valkey(state_dir, policy=POLICY) as url:
        with pytest.raises(StateDirectoryInUseError, match=rf"in use by process {os.getpid()};"):
            async with embedded_servers(state_dir, policy=POLICY):
                pytest.fail("two owners of one state directory")
        await until_valkey_answers(url)


async def test_valkey_keeps_everything_and_announces_changes_of_hashes(state_dir: Path) -> None:
    async with embedded_valkey(state_dir, policy=POLICY) as url, Redis.from_url(url, decode_responses=True) as client:
        names = ("appendonly", "appendfsync", "maxmemory-policy", "save", "port", "notify-keyspace-events")
        settings = await client.config_get(*names)
    assert set(settings.pop("notify-keyspace-events") or "") == {"K", "g", "h"}
    assert settings == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
        "port": "0",
    }


async def test_postgres_flushes_checksums_and_listens_on_no_network(state_dir: Path) -> None:
    async with (
        embedded_postgres(state_dir, policy=POLICY) as url,
        await psycopg.AsyncConnection.connect(url) as connection,
    ):
        names = ("fsync", "synchronous_commit", "data_checksums", "listen_addresses", "server_encoding", "TimeZone")
        settings = {name: (await (await connection.execute(f"SHOW {name}")).fetchone() or ("",))[0] for name in names}
        collation = await (await connection.execute("SELECT datcollate FROM pg_database")).fetchall()
    assert settings == {
        "fsync": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
        "listen_addresses": "",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
    }
    assert set(collation) == {("C",)}


async def test_nobody_else_can_reach_the_sockets_or_the_data(state_dir: Path) -> None:
    async with embedded_valkey(state_dir, policy=POLICY):
        for name in ("valkey", "log"):
            assert stat.S_IMODE((state_dir / name).stat().st_mode) == 0o700
    assert stat.S_IMODE((state_dir / "lock").stat().st_mode) == 0o600


async def test_servers_are_out_of_reach_of_the_terminals_ctrl_c(state_dir: Path) -> None:
    async with embedded_valkey(state_dir, policy=POLICY):
        (server,) = residents(state_dir / "valkey")
        assert os.getsid(server.pid) != os.getsid(0)


class OutOfOrderError(Exception):
    """Raised by the block of a test."""


async def test_error_of_the_block_comes_out_as_it_was_raised_and_the_servers_stop(state_dir: Path) -> None:
    with pytest.raises(OutOfOrderError):
        async with embedded_valkey(state_dir, policy=POLICY):
            raise OutOfOrderError
    assert residents(state_dir / "valkey") == ()


async def test_cancelling_the_block_stops_the_server(state_dir: Path) -> None:
    with anyio.CancelScope() as scope:
        async with embedded_valkey(state_dir, policy=POLICY):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert residents(state_dir / "valkey") == ()


async def test_cancelling_the_first_start_leaves_nothing_and_the_next_start_works(state_dir: Path) -> None:
    async def interrupt_once_begun() -> None:
        await until_there(state_dir / "postgres.new" / "PG_VERSION")
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(interrupt_once_begun)
        async with embedded_postgres(state_dir, policy=POLICY):
            await anyio.sleep_forever()
    with anyio.fail_after(30):  # they were killed, and the kernel takes its time
        while residents(state_dir / "postgres.new") + residents(state_dir / "postgres"):  # noqa: ASYNC110 - theirs
            await anyio.sleep(0.05)
    async with embedded_postgres(state_dir, policy=POLICY) as url:
        await until_postgres_answers(url)


async def test_postgres_log_keeps_values_and_statements_out(state_dir: Path) -> None:
    async with (
        embedded_postgres(state_dir, policy=POLICY) as url,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
    ):
        await connection.execute("CREATE TABLE people (phone text PRIMARY KEY)")
        await connection.execute("INSERT INTO people VALUES ('5511999990000')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            await connection.execute("INSERT INTO people VALUES ('5511999990000')")
    log = (state_dir / "log" / "postgres.log").read_text()
    assert "duplicate key" in log
    assert "5511999990000" not in log
