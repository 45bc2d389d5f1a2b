"""People in a database of the test's own, on asyncio, because psycopg knows no other loop that we use."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.adapters.postgres.room import ready
from wa_supervisor.adapters.postgres.people import PostgresPeople


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """Give a connection for what the tests arrange and look at."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def people(database_url: str) -> AsyncIterator[PostgresPeople]:
    async with ready(database_url) as people:
        yield people


@pytest.fixture
async def guest(database: psycopg.AsyncConnection, database_url: str) -> AsyncIterator[str]:
    """Give the address for a role that may connect and nothing else."""
    role = f"guest_{secrets.token_hex(4)}"
    await database.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    await database.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")  # as PostgreSQL 15 and later have it
    yield make_conninfo(database_url, user=role)
    await database.execute(sql.SQL("DROP OWNED BY {0}").format(sql.Identifier(role)))
    await database.execute(sql.SQL("DROP ROLE {0}").format(sql.Identifier(role)))
