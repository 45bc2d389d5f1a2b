"""A TCP server that does exactly what a test's script says, well or badly.

`serving(script)` runs it on loopback; the script is called once for every connection with a `Peer`. Whole requests are
recorded: `Server.requests` has every one whose headers and body arrived, in order of arrival. What a script does not
read stays in the kernel (but for 128 KiB), as with a server that hangs.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One whole request."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Server:
    """What the server has seen so far."""

    scheme: str
    port: int = 0
    requests: list[Received] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Base address."""
        return f"{self.scheme}://127.0.0.1:{self.port}"


class Peer:
    """One accepted connection, seen from the server."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer

    async def read_headers(self) -> tuple[str, dict[str, str]]:
        """Read one request's line and headers."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("ascii")
        line, *rest = head.split("\r\n")
        return line, {
            name.strip().lower(): value.strip() for name, _, value in (row.partition(":") for row in rest if row)
        }

    async def read_request(self) -> Received:
        """Read and record one whole request."""
        line, headers = await self.read_headers()
        if headers.get("transfer-encoding") == "chunked":
            body = await self._read_chunks()
        else:
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        received = Received(line=line, headers=headers, body=body)
        self._server.requests.append(received)
        return received

    async def _read_chunks(self) -> bytes:
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
        return body

    async def read_anything(self) -> None:
        """Read a little, as soon as there is something."""
        await self._reader.read(1)

    async def read_rest(self) -> bytes:
        """Read until the client closes or resets."""
        rest = bytearray()
        try:
            while piece := await self._reader.read(1 << 20):
                rest += piece
        except ConnectionError:
            pass
        return bytes(rest)

    async def send(self, data: bytes) -> None:
        """Write `data`."""
        self._writer.write(data)
        await self._writer.drain()

    def say(self, data: bytes) -> None:
        """Write a little `data` at once, without yielding to the event loop."""
        self._writer.write(data)

    def finish(self) -> None:
        """End our side of the connection at once, without yielding to the event loop: FIN, or what TLS has for it."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        else:
            self._writer.close()

    def reset(self) -> None:
        """Close so that the client gets a reset (RST)."""
        linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    def close(self) -> None:
        """Close; what was written is still sent."""
        self._writer.close()


Script = Callable[[Peer], Awaitable[object]]


@asynccontextmanager
async def serving(
    script: Script, *, tls: ssl.SSLContext | None = None, is_narrow: bool = False
) -> AsyncIterator[Server]:
    """Run a server until the end of the block; a script that is still running then is cancelled.

    To one that `is_narrow` the system takes a few kilobytes ahead of what it reads, instead of megabytes in time.
    """
    server = Server(scheme="https" if tls else "http")

    async def talk(peer: Peer) -> None:
        try:
            await script(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client went away, which is what many tests are about
        finally:
            peer.close()

    async with anyio.create_task_group() as tasks:

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = Peer(server, reader, writer)
            server.peers.append(peer)
            tasks.start_soon(talk, peer)

        sock = _listening_socket(is_narrow=is_narrow)
        server.port = sock.getsockname()[1]
        listening = await asyncio.start_server(accept, sock=sock, ssl=tls)
        try:
            yield server
        finally:
            listening.close()
            tasks.cancel_scope.cancel()


def _listening_socket(*, is_narrow: bool) -> socket.socket:
    sock = socket.socket()
    if is_narrow:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.bind(("127.0.0.1", 0))
    return sock


async def answers(peer: Peer) -> None:
    """Behave well: answer every request with 200."""
    while True:
        await peer.read_request()
        await peer.send(OK)


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Build an answer with `Content-Length`."""
    lines: Sequence[str] = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body
