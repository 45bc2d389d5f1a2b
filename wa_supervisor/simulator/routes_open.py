"""Routes without a session's token: generate-token, healthz, and the traps that nobody must ever call.

The traps do what they do in the real server: with a wrong secret `start-all` still starts every session and
`clear-session-data` still deletes the login, both answering 400, and `unhealthy` ends the process for anybody. The
ledger notes every call to them.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
from aiohttp import web

from wa_supervisor.simulator.calls import Answer, html, pay_for_bcrypt
from wa_supervisor.simulator.tokens import mint

if TYPE_CHECKING:
    from wa_supervisor.simulator.gateway import SimulatedGateway

OpenHandler = Callable[["SimulatedGateway", web.Request], Awaitable[Answer]]

_LAST_WORDS = 0.01
"""Seconds between the answer of /unhealthy and the end of the process."""


async def generate_token(gateway: SimulatedGateway, request: web.Request) -> Answer:
    """A token for a session, for whoever knows the secret."""
    session = request.match_info["session"]
    known = gateway.sessions.get(session)
    if request.match_info["secret"] != gateway.secret or (known is not None and known.refuses_secret()):
        return Answer(400, {"response": False, "message": "The SECRET_KEY is incorrect"})
    await pay_for_bcrypt(gateway)
    token = mint(session, gateway.secret)
    return Answer(201, {"status": "success", "session": session, "token": token, "full": f"{session}:{token}"})


async def healthz(gateway: SimulatedGateway, _request: web.Request) -> Answer:
    """The process is there, and since when."""
    world = gateway.world
    uptime = time.monotonic() - world.booted_at
    return Answer(200, {"uptime": uptime, "message": "OK", "timestamp": int(world.wall_clock() * 1000)})


async def show_all_sessions(gateway: SimulatedGateway, request: web.Request) -> Answer:
    """Names of all sessions with a stored login; a trap, because the answer has them even where it should not."""
    gateway.ledger.note_forbidden("show-all-sessions", request.path)
    if request.match_info["secret"] != gateway.secret:
        return Answer(400, {"response": False, "message": "The token is incorrect"})
    return Answer(200, {"response": [name for name, session in gateway.sessions.items() if session.has_login]})


async def start_all(gateway: SimulatedGateway, request: web.Request) -> Answer:
    """Starts every session, whatever the secret."""
    gateway.ledger.note_forbidden("start-all", request.path)
    gateway.start_stored()
    if request.match_info["secret"] != gateway.secret:
        return Answer(400, {"response": "error", "message": "The token is incorrect"})
    return Answer(201, {"status": "success", "message": "Starting all sessions"})


async def clear_session_data(gateway: SimulatedGateway, request: web.Request) -> Answer:
    """Deletes the login, whatever the secret."""
    gateway.ledger.note_forbidden("clear-session-data", request.path)
    gateway.session(request.match_info["session"]).drop()
    if request.match_info["secret"] != gateway.secret:
        return Answer(400, {"response": "error", "message": "The token is incorrect"})
    return Answer(200, {"success": True})


async def unhealthy(gateway: SimulatedGateway, request: web.Request) -> Answer:
    """Ends the process, for anybody."""
    gateway.ledger.note_forbidden("unhealthy", request.path)
    gateway.background.start_soon(_end_soon, gateway)
    return Answer(503, b"", "text/plain")


async def _end_soon(gateway: SimulatedGateway) -> None:
    await anyio.sleep(_LAST_WORDS)
    await gateway.go_down()


async def unknown(_gateway: SimulatedGateway, request: web.Request) -> Answer:
    """What Express says to a path that it does not know."""
    return html(404, f"Cannot {request.method} {request.path}")


OPEN_ROUTES: tuple[tuple[str, str, str, OpenHandler], ...] = (
    ("POST", "/api/{session}/{secret}/generate-token", "generate-token", generate_token),
    ("GET", "/healthz", "healthz", healthz),
    ("GET", "/unhealthy", "unhealthy", unhealthy),
    ("GET", "/api/{secret}/show-all-sessions", "show-all-sessions", show_all_sessions),
    ("POST", "/api/{secret}/start-all", "start-all", start_all),
    ("POST", "/api/{session}/{secret}/clear-session-data", "clear-session-data", clear_session_data),
    ("*", "/{path:.*}", "unknown", unknown),
)
