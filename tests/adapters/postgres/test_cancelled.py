"""Cancelling at every await leaks no connection: each pool here has one, so one that leaks would be the last."""

from __future__ import annotations

import anyio
import psycopg
import pytest

from tests.adapters.postgres.cancelling import cancelled_at_every_step
from tests.adapters.postgres.proxy import proxied
from tests.adapters.postgres.room import ANA, PATIENCE, SALES, end_backends, ready, rows, somebody, until_waiting
from wa_supervisor.adapters.postgres.people import PostgresPeople
from wa_supervisor.adapters.postgres.policy import PostgresPolicy

pytestmark = pytest.mark.anyio


ONE = PostgresPolicy(connections=1, timeout=PATIENCE)


async def test_a_call_can_be_cancelled_at_every_await_and_the_next_one_works(database_url: str) -> None:
    numbers = iter(range(10_000))
    async with ready(database_url, ONE) as people:

        async def call() -> None:
            await people.get_or_create(SALES, somebody(next(numbers)))

        assert await cancelled_at_every_step(call) >= 1
        assert (await people.get_or_create(SALES, ANA)).is_authenticated


async def test_a_call_that_waits_for_a_new_connection_can_be_cancelled_at_every_await(database_url: str) -> None:
    async with ready(database_url, ONE):
        pass

    async def call() -> None:
        async with PostgresPeople(database_url, ONE) as people:
            await people.get_or_create(SALES, ANA)

    assert await cancelled_at_every_step(call) >= 2
    async with PostgresPeople(database_url, ONE) as people:
        assert (await people.get_or_create(SALES, ANA)).is_authenticated


async def test_the_tables_can_be_made_after_every_cancelled_try(
    database: psycopg.AsyncConnection, database_url: str
) -> None:
    async with PostgresPeople(database_url, ONE) as people:

        async def drop() -> None:
            await end_backends(database)  # one whose client has gone may still be at work
            await database.execute("DROP TABLE IF EXISTS users, agent_user_authorizations")

        assert await cancelled_at_every_step(people.ensure_schema, drop) >= 3
        assert (await people.get_or_create(SALES, ANA)).is_authenticated


async def test_callers_in_a_queue_can_be_cancelled_and_the_connection_goes_to_the_next(
    database: psycopg.AsyncConnection, database_url: str
) -> None:
    async with ready(database_url, ONE) as people, anyio.create_task_group() as group, database.transaction():
        await database.execute("LOCK TABLE users IN EXCLUSIVE MODE")
        async with anyio.create_task_group() as cancelled:
            for n in range(10):
                cancelled.start_soon(people.get_or_create, SALES, somebody(n))
            await until_waiting(database)
            group.start_soon(people.get_or_create, SALES, ANA)
            cancelled.cancel_scope.cancel()
    found = await rows(database, "SELECT platform_user_id FROM users WHERE first_name = 'Ana'")
    assert found == [(ANA.id,)]


async def test_leaving_while_the_server_says_nothing_ends(database_url: str) -> None:
    policy = PostgresPolicy(timeout=PATIENCE, cleanup=0.1)
    async with proxied(database_url) as proxy:
        proxy.stall()
        with anyio.fail_after(PATIENCE / 2):
            async with PostgresPeople(proxy.url, policy):
                pass
