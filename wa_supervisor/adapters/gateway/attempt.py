"""One try at putting one request on one connection, and what its failure means.

A WhatsApp message must never be sent twice, so the question after every failure is: may a byte of the request have
reached the server? `Attempt.may_have_left` is the answer. It turns true at the last instruction before the first
write and never back; before that a failure is *not sent*, after it the outcome is *unknown*, whatever the exception.

    not sent    httpx.ConnectError, ConnectTimeout (and PoolTimeout, raised before there is an attempt)
    unknown     httpx.WriteError, WriteTimeout, ReadError, ReadTimeout, RemoteProtocolError

An attempt lives as long as its request and answer. It is handed to aiohttp as a client middleware, because that is
where exceptions can be translated before aiohttp sees them: left alone, it silently repeats GET, HEAD, OPTIONS, TRACE,
PUT and DELETE when a kept connection breaks (`ClientSession._request`, `retry_persistent_connection`).

Deliberately not here: deciding whether to try again (transport.py, its callers), choosing connections (connector.py).
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextvars import ContextVar

import aiohttp
import anyio
import httpx
from aiohttp.abc import AbstractStreamWriter

PIECE = 64 * 1024
"""Bytes written at a time: asyncio's own high-water mark, so that a 50 MB body neither sits in memory twice nor has one
time-out for all of it."""

_PEER_CLOSED = select.POLLRDHUP
_ANYTHING = select.POLLIN | select.POLLRDHUP


class AttemptError(Exception):
    """An attempt failed; carries what that means past aiohttp, which would wrap or swallow some exceptions."""

    def __init__(self, meaning: Exception) -> None:
        super().__init__(str(meaning))
        self.meaning = meaning


class HeldBackError(httpx.ConnectError):
    """Whoever was asked at the last instant said that the request must not leave: not sent."""


class StaleConnectionError(Exception):
    """A kept connection turned out to be closed before a byte was written: the request can go on another one."""


class Attempt:
    """One request on one connection.

    `body` is None when the request has none; `connect_within` and `write_within` are seconds or None for no limit: the
    whole of name resolution, TCP and TLS, and one piece of the body.
    """

    def __init__(
        self,
        body: AsyncIterable[bytes] | None,
        *,
        connect_within: float | None,
        write_within: float | None,
        may_leave: Callable[[], bool] | None = None,
    ) -> None:
        """`may_leave` is asked just before the first byte of a body is written."""
        self.body = body
        self.connect_within = connect_within
        self.write_within = write_within
        self.may_have_left = False
        """Whether a byte of the request may have reached the server."""
        self._may_leave = may_leave
        self._is_held_back = False
        self._is_written = body is None
        self._is_kept = False
        self._transport: asyncio.BaseTransport | None = None
        self._body_error: Exception | None = None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Let aiohttp do one exchange; raises `AttemptError`."""
        try:
            return await handler(request)
        except (aiohttp.ClientError, OSError) as error:
            raise AttemptError(self.meaning_of(error)) from error
        finally:
            self.drop_what_is_closing()

    def take(self, transport: asyncio.BaseTransport, *, is_kept: bool) -> None:
        """Use the connection; without a body aiohttp writes at once, with no await in between."""
        self._transport = transport
        self._is_kept = is_kept
        self.may_have_left = self.body is None

    def about_to_write(self) -> None:
        """Cross the line: from here on the outcome of a failure is unknown.

        Raises `aiohttp.ClientConnectionResetError`, still not sent, when the connection is closed already.
        """
        if self.may_have_left:
            return
        if self._transport is None or is_gone(self._transport, is_kept=self._is_kept):
            raise aiohttp.ClientConnectionResetError("The server closed the connection before anything was written")
        if self._may_leave is not None and not self._may_leave():
            self._is_held_back = True
            raise aiohttp.ClientConnectionResetError("It must not leave any more")
        self.may_have_left = True

    def wrote_all(self) -> None:
        """Note that what fails from now on fails while waiting for the answer."""
        self._is_written = True

    def body_failed(self, error: Exception) -> None:
        """Remember what the request's own body raised: the caller gets that, not aiohttp's wrapping of it."""
        self._body_error = error

    def drop_what_is_closing(self) -> None:
        """Abort a connection that is being closed.

        Closing alone first flushes what was buffered: a cancelled request would still be sent, and to a server that
        does not read the socket would stay open for ever. A connection that went back to the pool is left alone.
        """
        if self._transport is not None and self._transport.is_closing():
            self._transport.abort()  # type: ignore[attr-defined] # asyncio's and uvloop's stream transports all have it

    def meaning_of(self, error: Exception) -> Exception:
        """Give what aiohttp's `error` means: an exception of httpx, `StaleConnectionError`, or what the body raised."""
        if self._body_error is not None:
            return self._body_error
        if self._is_held_back:
            return HeldBackError("it must not leave any more")
        if not self.may_have_left and self._is_kept and isinstance(self.body, httpx.ByteStream):
            return StaleConnectionError(_in_words(error))
        kind = self._unknown(error) if self.may_have_left else _not_sent(error)
        return kind(_in_words(error))

    def _unknown(self, error: Exception) -> type[httpx.TransportError]:
        if isinstance(error, TimeoutError):
            return httpx.ReadTimeout if self._is_written else httpx.WriteTimeout
        if isinstance(
            error, aiohttp.ServerDisconnectedError | aiohttp.ClientResponseError | aiohttp.ClientPayloadError
        ):
            return httpx.RemoteProtocolError
        return httpx.ReadError if self._is_written else httpx.WriteError


current_attempt: ContextVar[Attempt] = ContextVar("current_attempt")
"""The attempt that the running request belongs to; the connector reads it, as aiohttp hands it nothing of ours."""


class Body(aiohttp.Payload):
    """The request's body as aiohttp wants it: written in pieces, each within the write time-out."""

    def __init__(self, attempt: Attempt, body: AsyncIterable[bytes]) -> None:
        super().__init__(body)
        self._attempt = attempt
        self._body = body

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write everything and see it off; aiohttp runs this in a task of its own."""
        async for piece in self._pieces():
            self._attempt.about_to_write()
            with anyio.fail_after(self._attempt.write_within):
                await writer.write(piece)
                await writer.drain()  # or aiohttp does it at the end, without any limit
        self._attempt.about_to_write()  # an empty chunked body: aiohttp writes the headers after this
        self._attempt.wrote_all()

    async def _pieces(self) -> AsyncIterator[memoryview]:
        try:
            async for chunk in self._body:
                for start in range(0, len(chunk), PIECE):
                    yield memoryview(chunk)[start : start + PIECE]
        except Exception as error:
            self._attempt.body_failed(error)
            raise

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Refuse: a streamed body is not kept."""
        raise TypeError(f"A streamed body cannot be decoded ({encoding}, {errors})")


def is_gone(transport: asyncio.BaseTransport, *, is_kept: bool) -> bool:
    """Say whether the server has closed this connection, even if the event loop has not read that yet.

    On a kept connection anything that arrives between two requests makes it useless too; a new one may speak first.
    """
    if transport.is_closing():
        return True
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), _ANYTHING if is_kept else _PEER_CLOSED)
    return bool(poll.poll(0))


def _not_sent(error: Exception) -> type[httpx.TransportError]:
    return httpx.ConnectTimeout if isinstance(error, TimeoutError) else httpx.ConnectError


def _in_words(error: Exception) -> str:
    """Say what happened without the request's address, which aiohttp puts into some texts and may hold a secret."""
    match error:
        case aiohttp.ClientConnectorError() | aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            return str(error)
        case aiohttp.ClientResponseError():
            return f"the answer is no HTTP: {error.message.partition(chr(10))[0]}"
        case TimeoutError():
            return "nothing happened in time"
        case OSError() if error.errno:
            return os.strerror(error.errno)
        case _:
            return type(error).__name__
