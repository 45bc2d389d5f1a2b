"""How a connection can die, and what the transport says about it: certainly not sent, or nobody knows."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import httpx
import pytest
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from tests.adapters.scripted_server import OK, Peer, Script, Server, answer, answers, serving
from wa_supervisor.adapters.gateway.attempt import Attempt, Body, HeldBackError
from wa_supervisor.adapters.gateway.transport import MAY_LEAVE, AiohttpTransport, TransportPolicy

pytestmark = pytest.mark.anyio

NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
LARGE = 50 * 1024 * 1024
SHORT = 0.05
"""Seconds of a time-out that a test means to run into."""
PATIENT = 20.0
"""Seconds after which a test that hangs fails."""
KEY_AND_CERTIFICATE = Path(__file__).with_name("loopback.pem")


@pytest.fixture
def anyio_backend() -> str:
    """Give asyncio: aiohttp knows no other."""
    return "asyncio"


@pytest.fixture(autouse=True)
async def _nothing_leaks() -> AsyncIterator[None]:
    before = open_files()
    yield
    await until(lambda: open_files() <= before)


def open_files() -> int:
    """Count this process's file descriptors."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def until(is_so: Callable[[], bool]) -> None:
    """Wait, turn by turn of the event loop, until it is so."""
    with anyio.fail_after(PATIENT):
        await anyio.lowlevel.checkpoint()
        for _ in iter(is_so, True):  # noqa: FBT003  # what to stop at
            await anyio.lowlevel.checkpoint()


async def turns(count: int) -> None:
    """Let the event loop turn `count` times."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


async def outcome_is_unknown(client: httpx.AsyncClient) -> None:
    """Send a POST and see it fail without any claim that it was not sent."""
    with pytest.raises(httpx.TransportError) as failure:
        await client.post("/", json={"message": "hello"})
    assert not isinstance(failure.value, NOT_SENT)


@asynccontextmanager
async def client_of(
    script: Script,
    *,
    policy: TransportPolicy | None = None,
    timeout: httpx.Timeout | None = None,
    tls: ssl.SSLContext | None = None,
    verify: ssl.SSLContext | bool = True,
    is_narrow: bool = False,
) -> AsyncIterator[tuple[httpx.AsyncClient, Server]]:
    """Run the script's server and a client for it."""
    transport = AiohttpTransport(policy=policy, verify=verify)
    timeouts = timeout or httpx.Timeout(PATIENT)
    with anyio.fail_after(PATIENT):
        async with (
            serving(script, tls=tls, is_narrow=is_narrow) as server,
            httpx.AsyncClient(transport=transport, base_url=server.url, timeout=timeouts) as client,
        ):
            yield client, server


@contextmanager
def deaf_port() -> Iterator[int]:
    """Give a port on which the system answers no connection attempt: its queue of one is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)  # noqa: FBT003 # socket takes it so
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextmanager
def closed_port() -> Iterator[int]:
    """Give a port that nobody listens on, and that nobody else gets meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def server_side() -> ssl.SSLContext:
    """Give the TLS of a server that calls itself 127.0.0.1, signed by nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(KEY_AND_CERTIFICATE)
    return context


def client_side() -> ssl.SSLContext:
    """Give the TLS of a client that trusts that server."""
    return ssl.create_default_context(cafile=str(KEY_AND_CERTIFICATE))


async def silent(peer: Peer) -> None:
    """Read one request and never answer."""
    await peer.read_request()
    await peer.read_rest()


# --- certainly not sent --------------------------------------------------------------------------------------------


async def test_a_refused_connection_is_not_sent() -> None:
    with closed_port() as port:
        async with httpx.AsyncClient(transport=AiohttpTransport()) as client:
            with pytest.raises(httpx.ConnectError):
                await client.post(f"http://127.0.0.1:{port}/", json={})


async def test_an_unknown_host_is_not_sent() -> None:
    async with httpx.AsyncClient(transport=AiohttpTransport()) as client:
        with pytest.raises(httpx.ConnectError):
            await client.post("http://nobody.invalid/", json={})


async def test_a_host_that_answers_no_connection_attempt_is_not_sent() -> None:
    with deaf_port() as port:
        async with httpx.AsyncClient(
            transport=AiohttpTransport(), timeout=httpx.Timeout(PATIENT, connect=SHORT)
        ) as client:
            with pytest.raises(httpx.ConnectTimeout):
                await client.post(f"http://127.0.0.1:{port}/", json={})


async def test_a_tls_handshake_that_never_ends_is_not_sent() -> None:
    async with client_of(lambda peer: peer.read_rest(), timeout=httpx.Timeout(PATIENT, connect=SHORT)) as (
        client,
        server,
    ):
        with pytest.raises(httpx.ConnectTimeout):
            await client.post(server.url.replace("http", "https"), json={})


async def test_a_tls_handshake_with_a_server_that_speaks_no_tls_is_not_sent() -> None:
    async def speak_plainly(peer: Peer) -> None:
        await peer.read_anything()
        await peer.send(OK)

    async with client_of(speak_plainly) as (client, server):
        with pytest.raises(httpx.ConnectError):
            await client.post(server.url.replace("http", "https"), json={})


async def test_a_certificate_that_is_not_trusted_is_not_sent() -> None:
    async with client_of(answers, tls=server_side()) as (client, server):
        with pytest.raises(httpx.ConnectError):
            await client.post("/", json={})
        assert server.requests == []


async def test_waiting_for_a_free_connection_too_long_is_not_sent() -> None:
    policy = TransportPolicy(connections=1)
    async with client_of(silent, policy=policy, timeout=httpx.Timeout(PATIENT, pool=SHORT)) as (client, server):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.post, "/")
            await until(lambda: len(server.requests) == 1)
            with pytest.raises(httpx.PoolTimeout):
                await client.post("/", json={})
            tasks.cancel_scope.cancel()
        assert len(server.requests) == 1


async def test_a_new_connection_that_the_server_closes_before_anything_is_written_is_not_sent() -> None:
    arrived = b""

    async def close_and_listen(peer: Peer) -> None:
        nonlocal arrived
        peer.finish()
        arrived += await peer.read_rest()

    async def body() -> AsyncIterator[bytes]:
        await until(lambda: bool(server.peers))
        yield b"never written"

    async with client_of(close_and_listen) as (client, server):
        with pytest.raises(httpx.ConnectError):
            await client.post("/", content=body())
        assert arrived == b""


async def test_what_is_called_not_sent_never_arrived() -> None:
    arrived: list[bytes] = []

    async def close_at_once(peer: Peer) -> None:
        peer.finish()
        arrived.append(await peer.read_rest())

    async with client_of(close_at_once) as (client, _):
        for count in range(1, 21):
            with pytest.raises(httpx.TransportError) as failure:
                await client.post("/", content=b"hello")
            while len(arrived) < count:
                await turns(1)
            assert isinstance(failure.value, NOT_SENT) == (arrived[-1] == b"")


async def test_a_request_that_must_not_be_written_is_not_sent() -> None:
    async with client_of(answers) as (client, server):
        with pytest.raises(httpx.LocalProtocolError):
            await client.get("/", headers={b"X-Break": b"one\r\nInjected: two"})
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get("ftp://127.0.0.1/")
        assert server.requests == []


# --- nobody knows --------------------------------------------------------------------------------------------------


async def test_a_reset_as_the_request_begins_leaves_the_outcome_unknown() -> None:
    async def reset_at_first_byte(peer: Peer) -> None:
        await peer.read_anything()
        peer.reset()

    async with client_of(reset_at_first_byte) as (client, _):
        await outcome_is_unknown(client)


async def test_closing_after_the_headers_leaves_the_outcome_unknown() -> None:
    async def close_after_headers(peer: Peer) -> None:
        await peer.read_headers()

    async with client_of(close_after_headers) as (client, _):
        await outcome_is_unknown(client)


async def test_closing_after_an_empty_body_of_unknown_length_leaves_the_outcome_unknown() -> None:
    async def close_after_request(peer: Peer) -> None:
        await peer.read_request()

    async with client_of(close_after_request) as (client, server):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/", content=nothing())
        assert len(server.requests) == 1


async def nothing() -> AsyncIterator[bytes]:
    """Be a body of no pieces."""
    for piece in list[bytes]():
        yield piece


async def test_a_reset_in_the_middle_of_a_large_body_is_a_write_error() -> None:
    async def reset_after_headers(peer: Peer) -> None:
        await peer.read_headers()
        peer.reset()

    async with client_of(reset_after_headers) as (client, _):
        with pytest.raises(httpx.WriteError):
            await client.post("/", content=bytes(LARGE))


async def test_closing_after_the_whole_request_leaves_the_outcome_unknown() -> None:
    async def close_after_request(peer: Peer) -> None:
        await peer.read_request()

    async with client_of(close_after_request) as (client, server):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/", json={"message": "hello"})
        assert len(server.requests) == 1


async def test_a_reset_after_the_whole_request_leaves_the_outcome_unknown() -> None:
    async def reset_after_request(peer: Peer) -> None:
        await peer.read_request()
        peer.reset()

    async with client_of(reset_after_request) as (client, server):
        with pytest.raises(httpx.ReadError):
            await client.post("/", json={"message": "hello"})
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "fragment",
    [
        pytest.param(b"HTTP/1.1 201 Cre", id="status line"),
        pytest.param(b"HTTP/1.1 201 Created\r\nContent-Le", id="headers"),
        pytest.param(b"HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\nhalf", id="body of known length"),
        pytest.param(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", id="chunked body"),
    ],
)
@pytest.mark.parametrize("is_reset", [False, True])
async def test_closing_within_the_answer_leaves_the_outcome_unknown(fragment: bytes, is_reset: bool) -> None:
    async def break_off(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(fragment)
        if is_reset:
            peer.reset()

    async with client_of(break_off) as (client, server):
        await outcome_is_unknown(client)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"\x16\x03\x01\x00\x05hello\r\n\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 abc\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", id="bad header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", id="bad length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="bad chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + bytes(b"y" * 70_000) + b"\r\n\r\n", id="endless header"),
    ],
)
async def test_an_answer_that_is_no_http_leaves_the_outcome_unknown(garbage: bytes) -> None:
    async def talk_nonsense(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(garbage)
        await peer.read_rest()

    async with client_of(talk_nonsense) as (client, _):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/", json={})


async def test_no_answer_in_time_is_a_read_timeout() -> None:
    async with client_of(silent, timeout=httpx.Timeout(PATIENT, read=SHORT)) as (client, server):
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/", json={})
        assert len(server.requests) == 1


async def test_an_answer_that_stops_in_the_middle_is_a_read_timeout() -> None:
    async def stop_halfway(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await peer.read_rest()

    async with client_of(stop_halfway, timeout=httpx.Timeout(PATIENT, read=SHORT)) as (client, _):
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/", json={})


async def test_a_body_that_nobody_reads_is_a_write_timeout() -> None:
    async def read_headers_only(peer: Peer) -> None:
        await peer.read_headers()
        await anyio.sleep_forever()

    async with client_of(read_headers_only, timeout=httpx.Timeout(PATIENT, write=SHORT)) as (client, _):
        with pytest.raises(httpx.WriteTimeout):
            await client.post("/", content=bytes(LARGE))


async def test_a_kept_connection_that_dies_with_the_request_is_unknown_and_nothing_is_repeated() -> None:
    for method in ("POST", "GET", "PUT", "DELETE"):

        async def answer_once_then_close(peer: Peer) -> None:
            await peer.read_request()
            await peer.send(OK)
            await peer.read_request()

        async with client_of(answer_once_then_close) as (client, server):
            await client.get("/")
            with pytest.raises(httpx.RemoteProtocolError):
                await client.request(method, "/")
            assert [len(server.requests), len(server.peers)] == [2, 1]


# --- kept connections ----------------------------------------------------------------------------------------------


async def test_a_connection_is_used_again() -> None:
    async with client_of(answers) as (client, server):
        for _ in range(3):
            assert (await client.post("/", json={})).text == "ok"
        assert len(server.peers) == 1


async def test_a_connection_kept_longer_than_the_policy_is_not_used_again() -> None:
    async with client_of(answers, policy=TransportPolicy(keepalive=0.0)) as (client, server):
        await client.get("/")
        await client.get("/")
        assert len(server.peers) == 2


async def test_a_connection_closed_between_two_requests_is_replaced_and_the_post_arrives_once() -> None:
    async def answer_once(peer: Peer) -> None:
        await peer.read_request()
        peer.say(OK)
        peer.close()

    async with client_of(answer_once) as (client, server):
        await client.get("/")
        await client.post("/", json={})
        assert [len(server.requests), len(server.peers)] == [2, 2]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_close_that_the_event_loop_has_not_read_yet_is_noticed_before_writing(method: str) -> None:
    async with client_of(answers) as (client, server):
        await client.get("/")
        server.peers[0].finish()  # no await between this and the next request's first write
        await client.request(method, "/", content=b"x" if method == "POST" else None)
        assert [len(server.requests), len(server.peers)] == [2, 2]


class ClosesFirst(httpx.ByteStream):
    """A body that has the server close the kept connection just before it is written."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(b"hello")
        self._peer: Peer | None = peer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._peer is not None:
            self._peer.finish()
            self._peer = None
        yield b"hello"


async def test_a_close_at_the_last_moment_before_writing_is_noticed_and_the_post_arrives_once() -> None:
    async with client_of(answers) as (client, server):
        await client.get("/")
        request = client.build_request("POST", "/", content=b"hello")
        request.stream = ClosesFirst(server.peers[0])
        assert (await client.send(request)).text == "ok"
        assert [received.body for received in server.requests] == [b"", b"hello"]


async def test_a_body_that_cannot_be_read_again_is_not_sent_when_the_connection_closes_at_the_last_moment() -> None:
    async def closes_first() -> AsyncIterator[bytes]:
        server.peers[0].finish()
        yield b"hello"

    async with client_of(answers) as (client, server):
        await client.get("/")
        with pytest.raises(httpx.ConnectError):
            await client.post("/", content=closes_first())
        assert len(server.requests) == 1


class Asked:
    """Says whether a request may leave, and counts."""

    def __init__(self, *, may_leave: bool) -> None:
        self.may_leave = may_leave
        self.times = 0

    def __call__(self) -> bool:
        self.times += 1
        return self.may_leave


async def test_whether_it_may_leave_is_asked_once_when_a_stale_connection_is_replaced() -> None:
    asked = Asked(may_leave=True)
    async with client_of(answers) as (client, server):
        await client.get("/")
        request = client.build_request("POST", "/", content=b"hello", extensions={MAY_LEAVE: asked})
        request.stream = ClosesFirst(server.peers[0])
        assert (await client.send(request)).text == "ok"
        assert asked.times == 1
        assert [received.body for received in server.requests] == [b"", b"hello"]


async def test_what_may_not_leave_does_not_leave_on_the_connection_that_replaces_a_stale_one() -> None:
    asked = Asked(may_leave=False)
    heard: list[bytes] = []

    async def answer_on_the_first(peer: Peer) -> None:
        if peer is server.peers[0]:
            await answers(peer)
        heard.append(await peer.read_rest())

    async with client_of(answer_on_the_first) as (client, server):
        await client.get("/")
        request = client.build_request("POST", "/", content=b"hello", extensions={MAY_LEAVE: asked})
        request.stream = ClosesFirst(server.peers[0])
        with pytest.raises(HeldBackError):
            await client.send(request)
        assert asked.times == 1
        await until(lambda: bool(heard))
        assert heard == [b""]


@pytest.mark.parametrize("turns_between", [0, 10])
async def test_what_a_server_says_unasked_is_not_taken_for_the_next_answer(turns_between: int) -> None:
    async with client_of(answers) as (client, server):
        await client.get("/")
        server.peers[0].say(answer(b"", status="408 Request Timeout"))
        await turns(turns_between)
        assert (await client.post("/", json={})).status_code == 200


# --- cancelling ----------------------------------------------------------------------------------------------------


async def cancelled_after(count: int, client: httpx.AsyncClient) -> bool:
    """Send a POST and cancel it after `count` turns of the event loop; say whether it had ended by then."""
    has_ended = False

    async def post() -> None:
        nonlocal has_ended
        await client.post("/", json={"message": "hello"})
        has_ended = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post)
        await turns(count)
        tasks.cancel_scope.cancel()
    return has_ended


@pytest.mark.parametrize("is_kept", [False, True])
async def test_cancelling_at_any_step_leaks_nothing_and_the_next_request_works(is_kept: bool) -> None:
    policy = TransportPolicy(connections=1, keepalive=PATIENT if is_kept else 0.0)
    async with client_of(answers, policy=policy) as (client, server):
        assert (await client.post("/", json={})).text == "ok"
        before = open_files()
        step = 0
        while not await cancelled_after(step, client):
            assert (await client.post("/", json={})).text == "ok"
            await until(lambda: open_files() <= before)
            step += 1
        assert len(server.requests) <= 2 * step + 2


async def test_cancelling_while_connecting_leaks_nothing() -> None:
    with deaf_port() as port:
        async with httpx.AsyncClient(transport=AiohttpTransport(), timeout=PATIENT) as client:
            before = open_files()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.post, f"http://127.0.0.1:{port}/")
                await until(lambda: open_files() > before)
                tasks.cancel_scope.cancel()
            await until(lambda: open_files() <= before)


async def test_cancelling_during_the_tls_handshake_leaks_nothing() -> None:
    async with client_of(lambda peer: peer.read_rest()) as (client, server), anyio.create_task_group() as tasks:
        tasks.start_soon(client.post, server.url.replace("http", "https"))
        await until(lambda: bool(server.peers))
        tasks.cancel_scope.cancel()


async def test_cancelling_while_waiting_for_a_free_connection_leaves_the_turn_to_the_next() -> None:
    release = anyio.Event()

    async def answer_when_told(peer: Peer) -> None:
        await peer.read_request()
        await release.wait()
        await peer.send(OK)
        await answers(peer)

    async with client_of(answer_when_told, policy=TransportPolicy(connections=1)) as (client, server):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.post, "/first")
            await until(lambda: len(server.requests) == 1)
            with anyio.CancelScope() as impatient:
                tasks.start_soon(turns, 1)
                impatient.cancel()
                await client.post("/cancelled")
            tasks.start_soon(client.post, "/third")
            await turns(3)
            release.set()
        assert [received.line.split()[1] for received in server.requests] == ["/first", "/third"]


async def test_cancelling_while_writing_drops_the_rest_of_the_body() -> None:
    pieces = 0
    ended = anyio.Event()

    async def body() -> AsyncIterator[bytes]:
        nonlocal pieces
        while True:
            pieces += 1
            yield bytes(65_536)

    async def read_headers_then_wait(peer: Peer) -> None:
        line, _ = await peer.read_headers()
        if line.startswith("GET"):
            await peer.send(OK)
            return
        await ended.wait()
        assert len(await peer.read_rest()) < pieces * 65_536

    policy = TransportPolicy(connections=1)
    async with client_of(read_headers_then_wait, policy=policy, is_narrow=True) as (client, server):
        before = open_files()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: client.post("/", content=body()))
            written = -1
            while written != pieces:  # until the system takes no more
                written = pieces
                await turns(100)
            tasks.cancel_scope.cancel()
        await until(lambda: open_files() <= before + 1)  # our end is closed although nobody reads; the server's is not
        ended.set()
        assert (await client.get("/")).text == "ok"
        assert len(server.peers) == 2


async def test_cancelling_while_waiting_for_the_answer_closes_the_connection() -> None:
    async with client_of(silent_to_posts, policy=TransportPolicy(connections=1)) as (client, server):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.post, "/")
            await until(lambda: len(server.requests) == 1)
            tasks.cancel_scope.cancel()
        assert (await client.get("/")).text == "ok"
        assert len(server.peers) == 2


async def silent_to_posts(peer: Peer) -> None:
    """Answer until there comes a POST, and never that."""
    while not (await peer.read_request()).line.startswith("POST"):
        await peer.send(OK)
    await peer.read_rest()


async def test_cancelling_while_reading_the_answer_closes_the_connection() -> None:
    halfway = anyio.Event()

    async def answer_half(peer: Peer) -> None:
        if (await peer.read_request()).line.startswith("GET"):
            await peer.send(OK)
            return
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        halfway.set()
        await peer.read_rest()

    async with client_of(answer_half, policy=TransportPolicy(connections=1)) as (client, server):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.post, "/")
            await halfway.wait()
            await turns(5)
            tasks.cancel_scope.cancel()
        assert (await client.get("/")).text == "ok"
        assert len(server.peers) == 2


async def test_an_answer_that_is_not_read_to_its_end_gives_its_turn_back() -> None:
    async with client_of(answers, policy=TransportPolicy(connections=1)) as (client, server):
        for _ in range(2):
            async with client.stream("GET", "/") as response:
                assert response.status_code == 200
        assert len(server.requests) == 2


# --- closing -------------------------------------------------------------------------------------------------------


async def test_closing_the_transport_ends_what_is_in_flight_and_what_waits() -> None:
    failures: list[httpx.TransportError] = []

    async def post(client: httpx.AsyncClient) -> None:
        try:
            await client.post("/", json={})
        except httpx.TransportError as failure:
            failures.append(failure)

    async with client_of(silent, policy=TransportPolicy(connections=1)) as (client, server):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post, client)
            await until(lambda: len(server.requests) == 1)
            tasks.start_soon(post, client)
            await turns(3)
            await client.aclose()
        assert len(server.requests) == 1
        assert [isinstance(failure, NOT_SENT) for failure in failures] == [False, True]


async def test_closing_does_not_wait_for_a_body_that_nobody_reads() -> None:
    reading = anyio.Event()

    async def read_headers_only(peer: Peer) -> None:
        await peer.read_headers()
        reading.set()
        await anyio.sleep_forever()

    async def post(client: httpx.AsyncClient) -> None:
        with pytest.raises(httpx.TransportError):
            await client.post("/", content=bytes(LARGE))

    async with client_of(read_headers_only) as (client, _), anyio.create_task_group() as tasks:
        tasks.start_soon(post, client)
        await reading.wait()
        await client.aclose()


async def test_a_transport_that_was_never_used_closes() -> None:
    await AiohttpTransport().aclose()


# --- bodies and headers --------------------------------------------------------------------------------------------


async def test_two_hundred_requests_at_once_all_complete_within_the_limit() -> None:
    limit, total = 20, 200
    working = most = 0
    full = anyio.Event()

    async def answer_when_full(peer: Peer) -> None:
        nonlocal working, most
        while True:
            await peer.read_request()
            working += 1
            most = max(most, working)
            if working == limit:
                full.set()
            await full.wait()
            working -= 1
            await peer.send(OK)

    async with client_of(answer_when_full, policy=TransportPolicy(connections=limit)) as (client, server):
        async with anyio.create_task_group() as tasks:
            for _ in range(total):
                tasks.start_soon(client.post, "/")
        assert [len(server.requests), most, len(server.peers)] == [total, limit, limit]


async def test_a_large_body_arrives_whole_both_ways() -> None:
    body = os.urandom(1024) * (LARGE // 1024)

    async def echo(peer: Peer) -> None:
        await peer.send(answer((await peer.read_request()).body))

    async with client_of(echo) as (client, _):
        returned = (await client.post("/", content=body)).content
        assert hashlib.sha256(returned).digest() == hashlib.sha256(body).digest()


class SlowWriter(AbstractStreamWriter):
    """aiohttp's end of a connection to a server that reads nothing once the body is written."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self.sizes.append(len(chunk))

    async def drain(self) -> None:
        if sum(self.sizes) == 200_000:
            await anyio.sleep_forever()

    async def write_eof(self, chunk: bytes = b"") -> None:
        raise NotImplementedError

    async def write_headers(self, status_line: str, headers: CIMultiDict[str]) -> None:
        raise NotImplementedError

    def enable_chunking(self) -> None:
        raise NotImplementedError

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:
        raise NotImplementedError


async def test_a_body_is_written_in_pieces_and_its_end_has_a_time_limit_too() -> None:
    stream = httpx.ByteStream(bytes(200_000))
    writer = SlowWriter()
    attempt = Attempt(stream, connect_within=None, write_within=SHORT)
    ours, theirs = socket.socketpair()
    with theirs:
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        attempt.take(transport, is_kept=False)
        with pytest.raises(TimeoutError):
            await Body(attempt, stream).write(writer)
        transport.close()
    assert writer.sizes == [65_536, 65_536, 65_536, 3_392]


async def test_a_body_that_comes_slowly_in_pieces_arrives_whole() -> None:
    async def body() -> AsyncIterator[bytes]:
        for piece in (b"one ", b"", b"two ", b"three"):
            await turns(5)
            yield piece

    async with client_of(answers) as (client, server):
        await client.post("/", content=body())
        await client.post("/", content=body(), headers={"Content-Length": "13"})
        assert [received.body for received in server.requests] == [b"one two three"] * 2


async def test_a_body_of_no_pieces_is_an_empty_body() -> None:
    async with client_of(answers) as (client, server):
        await client.post("/", content=nothing())
        assert [received.body for received in server.requests] == [b""]


async def test_what_a_body_raises_reaches_the_caller_as_it_is() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        raise FileNotFoundError("photo.jpg")

    async with client_of(lambda peer: peer.read_rest()) as (client, _):
        with pytest.raises(FileNotFoundError, match=r"photo\.jpg"):
            await client.post("/", content=body())


async def test_an_answer_that_comes_before_the_body_is_written_is_read() -> None:
    async def refuse_early(peer: Peer) -> None:
        await peer.read_headers()
        await peer.send(answer(b"too large", status="413 Payload Too Large"))
        await peer.read_rest()

    async with client_of(refuse_early) as (client, _):
        assert (await client.post("/", content=bytes(LARGE))).status_code == 413


async def test_a_get_carries_no_content_type_and_no_body() -> None:
    async with client_of(answers) as (client, server):
        await client.get("/a%20b/c?d=%2F")
        request = server.requests[0]
        assert request.line == "GET /a%20b/c?d=%2F HTTP/1.1"
        assert not {"content-type", "content-length", "transfer-encoding"} & request.headers.keys()


async def test_headers_are_those_of_the_request_and_no_others() -> None:
    async with serving(answers) as server, AiohttpTransport() as transport:
        request = httpx.Request("POST", server.url, content=b"hello", headers={"Authorization": "Bearer t"})
        await (await transport.handle_async_request(request)).aread()
        assert server.requests[0].headers == dict(request.headers)
        assert server.requests[0].headers.keys() == {"host", "authorization", "content-length"}


async def test_a_user_and_password_in_the_address_become_a_header() -> None:
    async with client_of(answers) as (client, server):
        await client.get(server.url.replace("//", "//user:secret@"))
        assert server.requests[0].headers["authorization"].startswith("Basic ")
        assert "secret" not in server.requests[0].headers["host"]


async def test_a_compressed_answer_is_decoded_once() -> None:
    async def compress(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(answer(gzip.compress(b"hello" * 1000), "Content-Encoding: gzip"))

    async with client_of(compress) as (client, _):
        assert (await client.get("/")).content == b"hello" * 1000


@pytest.mark.parametrize(
    ("method", "status"),
    [("HEAD", "200 OK\r\nContent-Length: 5"), ("GET", "204 No Content"), ("GET", "304 Not Modified")],
)
async def test_an_answer_without_a_body_frees_the_connection(method: str, status: str) -> None:
    async def no_body(peer: Peer) -> None:
        while True:
            await peer.read_request()
            await peer.send(f"HTTP/1.1 {status}\r\nX-Answer: yes\r\n\r\n".encode())

    async with client_of(no_body, policy=TransportPolicy(connections=1)) as (client, server):
        for _ in range(2):
            assert (await client.request(method, "/")).headers["x-answer"] == "yes"
        assert len(server.peers) == 1


async def test_an_answer_that_ends_with_the_connection_is_read_to_its_end() -> None:
    async def answer_and_close(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")

    async with client_of(answer_and_close) as (client, _):
        assert (await client.get("/")).text == "hello"


async def test_a_redirect_is_an_answer_like_any_other() -> None:
    async def redirect(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(answer(b"", "Location: /elsewhere", status="302 Found"))

    async with client_of(redirect) as (client, server):
        assert (await client.get("/")).status_code == 302
        assert len(server.requests) == 1


async def test_cookies_are_not_kept() -> None:
    async def set_cookie(peer: Peer) -> None:
        while True:
            await peer.read_request()
            await peer.send(answer(b"", "Set-Cookie: a=b"))

    async with serving(set_cookie) as server, AiohttpTransport() as transport:
        for _ in range(2):
            response = await transport.handle_async_request(httpx.Request("GET", f"http://localhost:{server.port}"))
            await response.aread()
        assert "cookie" not in server.requests[1].headers


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        async with client_of(answers) as (client, _):
            assert (await client.get("/")).text == "ok"


async def test_https_works_and_keeps_its_connection() -> None:
    async with client_of(answers, tls=server_side(), verify=client_side()) as (client, server):
        for _ in range(3):
            assert (await client.post("/", content=b"x" * 100_000)).text == "ok"
        assert [len(server.requests), len(server.peers)] == [3, 1]


async def test_https_without_verification_works_when_asked_for() -> None:
    async with client_of(answers, tls=server_side(), verify=False) as (client, _):
        assert (await client.get("/")).text == "ok"


async def test_a_tls_connection_closed_after_the_request_leaves_the_outcome_unknown() -> None:
    async def close_after_request(peer: Peer) -> None:
        await peer.read_request()

    async with client_of(close_after_request, tls=server_side(), verify=client_side()) as (client, server):
        await outcome_is_unknown(client)
        assert len(server.requests) == 1


async def test_a_tls_connection_closed_between_two_requests_is_replaced_and_the_post_arrives_once() -> None:
    async def answer_once(peer: Peer) -> None:
        await peer.read_request()
        peer.say(OK)
        peer.close()

    async with client_of(answer_once, tls=server_side(), verify=client_side()) as (client, server):
        await client.get("/")
        await client.post("/", json={})
        assert [len(server.requests), len(server.peers)] == [2, 2]
