"""What may not leave does not leave: not one byte of it, on a new connection or a kept one, at the first try or later.

The server here is a bare socket that keeps every byte.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketAttribute, SocketStream

from wa_supervisor.adapters.gateway.client import HttpGateway
from wa_supervisor.domain.gateway import GatewayStatus, SessionAccess
from wa_supervisor.domain.names import AgentId, ChatId, GatewayName, SessionName
from wa_supervisor.domain.sending import NotSent, Repeat, SendOutcome, Sent, stanza_for

pytestmark = pytest.mark.anyio

ACME = SessionAccess(session=SessionName("acme"), token="given")
ANNA = ChatId("5511900000077@c.us")
NAME = stanza_for(AgentId("support"), "1-0")

SENT = f'{{"response": [{{"id": "true_{ANNA}_{NAME}", "ack": 1}}]}}'.encode()
REFUSED = b'{"message": "Check that the Session and Token are correct"}'
ANSWERS = {
    b"send-message": (b"201 Created", SENT),
    b"status-session": (b"200 OK", b'{"status": "CONNECTED"}'),
    b"generate-token": (b"201 Created", b'{"status": "success", "token": "made"}'),
}

_WHOLE = re.compile(rb"(?:GET|POST) \S*?([a-z-]+) HTTP/1\.1\r\n(.*?)\r\n\r\n", re.DOTALL)
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_TOKEN = re.compile(rb"authorization: Bearer (\w+)", re.IGNORECASE)


@pytest.fixture
def anyio_backend() -> str:
    """Aiohttp knows no other."""
    return "asyncio"


@dataclass(slots=True)
class Bare:
    """A server that keeps what it reads, connection by connection, and answers whole requests."""

    url: str = ""
    heard: list[bytearray] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Routes of whole requests, in order."""
    open: int = 0
    """Connections that have not ended."""
    refused: set[str] = field(default_factory=set)
    """Tokens that are not valid."""

    async def serve(self, stream: SocketStream) -> None:
        """Treat one connection."""
        heard = bytearray()
        self.heard.append(heard)
        begin = 0
        self.open += 1
        async with stream:
            try:
                while True:
                    heard += await stream.receive()
                    while (end := self._end(heard, begin)) is not None:
                        answer = self._answer(bytes(heard[begin:end]))
                        begin = end
                        await stream.send(answer)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                self.open -= 1

    async def until_all_ended(self) -> None:
        """Wait until nothing more can come."""
        while self.open:  # noqa: ASYNC110  # a test's server, on loopback
            await anyio.sleep(0.005)

    @staticmethod
    def _end(heard: bytearray, begin: int) -> int | None:
        head = _WHOLE.match(heard, begin)
        if head is None:
            return None
        length = _LENGTH.search(head[2])
        end = head.end() + (int(length[1]) if length else 0)
        return end if len(heard) >= end else None

    def _answer(self, request: bytes) -> bytes:
        head = _WHOLE.match(request)
        assert head is not None
        self.asked.append(head[1].decode())
        token = _TOKEN.search(head[2])
        is_refused = token is not None and token[1].decode() in self.refused
        status, body = (b"401 Unauthorized", REFUSED) if is_refused else ANSWERS[head[1]]
        return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
            status,
            len(body),
            body,
        )

    @property
    def everything(self) -> bytes:
        """What was read, on all connections."""
        return b"".join(bytes(each) for each in self.heard)


@asynccontextmanager
async def bare_server() -> AsyncIterator[tuple[Bare, HttpGateway]]:
    """Run a server, and a client for it."""
    bare = Bare()
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, bare.serve)
        bare.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"  # noqa: S610  # not Django
        gateway = HttpGateway(GatewayName("main"), bare.url, secret="s")
        try:
            with anyio.fail_after(20):
                await anyio.lowlevel.checkpoint()
                yield bare, gateway
        finally:
            await gateway.aclose()
            tasks.cancel_scope.cancel()


Word = Literal["yes", "no"]


class Asked:
    """Gives one answer after the other, and counts."""

    def __init__(self, answers: Sequence[Word]) -> None:
        self._answers = list(answers)
        self.times = 0

    def __call__(self) -> bool:
        self.times += 1
        return self._answers.pop(0) == "yes"


def is_superseded(outcome: SendOutcome) -> bool:
    """Say whether it certainly was not sent, and must not be by us."""
    return isinstance(outcome, NotSent) and (outcome.reason, outcome.repeat) == ("Superseded", Repeat.NEVER)


async def send(gateway: HttpGateway, text: str, *answers: Word) -> tuple[SendOutcome, int]:
    """Send with these answers to "may it leave?"; how often it was asked."""
    asked = Asked(answers)
    outcome = await gateway.send_text(ACME, ANNA, text, stanza=NAME, may_leave=asked)
    return outcome, asked.times


TEXTS: Sequence[str] = ["hello", "x" * 65_536, "\U0001f600" * 65_536]
"""One that goes with the headers, and others that take several pieces."""


@pytest.mark.parametrize("text", TEXTS, ids=["short", "long", "longest"])
async def test_on_a_new_connection_not_a_byte_leaves_and_the_next_request_works(text: str) -> None:
    async with bare_server() as (bare, gateway):
        outcome, times = await send(gateway, text, "no")
        assert is_superseded(outcome)
        assert times == 1
        assert bare.everything == b""
        assert await send(gateway, "next", "yes") == (Sent(stanzas=(NAME,), acknowledged=True), 1)
        assert bare.asked == ["send-message"]
        await gateway.aclose()
        await bare.until_all_ended()
        assert b"next" in bare.everything
        assert text[:5].encode() not in bare.everything


@pytest.mark.parametrize("text", TEXTS, ids=["short", "long", "longest"])
async def test_on_a_kept_connection_not_a_byte_leaves_and_the_next_request_works(text: str) -> None:
    async with bare_server() as (bare, gateway):
        assert (await gateway.report(ACME)).status is GatewayStatus.CONNECTED
        before = bare.everything
        outcome, times = await send(gateway, text, "no")
        assert is_superseded(outcome)
        assert times == 1
        assert bare.everything == before
        assert (await gateway.report(ACME)).status is GatewayStatus.CONNECTED
        assert await send(gateway, "next", "yes") == (Sent(stanzas=(NAME,), acknowledged=True), 1)
        await gateway.aclose()
        await bare.until_all_ended()
        assert bare.asked == ["status-session", "status-session", "send-message"]
        assert text[:5].encode() not in bare.everything


async def test_a_yes_for_a_refused_token_is_no_yes_for_the_fresh_one() -> None:
    async with bare_server() as (bare, gateway):
        bare.refused.add("given")
        outcome, times = await send(gateway, "hello", "yes", "no")
        assert is_superseded(outcome)
        assert times == 2
        assert bare.asked == ["send-message", "generate-token"]
        assert bare.everything.count(b"send-message") == 1
        outcome, times = await send(gateway, "next", "yes")
        assert outcome == Sent(stanzas=(NAME,), acknowledged=True)
        await gateway.aclose()
        await bare.until_all_ended()
        assert bare.asked == ["send-message", "generate-token", "send-message"]
        assert bare.everything.count(b"hello") == 1


async def test_a_no_asks_for_nothing_else() -> None:
    async with bare_server() as (bare, gateway):
        for _ in range(20):
            assert is_superseded((await send(gateway, "hello", "no"))[0])
        await gateway.aclose()
        await bare.until_all_ended()
        assert bare.everything == b""
