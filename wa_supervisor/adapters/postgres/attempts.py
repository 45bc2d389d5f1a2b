"""What becomes of attempts to connect, told to whoever waits for a connection.

psycopg's pool leaves who waits in its queue waiting until his time is up, even when the server refuses at once. Here a
refusal ends the waiting, with the server's words, if no connection can come any more: none is open (while somebody
waits none is idle, so an open one is lent or about to be, and comes back) and no other attempt is running. A refusal of
an attempt that began before the waiting proves nothing: the server may be back since, so the pool is asked once more.

Lives as long as its pool, on asyncio. Deliberately does not connect, repeat or count anything by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar
from weakref import WeakSet

import anyio
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

Connection = AsyncConnection[TupleRow]

_C = TypeVar("_C", bound=Connection)


class Attempts:
    """Joins the pool's attempts to connect to those who wait for one."""

    def __init__(self) -> None:
        self._made: WeakSet[Connection] = WeakSet()
        self._waiting: set[anyio.CancelScope] = set()
        self._begun = 0
        self._running = 0
        self._refusal: tuple[int, Exception] | None = None

    async def wait(self, get: Callable[[], Awaitable[Connection]]) -> Connection:
        """Get a connection from the pool, or raise the refusal that makes waiting pointless."""
        while True:
            begun = self._begun
            with anyio.CancelScope() as scope:
                self._waiting.add(scope)
                try:
                    return await get()
                finally:
                    self._waiting.discard(scope)
            if self._refusal is not None and self._refusal[0] > begun:
                raise self._refusal[1]

    def connection_class(self) -> type[Connection]:
        """Give the class for the pool to connect with, which reports here."""
        attempts = self

        class Reporting(AsyncConnection[TupleRow]):
            @classmethod
            async def connect(cls, conninfo: str = "", **kwargs: Any) -> Self:  # noqa: ANN401  # libpq's parameters
                return await attempts.follow(super().connect(conninfo, **kwargs))

            async def cancel_safe(self, **_: object) -> None:
                """Do not ask the server to stop when a call is cancelled: the connection is closed instead.

                Asking takes another connection, to a server that may be why the call is cancelled; and with libpq
                before 17 psycopg asks in a thread, which nothing can end.
                """

        return Reporting

    async def follow(self, connecting: Awaitable[_C]) -> _C:
        """Await an attempt and tell how it went."""
        self._begun += 1
        number = self._begun
        self._running += 1
        try:
            connection = await connecting
        except Exception as error:
            self._refused(number, error)
            raise
        finally:
            self._running -= 1
        self._made.add(connection)
        return connection

    def _refused(self, number: int, error: Exception) -> None:
        self._refusal = number, error
        if self._running == 1 and all(connection.closed for connection in self._made):
            for waiting in tuple(self._waiting):
                waiting.cancel()
