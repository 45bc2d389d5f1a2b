"""How the tests talk to the simulated gateway: over real HTTP with httpx, and with the real python-socketio client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import httpx
import socketio

from wa_supervisor.simulator import Person, SimulatedGateway
from wa_supervisor.simulator.bell import Bell

PATIENCE = 5.0
"""Seconds after which something that should have happened counts as not happening."""

PAYLOADS = Path(__file__).parent.parent / "payloads"


def sample(name: str) -> Any:  # noqa: ANN401 - recorded JSON of any shape
    """The payload of a recorded sample."""
    return json.loads((PAYLOADS / f"{name}.json").read_text())["payload"]


class Caller:
    """Calls one session's routes, with its token."""

    def __init__(self, gateway: SimulatedGateway, session: str, http: httpx.AsyncClient) -> None:
        self.gateway = gateway
        self.session = session
        self.http = http
        self.token = ""

    async def get(self, route: str, **query: str | int) -> httpx.Response:
        """GET without a Content-Type, as one must."""
        return await self.http.get(self.path(route), params=query, headers=self.headers)

    async def post(self, route: str, body: Mapping[str, object] | None = None, **fields: object) -> httpx.Response:
        """POST the fields as JSON."""
        return await self.http.post(self.path(route), json=dict(body or {}) | fields, headers=self.headers)

    async def send(self, chat: str, text: str, **flags: bool) -> httpx.Response:
        """`send-message`."""
        return await self.post("send-message", flags, phone=chat, message=text)

    def path(self, route: str) -> str:
        """Below this session."""
        return f"/api/{self.session}/{route}"

    @property
    def headers(self) -> dict[str, str]:
        """What authenticates."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    async def authenticate(self) -> None:
        """Get a token."""
        answer = await self.http.post(self.path(f"{self.gateway.secret}/generate-token"))
        self.token = answer.json()["token"]

    async def connect(self) -> None:
        """Start the session and wait until messages are heard."""
        await self.post("start-session")
        with anyio.fail_after(PATIENCE):
            await self.gateway.until(lambda gateway: gateway.session(self.session).is_running)

    async def until_status(self, status: str) -> None:
        """Wait until the session reports this."""
        with anyio.fail_after(PATIENCE):
            await self.gateway.until(lambda gateway: gateway.session(self.session).status == status)

    async def status(self) -> str:
        """What status-session says."""
        answer = await self.get("status-session")
        status: str = answer.json()["status"]
        return status


@asynccontextmanager
async def caller(gateway: SimulatedGateway, session: str) -> AsyncIterator[Caller]:
    """A caller with a token."""
    async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE, trust_env=False) as http:
        calling = Caller(gateway, session, http)
        await calling.authenticate()
        yield calling


class Listener:
    """Everything that came on Socket.IO, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.is_connected = False
        self._bell = Bell()

    def note(self, event: str, payload: object = None) -> None:
        """An event came."""
        self.heard.append((event, payload))
        self._bell.ring()

    def note_end(self, *_reason: object) -> None:
        """The connection ended."""
        self.is_connected = False
        self._bell.ring()

    def of(self, event: str) -> list[Any]:
        """The payloads of one kind of event."""
        return [payload for name, payload in self.heard if name == event]

    def texts(self, *, from_me: bool = False) -> list[str]:
        """The bodies of the messages that came."""
        messages = [payload["response"] for payload in self.of("received-message")]
        return [message["body"] for message in messages if message["fromMe"] is from_me]

    async def until(self, holds: Callable[[Listener], object]) -> None:
        """Wait until `holds(listener)`, for a while."""
        with anyio.fail_after(PATIENCE):
            await self._bell.until(lambda: holds(self))

    async def next(self, event: str, count: int = 1) -> Any:  # noqa: ANN401 - JSON of any shape
        """The last payload of `event`, once `count` of them have come."""
        await self.until(lambda listener: len(listener.of(event)) >= count)
        return self.of(event)[-1]


@asynccontextmanager
async def listener(
    gateway: SimulatedGateway, *, path: str = "/socket.io/", transports: tuple[str, ...] = ("websocket",)
) -> AsyncIterator[Listener]:
    """A connected listener."""
    listening = Listener()
    async with aiohttp.ClientSession() as http:
        client = socketio.AsyncClient(
            reconnection=False, http_session=http, websocket_extra_options={"max_msg_size": 64 * 1024 * 1024}
        )
        client.on("*", listening.note)
        client.on("disconnect", listening.note_end)
        await client.connect(gateway.url, socketio_path=path.strip("/"), transports=list(transports))
        listening.is_connected = True
        try:
            yield listening
        finally:
            with anyio.move_on_after(PATIENCE, shield=True):
                await client.disconnect()


def anna(gateway: SimulatedGateway) -> Person:
    """Somebody with a phone number."""
    return gateway.person("5511900000077@c.us", name="Anna Contact")


def lena(gateway: SimulatedGateway) -> Person:
    """Somebody known by a lid of 14 digits, hence as short as a phone number."""
    return gateway.person("12345000006789@lid", name="Lena")


GROUP = "120363000000000042@g.us"
