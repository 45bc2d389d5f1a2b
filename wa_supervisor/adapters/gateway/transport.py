"""httpx's API on aiohttp's connections, telling *not sent* from *unknown* truthfully.

httpx's own pool collapses with hundreds of requests in flight, and the published bridge reports a request that the
server read before it closed as a connection time-out, which invites sending a WhatsApp message twice. So:
`AiohttpTransport`, to be given to one `httpx.AsyncClient` per gateway. attempt.py draws the line between the two kinds
of failure.

It lives inside one event loop; its aiohttp session begins with the first request and ends with `aclose`. It
deliberately repeats nothing that may have been sent, follows no redirect, keeps no cookie, uses no proxy of the
environment, adds no header of its own (no Content-Type above all) and decodes no body (httpx does).
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import cast

import aiohttp
import anyio
import httpx
from multidict import CIMultiDict
from yarl import URL

from wa_supervisor.adapters.gateway.attempt import Attempt, AttemptError, Body, StaleConnectionError, current_attempt
from wa_supervisor.adapters.gateway.connector import Connector

_HEADERS_LEFT_TO_HTTPX = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_SCHEMES = ("http", "https")

MAY_LEAVE = "may_leave"
"""Extension of a request with a body: a function that is asked just before its first byte is written. If it says no,
nothing is, and `attempt.HeldBackError` (a `ConnectError`) is raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportPolicy:
    """Sizes and times of a transport."""

    connections: int = 100
    """Connections at once, so also requests in flight. A gateway answers some 30 a second and tens of its pages may
    hang for minutes: enough that they do not keep the others waiting, few enough for its file descriptors."""

    keepalive: float = 4.0
    """Seconds that an unused connection is kept. Node closes after 5: closing first makes it rare that the server
    closes just as we write, which would leave a send in doubt."""

    close_within: float = 2.0
    """Seconds that `aclose` may take. Everything is aborted, so this is only for an event loop that is very busy."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """An httpx transport on one aiohttp session.

    Raises `httpx.ConnectError`, `ConnectTimeout` and `PoolTimeout` only when nothing was sent, and `WriteError`,
    `WriteTimeout`, `ReadError`, `ReadTimeout` and `RemoteProtocolError` when nobody knows; `LocalProtocolError` and
    `UnsupportedProtocol` for a request that cannot be sent at all. A cancelled request's connection is aborted.

    httpx's time-outs mean: pool, waiting for a free connection; connect, name resolution, TCP and TLS together; write,
    one 64 KiB piece of the body; read, silence of the server. `verify` is an `ssl.SSLContext`, True for the system's
    certificates, or False.
    """

    def __init__(self, *, policy: TransportPolicy | None = None, verify: ssl.SSLContext | bool = True) -> None:
        self._policy = policy or TransportPolicy()
        self._verify = verify
        self._free = anyio.Semaphore(self._policy.connections, fast_acquire=True)
        self._connector: Connector | None = None
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; its connection belongs to the response until that is read to its end or closed."""
        if request.url.scheme not in _SCHEMES or not request.url.host:
            raise httpx.UnsupportedProtocol(f"{str(request.url)!r} is not an http or https address")
        timeouts = cast("Mapping[str, float | None]", request.extensions.get("timeout", {}))
        await self._take_turn(timeouts.get("pool"))
        try:
            attempt, answer = await self._send(request, timeouts)
        except BaseException:
            self._free.release()
            raise
        return httpx.Response(
            answer.status,
            headers=list(answer.raw_headers),
            stream=_AnswerStream(answer, attempt, self._free.release),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": (answer.reason or "").encode()},
        )

    async def aclose(self) -> None:
        """Abort every connection and end the session; requests in flight fail, each in its own words."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is None or self._connector is None:
            return
        self._connector.abort_all()
        with anyio.move_on_after(self._policy.close_within, shield=True):
            await session.close()

    async def _take_turn(self, within: float | None) -> None:
        try:
            self._free.acquire_nowait()  # the common case, without the cost of a time limit
        except anyio.WouldBlock:
            await self._wait_in_line(within)

    async def _wait_in_line(self, within: float | None) -> None:
        try:
            with anyio.fail_after(within):
                await self._free.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout(f"No connection became free within {within} s") from error

    async def _send(
        self, request: httpx.Request, timeouts: Mapping[str, float | None]
    ) -> tuple[Attempt, aiohttp.ClientResponse]:
        while True:
            attempt = Attempt(
                _body_of(request),
                connect_within=timeouts.get("connect"),
                write_within=timeouts.get("write"),
                may_leave=cast("Callable[[], bool] | None", request.extensions.get(MAY_LEAVE)),
            )
            try:
                return attempt, await self._exchange(request, attempt, timeouts.get("read"))
            except StaleConnectionError:
                continue  # nothing was written, and that connection is gone from the pool

    async def _exchange(
        self, request: httpx.Request, attempt: Attempt, read_within: float | None
    ) -> aiohttp.ClientResponse:
        session = self._session_in_this_loop()
        token = current_attempt.set(attempt)
        try:
            return await session.request(
                request.method,
                _address(request.url),
                headers=_headers(request),
                data=None if attempt.body is None else Body(attempt, attempt.body),
                timeout=aiohttp.ClientTimeout(sock_read=read_within),
                allow_redirects=False,
                middlewares=(attempt,),
            )
        except AttemptError as failure:
            raise failure.meaning from failure.__cause__
        except ValueError as error:  # a header or address that must not be written
            raise httpx.LocalProtocolError(str(error)) from error
        finally:
            current_attempt.reset(token)

    def _session_in_this_loop(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise httpx.ConnectError("The transport was closed; nothing was sent")
        if self._session is None:
            self._connector = Connector(keepalive=self._policy.keepalive, verify=self._verify)
            self._session = aiohttp.ClientSession(
                connector=self._connector,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_HEADERS_LEFT_TO_HTTPX,
                trust_env=False,
            )
        return self._session


class _AnswerStream(httpx.AsyncByteStream):
    """The answer's body; holds the connection and the turn until closed, which httpx does at the end or on failure."""

    def __init__(self, answer: aiohttp.ClientResponse, attempt: Attempt, end_turn: Callable[[], None]) -> None:
        self._answer = answer
        self._attempt = attempt
        self._end_turn = end_turn
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._answer.content.iter_any():
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise self._attempt.meaning_of(error) from error

    async def aclose(self) -> None:
        """Give the connection up (one that was read to its end is in the pool already); awaits nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._answer.close()
        self._attempt.drop_what_is_closing()
        self._end_turn()


def _body_of(request: httpx.Request) -> httpx.AsyncByteStream | None:
    has_body = "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"
    return cast("httpx.AsyncByteStream", request.stream) if has_body else None


def _headers(request: httpx.Request) -> CIMultiDict[str]:
    """httpx's headers as they are, but for the framing of a body of unknown length, which aiohttp does."""
    return CIMultiDict(
        (name.decode("ascii"), value.decode("utf-8"))
        for name, value in request.headers.raw
        if name.lower() != b"transfer-encoding"
    )


def _address(url: httpx.URL) -> URL:
    """httpx's address without quoting it again, and without the user and password, which are a header by now."""
    path, _, query = url.raw_path.decode("ascii").partition("?")
    return URL.build(
        scheme=url.scheme, authority=url.netloc.decode("ascii"), path=path, query_string=query, encoded=True
    )
