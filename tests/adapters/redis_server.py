"""A Redis server of a test's own, to be killed, stopped and started again; and one that answers what a script says.

The real one listens on a unix socket in a short private directory, keeps nothing on disk unless told to, and is killed
at the end. The scripted one is a TCP listener that reads whole commands and writes bytes.
"""

from __future__ import annotations

import shutil
import signal
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import hiredis
import pytest
from anyio.abc import ByteStream, Listener, SocketAttribute
from anyio.streams.tls import TLSListener

from tests.servers import is_everything_required, policy_from_environment
from wa_supervisor.adapters.redis.address import read_address
from wa_supervisor.adapters.redis.direct import DirectLine
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.embedded import EmbeddedNotInstalledError
from wa_supervisor.embedded.software import find_valkey

CERTIFICATE = Path(__file__).with_name("loopback.pem")
"""Of 127.0.0.1, by nobody that any system trusts."""

START_TIMEOUT = 20.0
"""Seconds that a server may take to answer; it takes hundredths."""


class OwnServer:
    """One server process at a time, always at the same address."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._socket = directory / "redis.sock"
        self._command = [
            str(find_valkey(policy_from_environment().redis_server)),
            *("--port", "0", "--unixsocket", str(self._socket), "--dir", str(directory)),
            *("--save", "", "--logfile", str(directory / "log")),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a password."""
        return f"unix://{self._socket}?db=0"

    def start(self) -> None:
        """Start it and wait until it answers, be it with an error."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        line = DirectLine(read_address(self.url), RedisPolicy())
        try:
            while "cannot be reached" in _complaint(line):
                assert self._process.poll() is None, "the server ended"
        finally:
            line.close()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it, as nobody wishes it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_TIMEOUT)
            self._process = None
            self._socket.unlink(missing_ok=True)


def _complaint(line: DirectLine) -> str:
    try:
        line.call(b"PING")
    except StoreUnavailableError as error:
        return str(error)
    return ""


@contextmanager
def own_server(*options: str) -> Iterator[OwnServer]:
    """Run a server until the end of the block."""
    directory = Path(tempfile.mkdtemp(prefix="wa-", dir="/tmp"))  # a socket's path must be short
    try:
        server = OwnServer(directory, *options)
    except EmbeddedNotInstalledError as error:
        shutil.rmtree(directory)
        if is_everything_required():
            pytest.fail(str(error))
        pytest.skip(str(error))
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory)


Answer = Callable[[list[bytes], ByteStream], Awaitable[None]]
"""What the scripted server does with one command."""


@asynccontextmanager
async def scripted_server(answer: Answer, *, is_encrypted: bool = False, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Give the address (`host:port`) of a server that treats every command as `answer` does."""

    async def serve(stream: ByteStream) -> None:
        reader = hiredis.Reader()
        async with stream:
            try:
                while True:
                    reader.feed(await stream.receive())
                    while (command := reader.gets()) is not False:
                        await answer(command, stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError):
                return

    listener = await anyio.create_tcp_listener(local_host=host)
    port = int(listener.listeners[0].extra(SocketAttribute.local_port))  # noqa: S610 - not Django
    served: Listener[ByteStream] = (
        TLSListener(listener, _certificate(), standard_compatible=False) if is_encrypted else listener
    )
    async with served, anyio.create_task_group() as group:
        group.start_soon(served.serve, serve)
        yield f"{host}:{port}"
        group.cancel_scope.cancel()


def _certificate() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context


def always(reply: bytes) -> Answer:
    """Answer every command the same, but let logins and greetings pass."""

    async def answer(command: list[bytes], stream: ByteStream) -> None:
        is_greeting = command[0].upper() in {b"CLIENT", b"SELECT"}
        await stream.send(b"+OK\r\n" if is_greeting else reply)

    return answer
