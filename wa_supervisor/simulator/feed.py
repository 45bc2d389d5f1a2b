"""The event feed: Socket.IO as the gateway serves it, with no authentication, no rooms and no replay.

`emit` encodes a payload once and puts the same packet into every client's queue, without a task or an await, because it
carries thousands of messages a second (`AsyncServer.emit` makes a task per client and message). It therefore touches
two details of python-engineio, `sockets` and a socket's `queue`; `tests/simulator/test_feed.py` breaks loudly if they
change. One `Feed` is one life of the server process: a restarted gateway makes a new one, and nobody gets what was
emitted while no client was connected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import engineio
import msgspec
import socketio
from aiohttp import web
from engineio.packet import MESSAGE, Packet

from wa_supervisor.simulator.ledger import Ledger
from wa_supervisor.simulator.timings import Manners, Timings

_encode = msgspec.json.Encoder().encode


class _EngineServer(engineio.AsyncServer):  # type: ignore[misc]  # engineio ships no types
    """Remembers its background tasks (pings), so that they end with the server and not 25 seconds later."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.background: set[asyncio.Task[object]] = set()

    def start_background_task(
        self, target: Callable[..., Awaitable[object]], *args: object, **kwargs: object
    ) -> asyncio.Task[object]:
        task: asyncio.Task[object] = super().start_background_task(target, *args, **kwargs)
        self.background.add(task)
        task.add_done_callback(self.background.discard)
        return task


class _SocketServer(socketio.AsyncServer):  # type: ignore[misc]  # socketio ships no types
    def _engineio_server_class(self) -> type[_EngineServer]:
        return _EngineServer


class Feed:
    """Every session's events, for every client."""

    def __init__(self, *, timings: Timings, manners: Manners, ledger: Ledger) -> None:
        self._ledger = ledger
        self._path = manners.socketio_path.strip("/")
        self._sockets: dict[str, Any] = {}
        self._transports: dict[str, asyncio.Transport | None] = {}
        self._server = _SocketServer(
            async_mode="aiohttp",
            cors_allowed_origins="*",
            ping_interval=timings.ping_interval,
            ping_timeout=timings.ping_timeout,
            monitor_clients=False,
        )
        self._server.on("connect", self._came)
        self._server.on("disconnect", self._went)

    def attach(self, app: web.Application) -> None:
        """Serve Socket.IO in `app`, at the path of the manners."""
        self._server.attach(app, socketio_path=self._path)

    def emit(self, event: str, payload: object) -> bool:
        """Send to whoever is connected now; whether anybody was."""
        self._ledger.events_total += 1
        if not self._sockets:
            return False
        packet = Packet(MESSAGE, f'2["{event}",{_encode(payload).decode()}]')
        for socket in self._sockets.values():
            socket.queue.put_nowait(packet)
        return True

    def cut(self) -> None:
        """Cut the connection of every client that came by websocket."""
        for transport in tuple(self._transports.values()):
            if transport is not None:
                transport.abort()

    def close(self) -> None:
        """End the background tasks; the connections are the web server's to cut."""
        for task in tuple(self._server.eio.background):
            task.cancel()
        for sid in tuple(self._sockets):
            self._forget(sid)

    async def _came(self, sid: str, environ: dict[str, Any]) -> None:
        engine_sid = self._server.manager.eio_sid_from_sid(sid, "/")
        self._sockets[sid] = self._server.eio.sockets[engine_sid]
        self._transports[sid] = environ["aiohttp.request"].transport
        self._ledger.note_client(1)

    async def _went(self, sid: str, _reason: str) -> None:
        self._forget(sid)

    def _forget(self, sid: str) -> None:
        self._transports.pop(sid, None)
        if self._sockets.pop(sid, None) is not None:
            self._ledger.note_client(-1)
