"""A conversation with the server without an event loop and without redis-py, for the command line.

`import redis` takes longer than the whole of a `status` may (0.15 s). What the command line needs is one connection,
commands and answers: a socket, and the parser that redis-py itself uses. No pool, no retries, no subscriptions.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import hiredis

from wa_supervisor.adapters.redis.address import RedisAddress, Tls
from wa_supervisor.adapters.redis.packing import Command, describe, pack
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.refusals import RefusalError, code_of

if TYPE_CHECKING:
    import ssl


class DirectLine:
    """One connection, made with the first call. Methods raise `StoreUnavailableError`."""

    def __init__(self, address: RedisAddress, policy: RedisPolicy) -> None:
        self._address = address
        self._server = address.server
        self._policy = policy
        self._socket: socket.socket | None = None
        self._reader = hiredis.Reader()

    def close(self) -> None:
        """Hang up; the next call connects again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def call(self, *command: bytes) -> object:
        """Carry out one command and give its answer. An error reply is raised as `RefusalError`."""
        (answer,) = self.call_all([command])
        return answer

    def call_all(self, commands: Sequence[Command]) -> list[object]:
        """Carry out commands one after the other and give their answers; the first error reply is raised."""
        if self._socket is None:
            self._open()
        answers = self._exchange(commands)
        for answer in answers:
            if isinstance(answer, RefusalError):
                raise answer
        return answers

    def _open(self) -> None:
        address = self._address
        with self._border("connecting", self._policy.connect_timeout):
            self._socket = _connect(address, self._policy.connect_timeout)
            self._socket.settimeout(self._policy.command_timeout)
        self._reader = hiredis.Reader()
        if address.password:
            words = [word.encode() for word in (address.username, address.password) if word]
            self._greet((b"AUTH", *words))
        if address.database:
            self._greet((b"SELECT", b"%d" % address.database))

    def _greet(self, command: Command) -> None:
        (answer,) = self._exchange([command])
        if isinstance(answer, RefusalError):
            self.close()
            raise answer

    def _exchange(self, commands: Sequence[Command]) -> list[object]:
        with self._border(describe(commands[0]), self._policy.command_timeout):
            assert self._socket is not None  # noqa: S101 - `call_all` opened it
            self._socket.sendall(pack(commands))
            return [self._receive(self._socket, command) for command in commands]

    def _receive(self, line: socket.socket, command: Command) -> object:
        answer = self._reader.gets()
        while answer is False:
            data = line.recv(65_536)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._reader.feed(data)
            answer = self._reader.gets()
        if isinstance(answer, hiredis.ReplyError):
            words = str(answer)
            return self._server.refused(code_of(words), words, describe(command))
        return answer

    @contextmanager
    def _border(self, doing: str, within: float) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            self.close()
            raise self._server.silent(doing, within) from error
        except (OSError, hiredis.HiredisError) as error:
            self.close()
            raise self._server.unreachable(str(error) or type(error).__name__, doing) from error


def _connect(address: RedisAddress, within: float) -> socket.socket:
    if address.socket is not None:
        line = socket.socket(socket.AF_UNIX)
        try:
            line.settimeout(within)
            line.connect(address.socket)
        except OSError:
            line.close()
            raise
        return line
    plain = socket.create_connection((address.host, address.port), timeout=within)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address.tls is None:
        return plain
    try:
        return _context(address.tls).wrap_socket(plain, server_hostname=address.host)
    except OSError:
        plain.close()
        raise


def _context(tls: Tls) -> ssl.SSLContext:
    import ssl  # noqa: PLC0415 - takes 20 ms and is rarely needed

    context = ssl.create_default_context(cafile=tls.ca_certs)
    context.check_hostname = tls.checks_hostname
    if tls.certfile:
        context.load_cert_chain(tls.certfile, tls.keyfile)
    return context
