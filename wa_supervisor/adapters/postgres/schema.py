"""The two tables: made where there is no hub, and looked at before anybody relies on them.

Functions over lent connections; they raise what psycopg raises, and `StoreUnavailableError` for what is missing.
Nothing here alters a table that exists: it may be a hub's, which has columns and keys of its own.
"""

from __future__ import annotations

from psycopg.errors import DuplicateObject, DuplicateTable, InsufficientPrivilege, UniqueViolation

from wa_supervisor.adapters.postgres.connections import Connections
from wa_supervisor.domain.errors import StoreUnavailableError

_MADE_MEANWHILE = (DuplicateTable, DuplicateObject, UniqueViolation)
"""What CREATE TABLE IF NOT EXISTS raises when a hub, which does not take our lock, creates the same table meanwhile."""


async def missing(connections: Connections) -> tuple[str, ...]:
    """Give what the queries need and the database does not offer, as sentences; nothing when all is there."""
    return tuple(str(sentence) for (sentence,) in await connections.fetch("missing"))


async def create_tables(connections: Connections) -> None:
    """Create what is absent, then raise `StoreUnavailableError` if anything is still missing."""
    # CREATE TABLE IF NOT EXISTS needs the privilege to create even where the table exists, hence the look before.
    if not await missing(connections):
        return
    try:
        await connections.fetch("create_tables")
    except InsufficientPrivilege:
        pass  # `missing` says what for
    except _MADE_MEANWHILE:
        await connections.fetch("create_tables")
    if lacking := await missing(connections):
        raise StoreUnavailableError(
            f"PostgreSQL lacks what people are stored in: {'; '.join(lacking)}. Give the role CREATE on the schema so "
            "that the tables can be made, point the address to the hub's database, or GRANT what is missing"
        )
