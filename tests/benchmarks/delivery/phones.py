"""A simulated gateway whose control interface outlives its server: `python -m tests.benchmarks.delivery.phones`.

`wa-supervisor simulate-gateway` has its control interface on the gateway's own port, so that nobody can write while the
server is down. Here it has a port of its own: when the server part dies (the command `restart`), people go on writing,
WhatsApp keeps what they write, and the ledger goes on counting. It prints the same two lines. Beside the commands of
`wa_supervisor.simulator.control` there are, below `/_control/`:

    POST muffle     people's messages reach the chats, and nobody is told of them
    POST unmuffle   from now on they are told again
    GET  since      ?written=N&received=M: the entries of both lists from these positions on
"""

from __future__ import annotations

import argparse
import signal

import anyio
import msgspec
from aiohttp import web

from wa_supervisor.simulator import FAST, SimulatedGateway, control, simulated_gateway
from wa_supervisor.simulator.world import Emitter


class Muffled:
    """A feed that swallows messages and passes everything else."""

    def __init__(self, feed: Emitter) -> None:
        self.feed = feed

    def emit(self, event: str, payload: object) -> bool:
        """Pass it on unless it is a message."""
        return event != "received-message" and self.feed.emit(event, payload)


def add_routes(app: web.Application, gateway: SimulatedGateway) -> None:
    """Serve what is not in the simulator's own control interface."""

    async def muffle(_: web.Request) -> web.Response:
        if not isinstance(gateway.world.feed, Muffled):
            gateway.world.feed = Muffled(gateway.world.feed)
        return web.json_response({"ok": True})

    async def unmuffle(_: web.Request) -> web.Response:
        if isinstance(gateway.world.feed, Muffled):  # a restart may have ended it
            gateway.world.feed = gateway.world.feed.feed
        return web.json_response({"ok": True})

    async def since(request: web.Request) -> web.Response:
        ledger = gateway.ledger
        news = {
            "written": list(ledger.written)[int(request.query["written"]) :],
            "received": list(ledger.received)[int(request.query["received"]) :],
        }
        return web.Response(body=msgspec.json.encode(news), content_type="application/json")

    app.router.add_post("/_control/muffle", muffle)
    app.router.add_post("/_control/unmuffle", unmuffle)
    app.router.add_get("/_control/since", since)


async def run(port: int) -> None:
    """Run until SIGTERM."""
    async with simulated_gateway(port=port, timings=FAST) as gateway:
        app = web.Application()
        add_routes(app, gateway)
        control.add_routes(app, gateway)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        try:
            await site.start()
            print(f"gateway  {gateway.url}\ncontrol  http://127.0.0.1:{site.port}/_control/state", flush=True)
            with anyio.open_signal_receiver(signal.SIGTERM) as received:
                async for _ in received:
                    break
        finally:
            with anyio.move_on_after(1.0, shield=True):
                await runner.cleanup()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="A simulated gateway whose control interface outlives its server.")
    parser.add_argument("--port", type=int, default=0)
    anyio.run(run, parser.parse_args().port)


if __name__ == "__main__":
    main()
