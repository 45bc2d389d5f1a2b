"""The admin HTTP server: /metrics, /healthz, /readyz, for machines on this host.

It only reads, asks for no password and therefore listens on loopback; a request that names another host is refused, so
that a page in somebody's browser cannot reach it through a name of its own (DNS rebinding). /healthz says that the
event loop answers and nothing else: it never judges a dependency, because restarting the daemon mends none.
"""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.lowlevel
import msgspec
from aiohttp import hdrs, web

from wa_supervisor.domain.errors import PermanentError

MetricsSource = Callable[[], tuple[Iterable[bytes], str]]
"""Begins one scrape: pieces of text, each made in well below a millisecond, and their content type."""

_HEADERS: Mapping[str, str] = {
    "Server": "wa-supervisor",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_INDEX = """wa-supervisor
/metrics  for Prometheus
/healthz  200 while the event loop answers
/readyz   200 when ready, 503 and why when not
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether the daemon is ready, and what is not as it should be."""

    ready: bool
    waiting_for: tuple[str, ...] = ()
    """What stands between it and being ready, each a sentence."""
    missing: tuple[str, ...] = ()
    """What works with less than it could although it is ready, each a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminLimits:
    """How much a client may take."""

    header_bytes: int = 4096
    """Longest request line and longest header: a scrape needs a few hundred bytes."""
    keep_alive: float = 75.0
    """Seconds that an idle connection is kept: longer than the minute between two usual scrapes."""
    slice: float = 0.0005
    """Seconds of writing metrics before everything else gets its turn."""
    scrape: float = 30.0
    """Seconds for one scrape, after which the connection is cut: a client that does not read holds a whole snapshot."""
    shutdown: float = 1.0
    """Seconds that requests under way have when the server stops."""


@asynccontextmanager
async def admin_server(
    host: str,
    port: int,
    *,
    metrics: MetricsSource,
    readiness: Callable[[], Readiness],
    limits: AdminLimits | None = None,
) -> AsyncIterator[str]:
    """Serve on `host` and `port` (0 for any free one) inside the block; the value is the URL.

    Raises `PermanentError` naming the setting when the address cannot be had.
    """
    limits = limits or AdminLimits()
    pages = _Pages(host, metrics, readiness, limits)
    server = web.Server(
        pages.answer,
        handler_cancellation=True,
        access_log=None,
        keepalive_timeout=limits.keep_alive,
        max_line_size=limits.header_bytes,
        max_field_size=limits.header_bytes,
    )
    runner = web.ServerRunner(server, shutdown_timeout=limits.shutdown)
    await runner.setup()
    try:
        await _listen(runner, host, port)
        yield _url(host, runner.addresses[0][1])
    finally:
        with anyio.move_on_after(limits.shutdown + 1.0, shield=True):
            await runner.cleanup()


async def _listen(runner: web.ServerRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            advice = "another process listens there, maybe another daemon; change admin.port, or set it to 0"
        elif error.errno in {errno.EACCES, errno.EPERM}:
            advice = "this process may not have that port; set admin.port to 1024 or above"
        else:
            advice = f"{error}; set admin.host to an address of this machine such as 127.0.0.1"
        raise PermanentError(f"the admin server cannot listen on {host} port {port}: {advice}") from error


class _Pages:
    """Answers requests; knows every page there is."""

    def __init__(
        self, host: str, metrics: MetricsSource, readiness: Callable[[], Readiness], limits: AdminLimits
    ) -> None:
        self._host = host
        self._metrics = metrics
        self._readiness = readiness
        self._limits = limits
        self._pages: Mapping[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]] = {
            "/": self._index,
            "/healthz": self._health,
            "/readyz": self._ready,
            "/metrics": self._scrape,
        }

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if not _is_for_us(request.headers.get(hdrs.HOST, ""), self._host):
            return _text("this server answers only to the name of this machine, such as 127.0.0.1\n", status=421)
        page = self._pages.get(request.path)
        if page is None:
            return _text("no such page; / has the list\n", status=404)
        if request.method not in {"GET", "HEAD"}:
            return _text("only GET and HEAD\n", status=405, headers={"Allow": "GET, HEAD"})
        return await page(request)

    async def _index(self, _: web.BaseRequest) -> web.StreamResponse:
        return _text(_INDEX)

    async def _health(self, _: web.BaseRequest) -> web.StreamResponse:
        return _text("ok\n")

    async def _ready(self, _: web.BaseRequest) -> web.StreamResponse:
        readiness = self._readiness()
        return web.Response(
            body=msgspec.json.encode(readiness) + b"\n",
            status=200 if readiness.ready else 503,
            content_type="application/json",
            headers=_HEADERS,
        )

    async def _scrape(self, request: web.BaseRequest) -> web.StreamResponse:
        pieces, content_type = self._metrics()
        response = web.StreamResponse(headers={**_HEADERS, hdrs.CONTENT_TYPE: content_type})
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        with anyio.move_on_after(self._limits.scrape) as scope:
            await self._send(pieces, response)
        if scope.cancelled_caught and request.transport is not None:
            request.transport.abort()
        return response

    async def _send(self, pieces: Iterable[bytes], response: web.StreamResponse) -> None:
        gathered: list[bytes] = []
        began = anyio.current_time()
        for piece in pieces:
            gathered.append(piece)
            if anyio.current_time() - began >= self._limits.slice:
                await response.write(b"".join(gathered))
                # Writing need not wait; this lets everything else run.
                await anyio.lowlevel.checkpoint()
                gathered.clear()
                began = anyio.current_time()
        await response.write(b"".join(gathered))
        await response.write_eof()


def _text(text: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(text=text, status=status, headers={**_HEADERS, **(headers or {})})


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_for_us(named: str, configured: str) -> bool:
    """Whether a Host header names this machine: its port may be that of a tunnel and does not matter."""
    name = named.removeprefix("[").partition("]")[0] if named.startswith("[") else named.partition(":")[0]
    if name.lower() in {"localhost", configured.lower()}:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
