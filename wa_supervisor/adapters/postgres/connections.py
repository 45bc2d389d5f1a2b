"""Connections to PostgreSQL, lent for one statement each, from a psycopg pool.

Lives inside `async with`; the pool connects in the background and on demand, so opening it neither waits nor fails.
Statements run in autocommit mode: each is one transaction and one round trip. They are repeated when their connection
turns out to be broken, so every statement here must bear being run twice.

Three manners of the pool are mended here (psycopg_pool 3.2 to 3.3):

- It leaves who waits for a connection waiting until his time is up, even when the server refuses at once. Here a
  refused connection ends the waiting, with the server's words, unless an open connection may still come back.
- It tries again with growing pauses for minutes, during which calls cannot make it try. Here `reconnect_timeout=0`
  ends that after two tries, and each call tries anew.
- A connection given back under cancellation is lost to it. Here giving back is shielded, and a connection that was
  left in the middle of something is closed first, so that giving it back never has to wait for the server.

Deliberately not here: what is asked, and when a database that is away is asked again.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar
from weakref import WeakSet

import anyio
import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from wa_supervisor.adapters.postgres.policy import PostgresPolicy
from wa_supervisor.adapters.postgres.queries import queries
from wa_supervisor.adapters.postgres.troubles import no_answer, read_conninfo, unavailable

_T = TypeVar("_T")
_Connection = AsyncConnection[TupleRow]


class _BrokenError(Exception):
    """The connection was lost before its answer came."""


class Connections:
    """A pool that says why it has no connection."""

    def __init__(self, url: str, policy: PostgresPolicy) -> None:
        self._conninfo = read_conninfo(url)
        self._policy = policy
        self._made: WeakSet[_Connection] = WeakSet()
        self._waiting: set[anyio.CancelScope] = set()
        self._refusal: Exception | None = None
        self._pool = AsyncConnectionPool[_Connection](
            url,
            connection_class=_telling(self._made.add, self._refused),
            kwargs=_parameters(self._conninfo, policy),
            min_size=1,
            max_size=policy.connections,
            timeout=policy.timeout,
            reconnect_timeout=0,
            open=False,
            name="wa-supervisor",
        )

    async def __aenter__(self) -> Self:
        await self._pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.move_on_after(self._policy.cleanup, shield=True):
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
        for _ in range(self._policy.connections):  # a restarted server leaves every kept connection broken
            try:
                return await self._fetch_once(name, values)
            except _BrokenError:
                continue
        return await self._fetch_once(name, values)

    async def _fetch_once(self, name: str, values: Mapping[str, object] | None) -> list[TupleRow]:
        async with self._lend() as connection:
            try:
                cursor = await connection.execute(queries()[name], values)
                return await cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError as error:
                if connection.broken:
                    raise _BrokenError from error
                raise

    @asynccontextmanager
    async def _lend(self) -> AsyncIterator[_Connection]:
        connection = await self._wait_for_one()
        try:
            yield connection
        finally:
            with anyio.move_on_after(self._policy.cleanup, shield=True):
                if connection.pgconn.transaction_status != TransactionStatus.IDLE:
                    await connection.close()
                await self._pool.putconn(connection)

    async def _wait_for_one(self) -> _Connection:
        with anyio.CancelScope() as waiting:
            self._waiting.add(waiting)
            try:
                return await self._pool.getconn()
            finally:
                self._waiting.discard(waiting)
        raise self._refusal or psycopg.OperationalError("no connection")  # only a refusal cancels this scope

    def _refused(self, error: Exception) -> None:
        self._refusal = error
        # While somebody waits no connection is idle, so any open one is lent or about to be, and comes back.
        if all(connection.closed for connection in self._made):
            for waiting in tuple(self._waiting):
                waiting.cancel()


def _telling(made: Callable[[_Connection], None], refused: Callable[[Exception], None]) -> type[_Connection]:
    class Telling(AsyncConnection[TupleRow]):
        @classmethod
        async def connect(cls, conninfo: str = "", **kwargs: Any) -> Self:  # noqa: ANN401  # libpq's parameters
            try:
                connection = await super().connect(conninfo, **kwargs)
            except Exception as error:
                refused(error)
                raise
            made(connection)
            return connection

    return Telling


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
    # Prepared statements would be bound to one server connection, which PgBouncer does not keep; and there are few.
    return {**mine, "autocommit": True, "prepare_threshold": None}
