"""The tables: a hub's, our own, somebody else's, and those that are out of reach."""

from __future__ import annotations

import logging
import secrets

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.adapters.postgres.room import ANA, HUB, LID, SALES, ready, role_of, rows, somebody
from wa_supervisor.adapters.postgres.people import PostgresPeople
from wa_supervisor.adapters.postgres.policy import PostgresPolicy
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.messages import Sender
from wa_supervisor.domain.names import AgentId

pytestmark = pytest.mark.anyio


async def test_the_tables_of_a_hub_are_used_as_they_are(database: psycopg.AsyncConnection, database_url: str) -> None:
    await database.execute(HUB.encode())
    shape = (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace"
        " UNION ALL SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid::regclass::text IN ('users', 'agent_user_authorizations') AND attnum > 0"
        " UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2, 3"
    )
    before = await rows(database, shape)
    async with ready(database_url) as people:
        person = await people.get_or_create(SALES, ANA)
    assert person.is_authenticated
    assert await rows(database, shape) == before


async def test_names_fit_the_indexes_of_a_hub(database: psycopg.AsyncConnection, database_url: str) -> None:
    await database.execute(HUB.encode())
    name = "".join(chr(0x1F600 + secrets.randbelow(70)) for _ in range(10_000))  # which does not compress
    async with ready(database_url) as people:
        person = await people.get_or_create(SALES, Sender(id=ANA.id, phone=ANA.phone, name=name))
    assert name.startswith(person.first_name)
    assert len(person.first_name) == 255


async def test_only_what_was_decided_is_stored_as_an_answer(
    database: psycopg.AsyncConnection, people: PostgresPeople
) -> None:
    for sender in (ANA, LID):
        for agent in (SALES, AgentId("support")):
            await people.get_or_create(agent, sender)
    answers = (
        "SELECT agent_id, platform_user_id, is_authorized"
        " FROM agent_user_authorizations JOIN users ON users.id = user_id"
    )
    assert await rows(database, answers) == [("sales", ANA.id, True)]


async def test_an_agent_that_the_hub_does_not_know_is_warned_about_once(
    database: psycopg.AsyncConnection, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await database.execute(HUB.encode())
    caplog.set_level(logging.WARNING, "wa_supervisor")
    async with ready(database_url) as people:
        for n in range(3):
            person = await people.get_or_create(AgentId("unheard-of"), somebody(n))
            assert person.user_id is not None
            assert not person.is_authenticated
    (record,) = caplog.records
    assert "agent_configs" in record.getMessage()
    assert vars(record)["agent"] == "unheard-of"
    assert "foreign key" in vars(record)["error"]
    assert "5511" not in str(vars(record))


async def test_the_warnings_about_agents_are_bounded(database: psycopg.AsyncConnection, database_url: str) -> None:
    await database.execute(HUB.encode())
    async with ready(database_url) as people:
        for n in range(1001):
            await people.get_or_create(AgentId(f"unheard-of-{n}"), somebody(n))
        assert len(people._warned) == 1


async def test_without_tables_and_without_the_right_to_make_them_the_error_says_both(guest: str) -> None:
    async with PostgresPeople(guest) as people:
        with pytest.raises(StoreUnavailableError) as caught:
            await people.ensure_schema()
        with pytest.raises(StoreUnavailableError, match="create users and agent_user_authorizations"):
            await people.get_or_create(SALES, ANA)
    assert "there is no table users; there is no table agent_user_authorizations" in str(caught.value)
    assert "Give the role CREATE on the schema" in str(caught.value)


@pytest.mark.usefixtures("people")
async def test_tables_that_are_there_need_no_right_to_make_them(database: psycopg.AsyncConnection, guest: str) -> None:
    role = sql.Identifier(role_of(guest))
    for grant in (
        "GRANT SELECT, INSERT, UPDATE ON users TO {}",
        "GRANT SELECT, INSERT ON agent_user_authorizations TO {}",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}",
    ):
        await database.execute(sql.SQL(grant).format(role))
    async with ready(guest) as humble:
        assert (await humble.get_or_create(SALES, ANA)).is_authenticated


@pytest.mark.usefixtures("people")
async def test_a_missing_privilege_is_named_at_the_start_and_in_a_call(
    database: psycopg.AsyncConnection, guest: str
) -> None:
    role = role_of(guest)
    await database.execute(sql.SQL("GRANT SELECT, INSERT ON users TO {}").format(sql.Identifier(role)))
    async with PostgresPeople(guest) as humble:
        with pytest.raises(StoreUnavailableError) as caught:
            await humble.ensure_schema()
        with pytest.raises(StoreUnavailableError, match="GRANT the role SELECT, INSERT and UPDATE on users"):
            await humble.get_or_create(SALES, ANA)
    assert f"role {role} may not UPDATE in table users" in str(caught.value)
    assert f"role {role} may not SELECT in table agent_user_authorizations" in str(caught.value)
    assert "may not SELECT in table users" not in str(caught.value)


async def test_somebody_elses_table_is_named_with_what_it_lacks(
    database: psycopg.AsyncConnection, database_url: str
) -> None:
    await database.execute("CREATE TABLE users (id serial PRIMARY KEY, email text)")
    async with PostgresPeople(database_url) as people:
        with pytest.raises(StoreUnavailableError, match="table users has no column platform_user_id"):
            await people.ensure_schema()
        with pytest.raises(StoreUnavailableError, match="these are others"):
            await people.get_or_create(SALES, ANA)
    assert await rows(database, "SELECT count(*) FROM users") == [(0,)]


async def test_a_sequence_that_is_a_little_behind_is_stepped_over(
    database: psycopg.AsyncConnection, people: PostgresPeople
) -> None:
    await database.execute("INSERT INTO users (id, platform, platform_user_id) VALUES (1, 'web', 'a'), (2, 'web', 'b')")
    assert (await people.get_or_create(SALES, ANA)).user_id == 3


async def test_a_sequence_that_is_far_behind_is_an_error_that_says_so(
    database: psycopg.AsyncConnection, people: PostgresPeople
) -> None:
    await database.execute(
        "INSERT INTO users (id, platform, platform_user_id) SELECT n, 'web', n FROM generate_series(1, 100) AS n"
    )
    with pytest.raises(StoreUnavailableError, match=r"sequence of users\.id is not behind the table"):
        await people.get_or_create(SALES, ANA)


@pytest.mark.usefixtures("people")
async def test_a_read_only_server_is_named_as_such(database: psycopg.AsyncConnection, database_url: str) -> None:
    name = sql.Identifier(database.info.dbname)
    await database.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
    async with PostgresPeople(database_url) as standby:
        with pytest.raises(StoreUnavailableError, match="give the address of the primary"):
            await standby.get_or_create(SALES, ANA)


async def test_a_name_that_the_encoding_cannot_hold_costs_only_its_owner_the_row(
    database: psycopg.AsyncConnection, database_url: str
) -> None:
    name = f"test_latin_{secrets.token_hex(4)}"
    await database.execute(
        sql.SQL("CREATE DATABASE {} ENCODING LATIN1 LOCALE 'C' TEMPLATE template0").format(sql.Identifier(name))
    )
    async with ready(make_conninfo(database_url, dbname=name)) as people:
        cat = await people.get_or_create(SALES, Sender(id=LID.id, phone=None, name="🐈 Kater"))
        person = await people.get_or_create(SALES, Sender(id=ANA.id, phone=ANA.phone, name="Anaïs"))
    await database.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    assert (cat.first_name, cat.user_id, cat.is_authenticated) == ("🐈", None, False)
    assert (person.first_name, person.is_authenticated) == ("Anaïs", True)


async def test_a_column_whose_type_changes_meanwhile_costs_no_call(
    database: psycopg.AsyncConnection, people: PostgresPeople
) -> None:
    before = await people.get_or_create(SALES, ANA)
    await database.execute("ALTER TABLE users ALTER first_name TYPE varchar(300), ALTER username TYPE varchar(300)")
    assert await people.get_or_create(SALES, ANA) == before


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("interference", [b"DEALLOCATE ALL", b"PREPARE _pg3_0 AS SELECT 1"])
async def test_a_pooler_that_loses_or_mixes_up_prepared_statements_costs_no_call(
    database_url: str, interference: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wa_supervisor")
    async with PostgresPeople(database_url, PostgresPolicy(connections=1)) as behind_pooler:
        if interference == b"DEALLOCATE ALL":
            await behind_pooler.get_or_create(SALES, ANA)
        async with behind_pooler._connections._lend() as connection:
            connection.pgconn.exec_(interference)  # past psycopg, which would take notice
        for _ in range(2):
            assert (await behind_pooler.get_or_create(SALES, ANA)).is_authenticated
    assert [record.getMessage()[:19] for record in caplog.records] == ["Prepared statements"]


async def test_what_a_table_forbids_is_said_in_the_servers_words(
    database: psycopg.AsyncConnection, people: PostgresPeople
) -> None:
    await database.execute("CREATE RULE ours AS ON INSERT TO users DO ALSO SELECT 1")
    with pytest.raises(StoreUnavailableError, match="that has INSERT or UPDATE rules"):
        await people.get_or_create(SALES, ANA)


@pytest.mark.usefixtures("people")
async def test_a_limit_of_the_server_is_said_in_its_words_and_the_next_call_works(
    database: psycopg.AsyncConnection, database_url: str
) -> None:
    name = sql.Identifier(database.info.dbname)
    await database.execute(sql.SQL("ALTER DATABASE {} SET lock_timeout = '10ms'").format(name))
    async with PostgresPeople(database_url) as limited:
        async with database.transaction():
            await database.execute("LOCK TABLE users")
            with pytest.raises(StoreUnavailableError, match="lock timeout"):
                await limited.get_or_create(SALES, ANA)
        assert (await limited.get_or_create(SALES, ANA)).is_authenticated
