"""Connections to PostgreSQL, lent for one statement each, from a psycopg pool.

Lives from `open` to `close`; the pool connects in the background and on demand, so opening neither waits nor fails.
Statements run in autocommit mode: each is one transaction and one round trip, and one more on a new connection to
prepare it, because planning takes longer than everything else. They are repeated when their connection turns out to be
broken, so every statement here must bear being run twice.

Two manners of the pool are mended here, and a third in `attempts.py` (psycopg_pool 3.2 to 3.3):

- It tries again with growing pauses for minutes, during which calls cannot make it try. Here `reconnect_timeout=0`
  ends that after two tries, and each call tries anew.
- A connection given back under cancellation is lost to it. Here giving back is shielded, and a connection that was
  left in the middle of something is closed first, so that giving it back never has to wait for the server.

Deliberately not here: what is asked, and when a database that is away is asked again.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import psycopg
from psycopg.errors import DuplicatePreparedStatement, FeatureNotSupported, InvalidSqlStatementName
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from wa_supervisor.adapters.postgres.attempts import Attempts, Connection
from wa_supervisor.adapters.postgres.policy import PostgresPolicy
from wa_supervisor.adapters.postgres.queries import queries
from wa_supervisor.adapters.postgres.troubles import no_answer, read_conninfo, unavailable

_T = TypeVar("_T")

_logger = logging.getLogger(__name__)


_NOT_PREPARED = (InvalidSqlStatementName, DuplicatePreparedStatement, FeatureNotSupported)
"""What a prepared statement meets behind a PgBouncer that does not know them, or when a column's type has changed."""


class _AgainError(psycopg.OperationalError):
    """Nothing is wrong with the statement: it may be run again, elsewhere or otherwise."""


class Connections:
    """A pool that says why it has no connection."""

    def __init__(self, url: str, policy: PostgresPolicy) -> None:
        self._conninfo = read_conninfo(url)
        self._policy = policy
        self._attempts = Attempts()
        self._prepares = policy.prepares
        self._pool = AsyncConnectionPool[Connection](
            url,
            connection_class=self._attempts.connection_class(),
            kwargs=_parameters(self._conninfo, policy),
            min_size=1,
            max_size=policy.connections,
            timeout=policy.timeout,
            reconnect_timeout=0,
            open=False,
            name="wa-supervisor",
        )

    async def open(self) -> None:
        """Begin to connect; waits for nothing."""
        await self._pool.open()

    async def close(self) -> None:
        """Close every connection; the caller shields this and limits its time."""
        await self._pool.close(timeout=self._policy.cleanup)

    async def guarded(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do `work` within the policy's time; turn what psycopg raises into `StoreUnavailableError`."""
        try:
            with anyio.fail_after(self._policy.timeout):
                return await work()
        except TimeoutError as error:
            raise no_answer(self._policy.timeout, self._conninfo) from error
        except (psycopg.Error, OSError) as error:
            raise unavailable(error, self._conninfo) from error

    async def fetch(self, name: str, values: Mapping[str, object] | None = None) -> list[TupleRow]:
        """Run one of the named queries and give its rows; raises what psycopg raises."""
        left = self._policy.connections + 1  # a restarted server leaves every kept connection broken
        while True:
            try:
                return await self._fetch_once(name, values)
            except _AgainError:
                if not left:
                    raise
                left -= 1

    async def _fetch_once(self, name: str, values: Mapping[str, object] | None) -> list[TupleRow]:
        is_prepared = self._prepares and values is not None
        async with self._lend() as connection:
            try:
                cursor = await connection.execute(queries()[name], values, prepare=is_prepared)
                return await cursor.fetchall() if cursor.description else []
            except _NOT_PREPARED as error:
                if not is_prepared:
                    raise
                self._stop_preparing(error)
                raise _AgainError(str(error)) from error
            except psycopg.OperationalError as error:
                if connection.broken:
                    raise _AgainError(str(error)) from error
                raise

    def _stop_preparing(self, error: psycopg.Error) -> None:
        self._prepares = False
        _logger.info("Prepared statements do not work here and are not used any more", extra={"error": str(error)})

    @asynccontextmanager
    async def _lend(self) -> AsyncIterator[Connection]:
        connection = await self._attempts.wait(self._pool.getconn)
        try:
            yield connection
        finally:
            with anyio.move_on_after(self._policy.cleanup, shield=True):
                if connection.pgconn.transaction_status != TransactionStatus.IDLE:
                    await connection.close()
                await self._pool.putconn(connection)


def _parameters(conninfo: Mapping[str, str], policy: PostgresPolicy) -> dict[str, Any]:
    """Give what is asked of each connection; what the address itself says goes first."""
    wanted: dict[str, Any] = {
        "application_name": "wa-supervisor",
        "client_encoding": "UTF8",
        "connect_timeout": math.ceil(policy.timeout),
        "keepalives_idle": math.ceil(policy.silence),
        "keepalives_interval": math.ceil(policy.timeout),
        "keepalives_count": 3,
        "tcp_user_timeout": math.ceil(policy.timeout * 1000),
    }
    mine = {key: value for key, value in wanted.items() if key not in conninfo}
    return {**mine, "autocommit": True}
