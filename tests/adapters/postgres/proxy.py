"""A TCP proxy before a real PostgreSQL that counts round trips and breaks in the ways that networks break.

`proxied(url)` runs it on loopback for the length of a block; `Proxy.url` leads through it. It reads what the client
sends as the frontend protocol has it: after the startup message, every message is a type byte and a length, and the
server answers at a Sync (`S`) or a simple Query (`Q`), so counting these counts round trips.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute, SocketStream, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream
from psycopg.conninfo import conninfo_to_dict, make_conninfo

_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, anyio.IncompleteRead)


class Proxy:
    """What went through, and the switches."""

    def __init__(self, target: str, group: TaskGroup) -> None:
        self._target = conninfo_to_dict(target)
        self._group = group
        self._standing: dict[anyio.CancelScope, anyio.Event] = {}
        self._listener: Listener[SocketStream] | None = None
        self._serving = anyio.CancelScope()
        self._flowing = anyio.Event()
        self._flowing.set()
        self._port = 0
        self.round_trips = 0
        self.hangs_up = False
        """Whether every connection is closed at its first question."""
        self.messages: Counter[str] = Counter()
        """Messages of the client by type, the startup not included."""

    @property
    def url(self) -> str:
        """Address of the same database through the proxy."""
        wanted = {
            **self._target,
            "host": "127.0.0.1",
            "port": self._port,
            "sslmode": "disable",
            "gssencmode": "disable",
        }
        return make_conninfo("", **{key: value for key, value in wanted.items() if key != "hostaddr"})

    async def listen(self) -> None:
        """Take connections, on the same port as before."""
        self._listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self._port)
        self._port = self._listener.extra(SocketAttribute.local_port)  # noqa: S610  # anyio's `extra`, not Django's
        self._serving = anyio.CancelScope()
        self._group.start_soon(self._serve, self._listener)

    async def go_down(self) -> None:
        """Refuse connections and close those that stand, as when the server is killed."""
        self._serving.cancel()
        if self._listener is not None:
            await self._listener.aclose()
        await self.cut()

    async def cut(self) -> None:
        """Close every connection that stands, without a word."""
        for scope, ended in tuple(self._standing.items()):
            scope.cancel()
            await ended.wait()

    def stall(self) -> None:
        """Let nothing through any more, in either direction, and close nothing."""
        self._flowing = anyio.Event()

    def flow(self) -> None:
        """End `stall`."""
        self._flowing.set()

    async def _serve(self, listener: Listener[SocketStream]) -> None:
        with self._serving:
            async with listener:
                await listener.serve(self._connect, self._group)

    async def _connect(self, client: ByteStream) -> None:
        with anyio.CancelScope() as scope:
            ended = self._standing[scope] = anyio.Event()
            try:
                async with client, await self._to_server() as server, anyio.create_task_group() as group:
                    group.start_soon(self._back, server, client, scope)
                    await self._forth(client, server)
                    scope.cancel()
            finally:
                del self._standing[scope]
                ended.set()

    async def _to_server(self) -> ByteStream:
        host, port = str(self._target.get("host")), self._target.get("port") or 5432
        if host.startswith("/"):
            return await anyio.connect_unix(f"{host}/.s.PGSQL.{port}")
        return await anyio.connect_tcp(host, int(port))

    async def _forth(self, client: ByteStream, server: ByteStream) -> None:
        with suppress(*_GONE):
            reader = BufferedByteReceiveStream(client)
            (length,) = struct.unpack("!I", head := await reader.receive_exactly(4))
            await self._pass(server, head + await reader.receive_exactly(length - 4))
            while True:
                kind, length = struct.unpack("!cI", head := await reader.receive_exactly(5))
                self._count(kind.decode())
                if self.hangs_up and kind in b"SQ":
                    return
                await self._pass(server, head + await reader.receive_exactly(length - 4))

    async def _back(self, server: ByteStream, client: ByteStream, scope: anyio.CancelScope) -> None:
        with suppress(*_GONE):
            async for chunk in server:
                await self._pass(client, chunk)
        scope.cancel()

    async def _pass(self, stream: ByteStream, data: bytes) -> None:
        await self._flowing.wait()
        await stream.send(data)

    def _count(self, kind: str) -> None:
        self.messages[kind] += 1
        if kind in "SQ":
            self.round_trips += 1


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    """Run a proxy before the database that `url` means."""
    async with anyio.create_task_group() as group:
        proxy = Proxy(url, group)
        await proxy.listen()
        yield proxy
        group.cancel_scope.cancel()
