"""One connection to the server, for one task at a time.

It connects when told to, never again by itself, and repeats nothing. A failure of any kind, cancellation included,
closes it: half a conversation cannot be continued. RESP2 and bytes, so that answers look the same from every server
and from every version of the library.

It deliberately has no pool: calls are batched onto one connection (`client.py`), every listening has its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from redis import exceptions
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from wa_supervisor.adapters.redis.address import RedisAddress
from wa_supervisor.adapters.redis.border import border, refusal
from wa_supervisor.adapters.redis.packing import Command, describe, pack
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.refusals import RefusalError


class Wire:
    """A connection that its owner opens, uses and closes."""

    def __init__(self, address: RedisAddress, policy: RedisPolicy) -> None:
        self.server = address.server
        self._policy = policy
        self._connection = _connection(address)

    def __repr__(self) -> str:
        return f"<Wire to {self.server.label}, {'open' if self.is_open else 'closed'}>"

    @property
    def is_open(self) -> bool:
        """Whether it was opened and has not failed since."""
        return bool(self._connection.is_connected)

    async def open(self) -> None:
        """Connect and log in."""
        limit = self._policy.connect_timeout
        with border(self.server, "connecting", within=limit), anyio.fail_after(limit):
            await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py's signature has no types

    async def send(self, commands: Iterable[Command]) -> None:
        """Write commands; their answers come in order."""
        limit = self._policy.command_timeout
        with border(self.server, "writing", within=limit), anyio.fail_after(limit):
            await self._connection.send_packed_command(pack(commands), check_health=False)

    async def receive(self, doing: str, *, within: float | None) -> object:
        """Read one answer or message; an error reply is a returned `RefusalError`. `within` in seconds."""
        with border(self.server, doing, within=within), anyio.fail_after(within):
            return await self._read(doing)

    async def exchange(self, commands: Sequence[Command]) -> list[object]:
        """Write commands at once and read all their answers; an error reply is a `RefusalError` among them."""
        limit = self._policy.command_timeout
        with border(self.server, describe(commands[0]), within=limit), anyio.fail_after(limit):
            await self._connection.send_packed_command(pack(commands), check_health=False)
            return [await self._read(command) for command in commands]

    async def close(self) -> None:
        """Hang up at once. It may be opened again."""
        with border(self.server, "closing"):
            await self._connection.disconnect(nowait=True)

    async def _read(self, doing: str | Command) -> object:
        try:
            return await self._connection.read_response()
        except exceptions.ResponseError as error:
            return refusal(error, self.server, doing if isinstance(doing, str) else describe(doing))


@asynccontextmanager
async def open_wire(address: RedisAddress, policy: RedisPolicy) -> AsyncIterator[Wire]:
    """Give an open connection, which is closed at the end of the block."""
    wire = Wire(address, policy)
    try:
        await wire.open()
        yield wire
    finally:
        with anyio.move_on_after(policy.close_timeout, shield=True):
            await wire.close()


def as_refusal(answer: object) -> object:
    """Raise an answer that is an error reply, give any other."""
    if isinstance(answer, RefusalError):
        raise answer
    return answer


def _connection(address: RedisAddress) -> Connection | UnixDomainSocketConnection:
    options: dict[str, Any] = {
        "db": address.database,
        "username": address.username,
        "password": address.password,
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": None,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": False,
    }
    if address.socket is not None:
        return UnixDomainSocketConnection(path=address.socket, **options)
    options |= {"host": address.host, "port": address.port, "socket_keepalive": True}
    if address.tls is None:
        return Connection(**options)
    return SSLConnection(
        ssl_ca_certs=address.tls.ca_certs,
        ssl_certfile=address.tls.certfile,
        ssl_keyfile=address.tls.keyfile,
        ssl_check_hostname=address.tls.checks_hostname,
        **options,
    )
