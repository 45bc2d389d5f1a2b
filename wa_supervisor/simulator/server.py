"""One life of the server process: the port, the web application and the event feed on it.

`listen` opens the port; `kill` ends everything at once, as a killed process does: connections are cut without a closing
word, requests in progress are forgotten. A restarted gateway makes a new one. What the routes do is in `routes_*`, what
the control interface does in `control`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from wa_supervisor.simulator import control, routes_life, routes_read, routes_send
from wa_supervisor.simulator.calls import respond, serve, under_faults
from wa_supervisor.simulator.feed import Feed
from wa_supervisor.simulator.routes_open import OPEN_ROUTES, OpenHandler
from wa_supervisor.simulator.timings import MAX_BODY

if TYPE_CHECKING:
    from wa_supervisor.simulator.gateway import SimulatedGateway

WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REAP = 0.05
"""Seconds that aiohttp gives a request that was cancelled before it lets go of it."""


class ServerProcess:
    """What dies when the gateway goes down."""

    def __init__(self, gateway: SimulatedGateway, feed: Feed) -> None:
        self.feed = feed
        self._requests: set[asyncio.Task[object] | None] = set()
        self._runner = web.AppRunner(self._application(gateway), access_log=None, shutdown_timeout=_REAP)
        self._site: web.TCPSite | None = None

    async def listen(self, host: str, port: int) -> int:
        """Open the port, a free one if it is 0; the port. Raises `OSError` if it is taken."""
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, host, port)
        await self._site.start()
        return self._site.port

    async def kill(self) -> None:
        """Cut every connection, forget every request, close the port.

        aiohttp lets go of a request whose client has left, and would never cancel it; hence the tasks.
        """
        if self._site is not None:
            await self._site.stop()
        server = self._runner.server
        for connection in server.connections if server is not None else ():
            if connection.transport is not None:
                connection.transport.abort()
        for task in tuple(self._requests):
            if task is not None:
                task.cancel()
        self.feed.close()
        await self._runner.cleanup()

    def _application(self, gateway: SimulatedGateway) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY)
        self.feed.attach(app)
        control.add_routes(app, gateway)
        for route in routes_life.ROUTES + routes_send.ROUTES + routes_read.ROUTES:
            path = f"/api/{{session}}/{route.name}{route.rest}"
            app.router.add_route(route.method, path, self._mortal(serve(gateway, route)))
        for method, path, name, handler in OPEN_ROUTES:
            app.router.add_route(method, path, self._mortal(_open(gateway, name, handler)))
        return app

    def _mortal(self, handler: WebHandler) -> WebHandler:
        """Let the handler die with the process, also when its client has left long ago."""

        async def handle(request: web.Request) -> web.StreamResponse:
            task = asyncio.current_task()
            self._requests.add(task)
            try:
                return await handler(request)
            finally:
                self._requests.discard(task)

        return handle


def _open(gateway: SimulatedGateway, name: str, handler: OpenHandler) -> WebHandler:
    async def handle(request: web.Request) -> web.StreamResponse:
        gateway.ledger.note_call(name)
        session = request.match_info.get("session")
        answer = await under_faults(gateway, name, session, request, partial(handler, gateway, request))
        return await respond(request, answer)

    return handle
