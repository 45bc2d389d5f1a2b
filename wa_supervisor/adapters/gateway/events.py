"""The one Socket.IO connection of a gateway: port `GatewayEvents` on python-socketio.

python-socketio runs one task per message: no order to rely on, and no back-pressure. Here the frames are taken
in order, one at a time, into a bounded queue; when it is full the socket is not read, and the gateway notices. Events
that nobody asked for are dropped before they are decoded.

This needs three methods that the libraries do not promise: `AsyncClient._handle_eio_message`, `._engineio_client_class`
and Engine.IO's `._trigger_event`. So the versions are pinned from above, nothing else in the project touches them, and
`tests/contracts/test_gateway_events.py` breaks loudly on an upgrade that changes them.

What it does not do: reconnect. The library's own reconnection swallows cancellation and would be a second backoff.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import NoReturn, cast

import aiohttp
import anyio
import engineio
import msgspec
import socketio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from wa_supervisor.domain.errors import FeedLostError
from wa_supervisor.engine.ports import EventSink

Event = tuple[str, object]

QUEUE = 1000
"""Events that may wait between socket and engine, so that pings are answered while a slow moment passes."""

CONNECT_TIMEOUT = 15.0
"""Seconds for connecting, from TCP to the Socket.IO namespace."""

CLOSE_TIMEOUT = 3.0
"""Seconds for a polite goodbye."""

_LOST = (socketio.exceptions.SocketIOError, engineio.exceptions.EngineIOError, aiohttp.ClientError, OSError)
_NONSENSE = (ValueError, TypeError, KeyError, AttributeError)
"""What the libraries raise over an answer that is not Socket.IO at all: a proxy's page, another service."""

for _name in ("engineio.client", "socketio.client"):
    # Unset, the libraries add a handler of their own; below errors they log whole payloads.
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class _InOrder(engineio.AsyncClient):  # type: ignore[misc]  # python-engineio ships no types
    """Hands over each message before the next frame is read."""

    async def _trigger_event(self, event: str, *args: object, **options: object) -> object:
        if event == "message" and "message" in self.handlers:
            return await self.handlers["message"](*args)
        return await super()._trigger_event(event, *args, **options)


class _Client(socketio.AsyncClient):  # type: ignore[misc]  # python-socketio ships no types
    """Puts the wanted events of the default namespace into `queue`; leaves everything else to the library."""

    def __init__(self, queue: MemoryObjectSendStream[Event], names: frozenset[str], **options: object) -> None:
        super().__init__(reconnection=False, handle_sigint=False, **options)
        self._queue = queue
        self._prefixes = {f'2["{name}"': name for name in names}

    def _engineio_client_class(self) -> type:
        return _InOrder

    async def _handle_eio_message(self, data: object) -> None:
        if not isinstance(data, str) or not data.startswith('2["'):
            await super()._handle_eio_message(data)
            return
        if data[: data.find('"', 3) + 1] not in self._prefixes:
            return
        try:
            decoded = msgspec.json.decode(data[1:])
        except (msgspec.DecodeError, RecursionError):
            return  # one unreadable event is not worth the connection
        name, *payload = cast("list[object]", decoded)
        await self._queue.send((cast("str", name), payload[0] if payload else None))


class SocketIoEvents:
    """Listens to one gateway. See `GatewayEvents`."""

    def __init__(self, url: str, *, socketio_path: str, max_event_bytes: int) -> None:
        self._url = url
        self._path = socketio_path.strip("/")
        self._max_event_bytes = max_event_bytes

    def __repr__(self) -> str:
        return f"<SocketIoEvents {self._url}>"

    async def listen(self, sink: EventSink, names: frozenset[str]) -> NoReturn:
        """Connect, then deliver the named events in order until the connection ends. See `GatewayEvents.listen`."""
        send, receive = anyio.create_memory_object_stream[Event](QUEUE)
        async with aiohttp.ClientSession() as http, send, receive:
            client = _Client(
                send,
                names,
                http_session=http,
                # aiohttp's own limit is 4 MiB, and an event above the limit ends the connection, each time anew
                websocket_extra_options={"max_msg_size": self._max_event_bytes},
            )
            try:
                await self._connect(client)
                sink.connected()
                await _deliver_until_end(client, receive, sink)
            finally:
                with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
                    await _close(client)
        raise FeedLostError(f"the event connection to {self._url} ended")

    async def _connect(self, client: _Client) -> None:
        try:
            with anyio.fail_after(CONNECT_TIMEOUT):
                await client.connect(
                    self._url,
                    transports=["websocket"],
                    socketio_path=self._path,
                    wait_timeout=CONNECT_TIMEOUT,
                )
        except TimeoutError as error:
            message = f"no event connection to {self._url} within {CONNECT_TIMEOUT:g} s"
            raise FeedLostError(message) from error
        except (*_LOST, *_NONSENSE) as error:
            raise FeedLostError(f"no event connection to {self._url}: {error}") from error


async def _deliver_until_end(client: _Client, receive: MemoryObjectReceiveStream[Event], sink: EventSink) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_wait_for_end, client)
        async for name, payload in receive:
            await sink.deliver(name, payload)


async def _wait_for_end(client: _Client) -> None:
    try:
        await client.eio.wait()
    except (*_LOST, *_NONSENSE):
        pass  # the reading task died of it; either way the connection is over
    finally:
        client._queue.close()  # noqa: SLF001  # what was received is still delivered, then the loop over it ends


async def _close(client: _Client) -> None:
    loops = [task for task in (client.eio.read_loop_task, client.eio.write_loop_task) if task is not None]
    with suppress(*_LOST, *_NONSENSE):  # it may be gone already
        await client.eio.disconnect(abort=True)
    # The library empties the queue from which its writing task would learn the end, and leaves it waiting.
    for task in loops:
        task.cancel()
    if loops:
        await asyncio.wait(loops)
