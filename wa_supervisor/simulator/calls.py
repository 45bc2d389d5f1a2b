"""The path of every HTTP request through the simulated server, in the real one's order.

Body parsing comes first (malformed JSON is answered with an HTML page, before any authentication), then the token,
then the scripted faults, then what the real server calls `statusConnection` (is there a page, who are the recipients,
do their numbers exist), then the route itself; at last the odd `session` field. The routes are in `routes_*`; this
module does not know what any of them does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol

import anyio
import msgspec
from aiohttp import web

from wa_supervisor.simulator.faults import HTML_PAGE, Fault, FaultBook, error_of
from wa_supervisor.simulator.ids import recipients
from wa_supervisor.simulator.session import SimulatedSession
from wa_supervisor.simulator.tokens import is_valid
from wa_supervisor.simulator.world import World

JSON = "application/json"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered; a `body` of bytes is sent as it is."""

    status: int
    body: object
    content_type: str = JSON


NEVER = Answer(0, None)
"""No answer, ever."""

WRONG_TOKEN = Answer(401, {"error": "Check that the Session and Token are correct"})
NO_TOKEN = Answer(401, {"message": "Token is not present. Check your header and try again"})
DISCONNECTED = Answer(
    404, {"response": None, "status": "Disconnected", "message": "A sessão do WhatsApp não está ativa."}
)


class Host(Protocol):
    """What the routes need of the gateway."""

    world: World
    secret: str
    faults: FaultBook
    auth_places: anyio.CapacityLimiter

    def session(self, name: str) -> SimulatedSession:
        """The session of that name, made if there was none."""
        ...


@dataclass(slots=True)
class Call:
    """One request, as far as it has come."""

    host: Host
    route: str
    request: web.Request
    session: SimulatedSession
    body: dict[str, Any] = field(default_factory=dict)
    targets: list[str] = field(default_factory=list)
    """The chats that `phone` turned into."""
    refusal: Answer | None = None
    """Already answered, and the call goes ahead all the same."""

    @property
    def path_values(self) -> Mapping[str, str]:
        """The variable parts of the path."""
        return self.request.match_info


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One authenticated route under `/api/{session}/`."""

    method: Literal["GET", "POST"]
    name: str
    """How ledger and faults call it, and the beginning of its path."""
    handler: Handler
    rest: str = ""
    """What follows in the path."""
    needs_page: bool = True


class MalformedBodyError(ValueError):
    """The body is no JSON object; answered with HTML before anything else is looked at."""


async def read_body(request: web.Request) -> dict[str, Any]:
    """The JSON body, empty if there is none or it says to be something else."""
    if not request.can_read_body or not request.headers.get("Content-Type", "").startswith(JSON):
        return {}
    raw = await request.read()
    try:
        body = _decode(raw or b"{}")
    except msgspec.DecodeError as error:
        raise MalformedBodyError(f"SyntaxError: {error}") from error
    if not isinstance(body, dict):
        raise MalformedBodyError("SyntaxError: Unexpected token in JSON at position 0")
    return body


def html(status: int, text: str) -> Answer:
    """The page that Express or a proxy shows."""
    return Answer(status, HTML_PAGE.format(text).encode(), "text/html")


async def respond(request: web.Request, answer: Answer, name: str | None = "") -> web.Response:
    """Turn an answer into a response, or never answer.

    The server adds `session` to the answer when the request's Content-Type is exactly JSON: `name`, which is "" for a
    session that it did not know before the call, and None (no field) for one whose name it has lost.
    """
    if answer is NEVER:
        await anyio.sleep_forever()
    body = answer.body
    if isinstance(body, bytes):
        return web.Response(status=answer.status, body=body, content_type=answer.content_type)
    if isinstance(body, dict) and not body.get("session") and request.headers.get("Content-Type") == JSON:
        body = body if name is None else body | {"session": name}
    return web.Response(
        status=answer.status, body=_encode(body), headers={"Content-Type": "application/json; charset=utf-8"}
    )


def serve(host: Host, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler of an authenticated route."""

    async def handle(request: web.Request) -> web.StreamResponse:
        host.world.ledger.note_call(route.name)
        try:
            body = await read_body(request)
        except MalformedBodyError as error:
            return await respond(request, html(400, str(error)))
        except web.HTTPRequestEntityTooLarge:
            return await respond(request, html(413, "PayloadTooLargeError: request entity too large"))
        name, _, path_token = request.match_info["session"].partition(":")
        refusal = await _authenticate(host, name, path_token, request.headers.get("Authorization"))
        if refusal is not None:
            return await respond(request, refusal)
        call = Call(host, route.name, request, host.session(name), body)
        host.world.ledger.calls_of[name, route.name] += 1
        remembered = call.session.remembered_name
        answer = await under_faults(host, route.name, name, request, partial(_carry_out, call, route))
        return await respond(request, answer, remembered)

    return handle


async def _authenticate(host: Host, session: str, path_token: str, header: str | None) -> Answer | None:
    token = path_token or (header or "").partition(" ")[2]
    if not token:
        return NO_TOKEN
    await pay_for_bcrypt(host)
    if not is_valid(token, session, host.secret) or host.session(session).refuses_token():
        return WRONG_TOKEN
    return None


async def pay_for_bcrypt(host: Host) -> None:
    """Wait for a core and for one hash on it."""
    cost = host.world.timings.auth
    if cost > 0:
        async with host.auth_places:
            await anyio.sleep(cost)


async def under_faults(
    host: Host, route: str, session: str | None, request: web.Request, act: Callable[[], Awaitable[Answer]]
) -> Answer:
    """What `act` answers, or what is scripted instead of it."""
    if _is_silent(host, route, request):
        return NEVER
    fault = host.faults.take(route, session)
    if fault is None:
        return await act()
    if fault.delay > 0:
        await anyio.sleep(fault.delay)
    answer = await act() if fault.has_effect else NEVER
    if fault.late > 0:
        await anyio.sleep(fault.late)
    return answer if fault.answer == "own" else _spoil(request, route, fault)


def _is_silent(host: Host, route: str, request: web.Request) -> bool:
    """Whether the real server would never answer this GET because it carries a Content-Type."""
    silent = host.world.manners.silent_with_content_type
    return request.method == "GET" and route in silent and "Content-Type" in request.headers


def _spoil(request: web.Request, route: str, fault: Fault) -> Answer:
    """The fault's answer instead of the call's own."""
    match fault.answer:
        case "nothing":
            return NEVER
        case "cut":
            if request.transport is not None:
                request.transport.abort()
            return Answer(500, b"", "text/plain")
        case "empty":
            return Answer(201, {"status": "success", "response": [], "mapper": "return"})
        case "html":
            return html(fault.status or 502, "Bad Gateway")
        case _:
            status, body = error_of(route)
            return Answer(fault.status or status, body)


async def _carry_out(call: Call, route: Route) -> Answer:
    if not route.needs_page:
        return await route.handler(call)
    refused_numbers = _reach(call)
    if refused_numbers is None:
        return DISCONNECTED
    if len(refused_numbers) > 1:  # the second refusal fails in the server, and nothing goes ahead
        return call.refusal or DISCONNECTED
    answer = await route.handler(call)
    return call.refusal or answer


def _reach(call: Call) -> list[str] | None:
    """Fill `targets`; the numbers that are said not to exist, or None if there is no page to ask."""
    if not call.session.page.answers:
        return None
    body = call.body
    try:
        call.targets = recipients(body.get("phone"), body)
    except TypeError:
        return None
    if body.get("isGroup") or body.get("isNewsletter"):
        return []
    refused = [user for target in call.targets if (user := target.partition("@")[0]) in call.host.world.numbers]
    if refused:
        message = f"O número {refused[0]} não existe."
        call.refusal = Answer(400, {"response": None, "status": "Connected", "message": message})
    return refused
