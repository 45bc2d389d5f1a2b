"""What the engine relies on of a gateway's event connection, against the fake and against python-socketio for real.

The real one uses methods that the libraries do not promise; this suite is what breaks when an upgrade changes them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from tests.fakes.gateway_events import FakeGatewayEvents
from wa_supervisor.adapters.gateway.events import QUEUE, SocketIoEvents
from wa_supervisor.domain.errors import FeedLostError
from wa_supervisor.engine.ports import GatewayEvents
from wa_supervisor.simulator import FAST, simulated_gateway

pytestmark = pytest.mark.anyio

NAMES = frozenset({"received-message", "onack"})


@pytest.fixture
def anyio_backend() -> str:
    """The adapter's library is asyncio only."""
    return "asyncio"


@dataclass
class Sink:
    """Keeps what was delivered."""

    events: list[tuple[str, object]] = field(default_factory=list)
    stood: anyio.Event = field(default_factory=anyio.Event)
    came: anyio.Event = field(default_factory=anyio.Event)
    open: anyio.Event | None = None
    """When given, `deliver` waits for it: a slow engine."""

    def connected(self) -> None:
        self.stood.set()

    async def deliver(self, name: str, payload: object) -> None:
        if self.open is not None:
            await self.open.wait()
        self.events.append((name, payload))
        self.came.set()
        self.came = anyio.Event()

    async def until(self, count: int) -> None:
        with anyio.fail_after(20):
            while len(self.events) < count:
                await self.came.wait()


@dataclass
class Side:
    """One implementation, and how its gateway emits and hangs up."""

    events: GatewayEvents
    emit: Callable[[str, object], Awaitable[object]]
    hang_up: Callable[[], Awaitable[object]]


@asynccontextmanager
async def fake_side() -> AsyncIterator[Side]:
    events = FakeGatewayEvents()

    async def hang_up() -> None:
        events.lose()

    yield Side(events=events, emit=events.emit, hang_up=hang_up)


@asynccontextmanager
async def real_side() -> AsyncIterator[Side]:
    async with simulated_gateway(timings=FAST) as gateway:

        async def emit(name: str, payload: object) -> None:
            gateway.emit(name, payload)

        events = SocketIoEvents(gateway.url, socketio_path="/socket.io/", max_event_bytes=64 << 20)
        yield Side(events=events, emit=emit, hang_up=gateway.go_down)


@pytest.fixture(params=[fake_side, real_side], ids=["fake", "real"])
async def side(request: pytest.FixtureRequest) -> AsyncIterator[Side]:
    async with request.param() as made:
        yield made


@asynccontextmanager
async def listening(side: Side, sink: Sink) -> AsyncIterator[list[FeedLostError]]:
    """Listen until the block ends; gives the errors that ended the listening by itself."""
    lost: list[FeedLostError] = []

    async def listen() -> None:
        try:
            await side.events.listen(sink, NAMES)
        except FeedLostError as error:
            lost.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        with anyio.fail_after(20):
            await sink.stood.wait()
        yield lost
        tasks.cancel_scope.cancel()


async def test_events_arrive_in_the_order_in_which_they_were_emitted(side: Side) -> None:
    sink = Sink()
    async with listening(side, sink):
        for number in range(200):
            await side.emit("received-message", {"response": {"n": number}})
        await sink.until(200)
    assert sink.events == [("received-message", {"response": {"n": n}}) for n in range(200)]


async def test_events_that_nobody_asked_for_do_not_arrive(side: Side) -> None:
    sink = Sink()
    async with listening(side, sink):
        await side.emit("onpresencechanged", {"id": "x"})
        await side.emit("received-message-2", {"id": "x"})
        await side.emit("onack", {"ack": 1})
        await sink.until(1)
    assert sink.events == [("onack", {"ack": 1})]


async def test_a_lost_connection_is_an_error_after_everything_received_was_delivered(side: Side) -> None:
    sink = Sink()
    async with listening(side, sink) as lost:
        await side.emit("onack", {"ack": 2})
        await sink.until(1)
        await side.hang_up()
        with anyio.fail_after(20):
            while not lost:  # noqa: ASYNC110  # the list has no event
                await anyio.lowlevel.checkpoint()
    assert isinstance(lost[0], FeedLostError)


async def test_payloads_of_any_type_arrive(side: Side) -> None:
    sink = Sink()
    async with listening(side, sink):
        for payload in (False, None, "acme", [1, {"a": None}], {"text": "ol\u00e1 \U0001f600"}):
            await side.emit("onack", payload)
        await sink.until(5)
    assert [payload for _, payload in sink.events] == [
        False,
        None,
        "acme",
        [1, {"a": None}],
        {"text": "ol\u00e1 \U0001f600"},
    ]


async def test_cancelling_closes_the_connection_and_the_next_listening_works(side: Side) -> None:
    for _ in range(3):
        sink = Sink()
        async with listening(side, sink):
            await side.emit("onack", {"ack": 3})
            await sink.until(1)


async def test_an_event_larger_than_four_mebibytes_does_not_end_the_connection() -> None:
    sink = Sink()
    async with real_side() as side, listening(side, sink):
        await side.emit("onack", {"body": "x" * (5 << 20)})
        await side.emit("onack", {"ack": 1})
        await sink.until(2)
    assert sink.events[1] == ("onack", {"ack": 1})


async def test_a_slow_engine_stops_the_reading_and_loses_nothing() -> None:
    sink = Sink(open=anyio.Event())
    count = 3 * QUEUE
    async with real_side() as side, listening(side, sink):
        for number in range(count):
            await side.emit("onack", number)
        assert sink.open is not None
        sink.open.set()
        await sink.until(count)
    assert [payload for _, payload in sink.events] == list(range(count))


async def test_a_gateway_that_is_not_there_is_a_lost_feed() -> None:
    events = SocketIoEvents("http://127.0.0.1:9", socketio_path="/socket.io/", max_event_bytes=1 << 20)
    with pytest.raises(FeedLostError, match=r"127\.0\.0\.1:9"):
        await events.listen(Sink(), NAMES)
