"""A database that goes away in every way that there is, and comes back."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import psycopg
import pytest

from tests.adapters.postgres.proxy import Proxy, proxied
from tests.adapters.postgres.room import (
    ANA,
    LID,
    PATIENCE,
    SALES,
    end_backends,
    ready,
    rows,
    somebody,
    until_found,
    until_waiting,
)
from tests.servers import policy_from_environment
from wa_supervisor.adapters.postgres.people import PostgresPeople
from wa_supervisor.adapters.postgres.policy import PostgresPolicy
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.embedded import EmbeddedNotInstalledError, embedded_postgres

pytestmark = pytest.mark.anyio

IMPATIENT = PostgresPolicy(timeout=0.3)


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    async with ready(database_url):
        pass
    async with proxied(database_url) as proxy:
        yield proxy


async def test_a_server_that_goes_and_comes_back_is_used_again(proxy: Proxy) -> None:
    async with PostgresPeople(proxy.url) as people:
        await people.get_or_create(SALES, ANA)
        for _ in range(3):
            await proxy.go_down()
            with pytest.raises(StoreUnavailableError):
                await people.get_or_create(SALES, LID)
            await proxy.listen()
            await until_found(people, LID)


async def test_a_server_that_was_away_at_the_start_is_used_when_it_comes(proxy: Proxy) -> None:
    await proxy.go_down()
    async with PostgresPeople(proxy.url) as people:
        with pytest.raises(StoreUnavailableError, match="refused"):
            await people.ensure_schema()
        with pytest.raises(StoreUnavailableError, match="refused"):
            await people.get_or_create(SALES, ANA)
        await proxy.listen()
        await until_found(people)


async def test_connections_that_broke_while_nobody_used_them_cost_no_call(proxy: Proxy) -> None:
    async with PostgresPeople(proxy.url) as people:
        async with anyio.create_task_group() as group:
            for n in range(50):
                group.start_soon(people.get_or_create, SALES, somebody(n))
        for n in range(5):
            await proxy.cut()
            assert (await people.get_or_create(SALES, somebody(n))).is_authenticated


async def test_backends_that_an_operator_ended_cost_no_call(
    database: psycopg.AsyncConnection, people: PostgresPeople
) -> None:
    for n in range(5):
        await people.get_or_create(SALES, somebody(n))
        await end_backends(database)


async def test_a_connection_that_breaks_under_a_question_is_replaced_and_it_is_asked_again(
    database: psycopg.AsyncConnection, proxy: Proxy
) -> None:
    async with PostgresPeople(proxy.url) as people, anyio.create_task_group() as group:
        await people.get_or_create(SALES, LID)
        async with database.transaction():
            await database.execute("LOCK TABLE users IN EXCLUSIVE MODE")
            group.start_soon(people.get_or_create, SALES, ANA)
            await until_waiting(database)
            await proxy.cut()
    assert await rows(database, "SELECT count(*) FROM users") == [(2,)]
    assert await rows(database, "SELECT is_authorized FROM agent_user_authorizations") == [(True,)]


async def test_a_server_that_hangs_up_on_every_question_is_not_asked_for_ever(proxy: Proxy) -> None:
    proxy.hangs_up = True
    policy = PostgresPolicy(connections=2, timeout=PATIENCE)
    async with PostgresPeople(proxy.url, policy) as people:
        with pytest.raises(StoreUnavailableError, match="closed the connection"):
            await people.get_or_create(SALES, ANA)
        assert proxy.round_trips == 4
        proxy.hangs_up = False
        assert (await people.get_or_create(SALES, ANA)).is_authenticated


async def test_a_server_that_does_not_answer_costs_its_time_out_and_no_connection(proxy: Proxy) -> None:
    async with PostgresPeople(proxy.url, replace(IMPATIENT, connections=1)) as people:
        await until_found(people)
        for _ in range(3):
            proxy.stall()
            with pytest.raises(StoreUnavailableError, match=r"did not answer within 0\.3 s"):
                await people.get_or_create(SALES, LID)
            proxy.flow()
            await until_found(people, LID)


async def test_a_server_that_accepts_and_says_nothing_costs_the_time_out(proxy: Proxy) -> None:
    proxy.stall()
    async with PostgresPeople(proxy.url, IMPATIENT) as people:
        with pytest.raises(StoreUnavailableError, match=r"did not answer within 0\.3 s"):
            await people.get_or_create(SALES, ANA)
        proxy.flow()
        await until_found(people)


async def test_a_killed_server_is_used_again_when_it_is_back(state_dir: Path) -> None:
    try:
        async with embedded_postgres(state_dir, policy=policy_from_environment()) as url, ready(url) as people:
            before = await people.get_or_create(SALES, ANA)
            for _ in range(2):
                await kill_and_await_the_next(url)
                await until_found(people)
                assert await people.get_or_create(SALES, ANA) == before
    except EmbeddedNotInstalledError as error:
        pytest.skip(str(error))


@pytest.fixture
def state_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wa-test-", dir="/tmp") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


async def kill_and_await_the_next(url: str) -> None:
    killed = await head_process(url)
    os.kill(killed, signal.SIGKILL)
    with anyio.fail_after(PATIENCE):
        while True:
            with suppress(psycopg.OperationalError):
                if await head_process(url) != killed:
                    return
            await anyio.sleep(0.02)


async def head_process(url: str) -> int:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        ((directory,),) = await rows(connection, "SHOW data_directory")
    return int((Path(directory) / "postmaster.pid").read_text().splitlines()[0])
