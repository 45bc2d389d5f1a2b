"""What the tests of people in PostgreSQL share: persons, a hub's tables, and ways to look and to wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import psycopg
from psycopg.conninfo import conninfo_to_dict

from wa_supervisor.adapters.postgres.people import PostgresPeople
from wa_supervisor.adapters.postgres.policy import PostgresPolicy
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.messages import Sender
from wa_supervisor.domain.names import AgentId, ChatId

SALES = AgentId("sales")
ANA = Sender(id=ChatId("5511988887777@c.us"), phone="5511988887777", name="Ana Souza")
LID = Sender(id=ChatId("123456789012345@lid"), phone=None, name="Bruno")
DEFAULT = PostgresPolicy()
PATIENCE = 60.0
"""Seconds after which a test that waits for a state gives up; nothing is measured by it."""

HUB = """
CREATE TABLE agent_configs (id varchar PRIMARY KEY);
CREATE TABLE users (
    id serial PRIMARY KEY, platform varchar NOT NULL, platform_user_id varchar NOT NULL, phone_number varchar,
    first_name varchar, last_name varchar, username varchar, created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(), shoe_size integer,
    CONSTRAINT uq_platform_platform_user_id UNIQUE (platform, platform_user_id)
);
CREATE UNIQUE INDEX ix_users_phone_number ON users (phone_number);
CREATE INDEX ix_users_username ON users (username);
CREATE INDEX ix_users_platform_user_id ON users (platform_user_id);
CREATE TABLE agent_user_authorizations (
    id serial PRIMARY KEY, agent_id varchar NOT NULL REFERENCES agent_configs ON DELETE CASCADE,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE, is_authorized boolean NOT NULL,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now(),
    CONSTRAINT uq_agent_user_authorization UNIQUE (agent_id, user_id)
);
INSERT INTO agent_configs VALUES ('sales');
"""
"""The tables as the hub's own models make them, and a column that only a later version has."""


@asynccontextmanager
async def ready(url: str, policy: PostgresPolicy = DEFAULT) -> AsyncIterator[PostgresPeople]:
    async with PostgresPeople(url, policy) as people:
        await people.ensure_schema()
        yield people


async def rows(database: psycopg.AsyncConnection, query: str) -> list[tuple[Any, ...]]:
    """Give what a query finds."""
    return await (await database.execute(query.encode())).fetchall()


async def until_found(people: PostgresPeople, sender: Sender = ANA) -> int:
    """Ask again until PostgreSQL answers; give how often it did not."""
    failures = 0
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                await people.get_or_create(SALES, sender)
            except StoreUnavailableError:
                failures += 1
                await anyio.sleep(0.02)
            else:
                return failures


async def until(database: psycopg.AsyncConnection, query: str) -> None:
    """Wait until a query finds nothing; the server tells nobody when that becomes so."""
    with anyio.fail_after(PATIENCE):
        while await rows(database, query):  # noqa: ASYNC110  # for that reason
            await anyio.sleep(0.01)


async def until_waiting(database: psycopg.AsyncConnection) -> None:
    """Wait until another connection to this database waits for a lock."""
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    await until(database, f"SELECT WHERE NOT EXISTS ({waiting})")


async def end_backends(database: psycopg.AsyncConnection) -> None:
    """End every server process that works for people in this database, and wait until all are gone."""
    ended = await rows(
        database,
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'wa-supervisor'",
    )
    for pid, _ in ended:
        await until(database, f"SELECT FROM pg_stat_activity WHERE pid = {pid}")


def role_of(url: str) -> str:
    """Give the user that an address names."""
    return str(conninfo_to_dict(url)["user"])


def somebody(n: int) -> Sender:
    """Give one of any number of persons."""
    return Sender(id=ChatId(f"55119{n:08}@c.us"), phone=f"55119{n:08}", name=f"Person {n}")
