"""The admin server over real HTTP."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import httpx
import pytest
from anyio.abc import SocketStream

from wa_supervisor.adapters.admin import AdminLimits, MetricsSource, Readiness, admin_server
from wa_supervisor.domain.errors import ConfigurationError, PermanentError

pytestmark = pytest.mark.anyio

PATIENT = 20.0
"""Seconds after which a test that hangs fails."""
PLAIN = "text/plain; version=0.0.4; charset=utf-8"


@pytest.fixture
def anyio_backend() -> str:
    """Give asyncio: aiohttp knows no other."""
    return "asyncio"


def two_pieces() -> tuple[Iterable[bytes], str]:
    """Give a scrape of two lines."""
    return iter([b"a 1\n", b"b 2\n"]), PLAIN


def ready() -> Readiness:
    """Say that all is well."""
    return Readiness(ready=True)


@asynccontextmanager
async def served(
    *,
    metrics: MetricsSource = two_pieces,
    readiness: Callable[[], Readiness] = ready,
    limits: AdminLimits | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve on a free port and give a client for it."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(
            admin_server(host, 0, metrics=metrics, readiness=readiness, limits=limits)
        )
        with anyio.fail_after(PATIENT):
            yield await stack.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False))


async def connected(client: httpx.AsyncClient) -> SocketStream:
    """Open a bare connection to the server that `client` talks to."""
    url = urlsplit(str(client.base_url))
    assert url.hostname is not None
    assert url.port is not None
    return await anyio.connect_tcp(url.hostname, url.port)


async def everything_from(stream: SocketStream) -> bytes:
    """Read until the other side closes or breaks the connection."""
    received = bytearray()
    try:
        async for chunk in stream:
            received += chunk
    except anyio.BrokenResourceError:
        received += b"<reset>"
    return bytes(received)


async def test_every_page_answers() -> None:
    async with served() as client:
        answers = {path: await client.get(path) for path in ("/", "/healthz", "/readyz", "/metrics")}
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(answers, 200)
    assert answers["/healthz"].text == "ok\n"
    assert answers["/metrics"].text == "a 1\nb 2\n"
    assert answers["/metrics"].headers["Content-Type"] == PLAIN
    assert answers["/readyz"].json() == {"ready": True, "waiting_for": [], "missing": []}
    assert all(path in answers["/"].text for path in answers if path != "/")


async def test_a_daemon_that_is_not_ready_says_why() -> None:
    state = [Readiness(ready=False, waiting_for=("Redis does not answer",), missing=("no database",))]
    async with served(readiness=lambda: state[-1]) as client:
        answer = await client.get("/readyz")
        health = await client.get("/healthz")
        state.append(Readiness(ready=True, missing=("no database",)))
        later = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "waiting_for": ["Redis does not answer"], "missing": ["no database"]}
    assert (health.status_code, later.status_code) == (200, 200)


@pytest.mark.parametrize("path", ["/metrics/", "/admin", "/..%2fetc/passwd", "//metrics", "/Metrics"])
async def test_there_is_nothing_else(path: str) -> None:
    async with served() as client:
        answer = await client.get(f"{client.base_url}".rstrip("/") + path)
    assert answer.status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/metrics", "/readyz"])
async def test_nothing_can_be_changed(method: str, path: str) -> None:
    async with served() as client:
        answer = await client.request(method, path, content=b"x")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics"])
async def test_head_gives_the_headers_alone(path: str) -> None:
    async with served() as client:
        head, get = await client.head(path), await client.get(path)
    assert (head.status_code, head.text) == (200, "")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/nothing"])
async def test_no_page_may_be_embedded_guessed_or_kept(path: str) -> None:
    async with served() as client:
        headers = (await client.get(path)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Server"] == "wa-supervisor"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:9477", 200),
        ("127.0.0.1", 200),
        ("127.0.0.2:80", 200),
        ("localhost:9477", 200),
        ("LocalHost", 200),
        ("[::1]:9477", 200),
        ("[::1]", 200),
        ("rebound.example:9477", 421),
        ("127.0.0.1.example", 421),
        ("localhost.example", 421),
        ("192.168.1.1:9477", 421),
        ("[2001:db8::1]:9477", 421),
        ("2130706433", 421),
        ("", 421),
    ],
)
async def test_only_names_of_this_machine_are_answered(host: str, expected: int) -> None:
    async with served() as client:
        answer = await client.get("/metrics", headers={"Host": host})
    assert answer.status_code == expected
    assert ("a 1" in answer.text) is (expected == 200)


async def test_the_configured_name_is_answered() -> None:
    async with served(host="localhost") as client:
        assert (await client.get("/healthz", headers={"Host": "localhost"})).status_code == 200
        assert str(client.base_url).startswith("http://localhost:")


async def test_a_request_that_names_no_host_is_refused() -> None:
    async with served() as client, await connected(client) as stream:
        await stream.send(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert b" 421 " in await everything_from(stream)


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 10_000 + b"\r\n\r\n",
        b"this is no HTTP\r\n\r\n",
    ],
)
async def test_too_long_or_unreadable_requests_are_refused(request_head: bytes) -> None:
    async with served() as client:
        async with await connected(client) as stream:
            await stream.send(request_head)
            answer = await everything_from(stream)
        assert (await client.get("/healthz")).status_code == 200
    assert answer.startswith(b"HTTP/1.")
    assert b" 400 " in answer.splitlines()[0]


async def test_others_are_served_while_a_large_scrape_is_written() -> None:
    begun, answered = anyio.Event(), anyio.Event()

    def pieces() -> Iterator[bytes]:
        begun.set()
        while not answered.is_set():
            yield b"a 1\n" * 1000
        yield b"end 1\n"

    async with (
        served(metrics=lambda: (pieces(), PLAIN), limits=AdminLimits(slice=0.0)) as client,
        anyio.create_task_group() as tasks,
    ):
        bodies: list[str] = []

        async def scrape() -> None:
            bodies.append((await client.get("/metrics")).text)

        tasks.start_soon(scrape)
        await begun.wait()
        assert (await client.get("/healthz")).status_code == 200
        answered.set()
    assert bodies[0].endswith("end 1\n")


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    closed = anyio.Event()

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield b"a 1\n" * 10_000
        finally:
            closed.set()

    async with (
        served(metrics=lambda: (endless(), PLAIN), limits=AdminLimits(scrape=0.05)) as client,
        await connected(client) as stream,
    ):
        await stream.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await closed.wait()
        assert not (await everything_from(stream)).endswith(b"0\r\n\r\n")
        assert (await client.get("/healthz")).status_code == 200


async def test_a_scrape_that_fails_is_no_scrape(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "aiohttp.server")

    def broken() -> tuple[Iterable[bytes], str]:
        raise RuntimeError("no snapshot")

    async with served(metrics=broken) as client:
        answer = await client.get("/metrics")
        assert answer.status_code == 500
        assert "no snapshot" not in answer.text
        assert (await client.get("/healthz")).status_code == 200


async def test_a_scrape_that_breaks_off_is_not_taken_for_a_whole_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "aiohttp.server")

    def breaking() -> Iterator[bytes]:
        yield b"a 1\n"
        raise RuntimeError("no more")

    async with served(metrics=lambda: (breaking(), PLAIN), limits=AdminLimits(slice=0.0)) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/metrics")
        assert (await client.get("/healthz")).status_code == 200


async def test_a_port_in_use_names_the_setting_to_change() -> None:
    async with served() as client:
        port = client.base_url.port
        assert port is not None
        with pytest.raises(PermanentError, match=rf"127\.0\.0\.1 port {port}: .*change admin\.port") as raised:
            async with admin_server("127.0.0.1", port, metrics=two_pieces, readiness=ready):
                raise AssertionError("two servers on one port")
        assert (await client.get("/healthz")).status_code == 200
    # The port may be free again after a restart; exit status 78 would keep systemd from trying.
    assert not isinstance(raised.value, ConfigurationError)


async def test_an_address_of_another_machine_names_the_setting_to_change() -> None:
    with pytest.raises(PermanentError, match=r"set admin\.host"):
        async with admin_server("192.0.2.1", 0, metrics=two_pieces, readiness=ready):
            raise AssertionError("listening on an address that is not ours")


async def test_the_port_is_free_again_afterwards_although_a_client_holds_on() -> None:
    async with served() as client:
        port = client.base_url.port
        assert port is not None
        held = await connected(client)
        await held.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200" in await held.receive()
    async with held, admin_server("127.0.0.1", port, metrics=two_pieces, readiness=ready) as url:
        assert url == f"http://127.0.0.1:{port}"
        assert await everything_from(held) in {b"", b"<reset>"}


async def test_stopping_does_not_wait_for_a_scrape_without_end() -> None:
    begun = anyio.Event()

    def endless() -> Iterator[bytes]:
        while True:
            begun.set()
            yield b"a 1\n"

    with anyio.fail_after(PATIENT):
        async with admin_server(
            "127.0.0.1",
            0,
            metrics=lambda: (endless(), PLAIN),
            readiness=ready,
            limits=AdminLimits(slice=0.0, shutdown=0.05),
        ) as url:
            parts = urlsplit(url)
            stream = await anyio.connect_tcp(str(parts.hostname), parts.port or 0)
            await stream.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await begun.wait()
        await stream.aclose()


async def test_ipv6_is_served_where_there_is_any() -> None:
    try:
        async with served(host="::1") as client:
            assert (await client.get("/healthz")).status_code == 200
            assert str(client.base_url).startswith("http://[::1]:")
    except PermanentError as error:
        pytest.skip(f"no IPv6 here: {error}")
