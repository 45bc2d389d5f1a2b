"""A TCP proxy before any server, with the ways in which networks break.

Each pair of programs that the benchmark cuts has a wire of its own between them, so that nobody else is disturbed. It
knows no protocol; it passes bytes. `cut` and `refuse` break at once what stands. `stall` lets nothing through and
breaks nothing; `stall(answers_only=True)` lets questions through and no answers, so that what was asked happens and
nobody learns of it. `heal` ends all of these; what was held meanwhile is lost, as in a connection that is given up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute, SocketStream, TaskGroup

_GONE = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)

Way = Literal["cut", "refuse", "stall", "answers"]
"""How a wire breaks: every connection at once; refused until healed; nothing passes; no answers pass."""

Reach = Callable[[], Awaitable[ByteStream]]
"""Connects to the server behind a wire."""


class Wire:
    """One wire; `port` on loopback leads through it, always the same."""

    def __init__(self, name: str, reach: Reach, group: TaskGroup) -> None:
        self.name = name
        self.port = 0
        self._reach = reach
        self._group = group
        self._standing: dict[anyio.CancelScope, anyio.Event] = {}
        self._listener: Listener[SocketStream] | None = None
        self._serving = anyio.CancelScope()
        self._forth, self._back = anyio.Event(), anyio.Event()

    def __repr__(self) -> str:
        return f"<Wire {self.name} on port {self.port}, {len(self._standing)} connections>"

    async def listen(self) -> None:
        """Take connections, on the same port as before."""
        self._forth.set()
        self._back.set()
        self._listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self.port)
        self.port = self._listener.extra(SocketAttribute.local_port)  # noqa: S610  # anyio's `extra`, not Django's
        self._serving = anyio.CancelScope()
        self._group.start_soon(self._serve, self._listener)

    async def break_down(self, way: Way) -> None:
        """Break in one of the ways, until `heal`."""
        if way == "cut":
            await self.cut()
        elif way == "refuse":
            await self._refuse()
        else:
            self.stall(answers_only=way == "answers")

    async def cut(self) -> None:
        """Close every connection that stands, without a word."""
        for scope, ended in tuple(self._standing.items()):
            scope.cancel()
            await ended.wait()

    def stall(self, *, answers_only: bool = False) -> None:
        """Let nothing through any more, or no answers; close nothing."""
        self._back = anyio.Event()
        if not answers_only:
            self._forth = anyio.Event()

    async def heal(self) -> None:
        """End whatever is wrong with it."""
        if not (self._forth.is_set() and self._back.is_set()):
            await self.cut()  # before it flows again: what was held is lost
        self._forth.set()
        self._back.set()
        if self._listener is None:
            await self.listen()

    async def _refuse(self) -> None:
        self._serving.cancel()
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.aclose()
        await self.cut()

    async def _serve(self, listener: Listener[SocketStream]) -> None:
        with self._serving, suppress(anyio.ClosedResourceError):
            async with listener:
                await listener.serve(self._connect, self._group)

    async def _connect(self, client: ByteStream) -> None:
        with anyio.CancelScope() as scope:
            ended = self._standing[scope] = anyio.Event()
            try:
                async with client:
                    await self._join(client, scope)
            finally:
                del self._standing[scope]
                ended.set()

    async def _join(self, client: ByteStream, scope: anyio.CancelScope) -> None:
        with suppress(*_GONE):
            async with await self._reach() as server, anyio.create_task_group() as group:
                group.start_soon(self._pass, server, client, lambda: self._back, scope)
                await self._pass(client, server, lambda: self._forth, scope)

    @staticmethod
    async def _pass(
        source: ByteStream, sink: ByteStream, flows: Callable[[], anyio.Event], scope: anyio.CancelScope
    ) -> None:
        with suppress(*_GONE):
            async for chunk in source:
                while not flows().is_set():
                    await flows().wait()
                await sink.send(chunk)
        scope.cancel()


def reaching(url: str) -> Reach:
    """Give the way to a server by its URL: `http://`, `unix://`, or PostgreSQL's with the socket's folder as `host`."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return lambda: anyio.connect_unix(unquote(parts.path))
    if parts.scheme == "postgresql":
        (folder,) = parse_qs(parts.query)["host"]
        return lambda: anyio.connect_unix(f"{folder}/.s.PGSQL.5432")
    return lambda: anyio.connect_tcp(str(parts.hostname), parts.port or 80)


@asynccontextmanager
async def wired(urls: Mapping[str, str]) -> AsyncIterator[dict[str, Wire]]:
    """Run a wire before each of these servers, by name."""
    async with anyio.create_task_group() as group:
        wires = {name: Wire(name, reaching(url), group) for name, url in urls.items()}
        for wire in wires.values():
            await wire.listen()
        yield wires
        group.cancel_scope.cancel()
