"""Many callers, several pools, several daemons: one row for each person, and nobody fails because of another."""

from __future__ import annotations

import anyio
import psycopg
import pytest
from psycopg import sql

from tests.adapters.postgres.room import ANA, HUB, SALES, ready, role_of, rows, somebody, until_waiting
from wa_supervisor.adapters.postgres.people import PostgresPeople
from wa_supervisor.domain.messages import Sender
from wa_supervisor.domain.names import ChatId

pytestmark = pytest.mark.anyio


async def test_two_daemons_that_meet_the_same_new_people_agree(database_url: str, people: PostgresPeople) -> None:
    found: dict[ChatId, set[int | None]] = {}

    async def meet(where: PostgresPeople, sender: Sender) -> None:
        person = await where.get_or_create(SALES, sender)
        assert person.is_authenticated
        found.setdefault(sender.id, set()).add(person.user_id)

    async with PostgresPeople(database_url) as other, anyio.create_task_group() as group:
        for n in range(100):
            for where in (people, other):
                group.start_soon(meet, where, somebody(n))
    assert len(found) == 100
    assert all(len(ids) == 1 for ids in found.values())


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_a_stricter_default_isolation_makes_no_errors(
    isolation: str, database: psycopg.AsyncConnection, database_url: str, people: PostgresPeople
) -> None:
    name = sql.Identifier(database.info.dbname)
    setting = sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = {}").format(name, isolation)
    await database.execute(setting)
    await test_two_daemons_that_meet_the_same_new_people_agree(database_url, people)


async def test_daemons_that_start_at_once_make_the_tables_once(
    database: psycopg.AsyncConnection, database_url: str
) -> None:
    async def start() -> None:
        async with ready(database_url) as people:
            await people.get_or_create(SALES, ANA)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(start)
    assert await rows(database, "SELECT count(*) FROM users") == [(1,)]


async def test_a_table_that_a_hub_makes_at_the_same_moment_is_taken_as_it_is(
    database: psycopg.AsyncConnection, database_url: str
) -> None:
    async with PostgresPeople(database_url) as people, anyio.create_task_group() as group, database.transaction():
        await database.execute("CREATE TABLE users (LIKE pg_class)")
        await database.execute("ALTER TABLE users ADD CONSTRAINT hub UNIQUE (relname)")
        await database.execute("DROP TABLE users")
        await database.execute(HUB.encode())
        group.start_soon(people.ensure_schema)
        await until_waiting(database)
    assert ("shoe_size",) in await rows(
        database, "SELECT attname FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0"
    )


@pytest.mark.usefixtures("people")
async def test_more_callers_than_the_server_allows_connections_are_all_served(
    database: psycopg.AsyncConnection, guest: str
) -> None:
    role = sql.Identifier(role_of(guest))
    for statement in (
        "ALTER ROLE {} CONNECTION LIMIT 1",
        "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {}",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}",
    ):
        await database.execute(sql.SQL(statement).format(role))
    async with PostgresPeople(guest) as crowded:
        await crowded.get_or_create(SALES, ANA)
        async with anyio.create_task_group() as group:
            for n in range(200):
                group.start_soon(crowded.get_or_create, SALES, somebody(n))
    assert await rows(database, "SELECT count(*) FROM users") == [(201,)]
