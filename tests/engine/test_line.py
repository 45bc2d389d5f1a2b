"""Whatever a gateway's port does, a session's line ends it, names it, and lets nobody through that was cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import anyio
import pytest

from tests.engine.virtual_time import virtual_backend
from tests.fakes.gateway import FakeGateway
from wa_supervisor.domain.errors import CutOffError, GatewayAnswerError, HungError, LeakedCancellationError
from wa_supervisor.domain.gateway import GatewayHealth, GatewayStatus, SessionAccess, SessionReport, StartOptions
from wa_supervisor.domain.names import ChatId, GatewayName, SessionName, StanzaId
from wa_supervisor.domain.sending import NotSent, Repeat, SendOutcome, Sent, Unknown
from wa_supervisor.engine.line import Line
from wa_supervisor.engine.ports import MayLeave, always

pytestmark = pytest.mark.anyio

LIMIT = 200.0
ACCESS = SessionAccess(session=SessionName("a-number"))
CHAT = ChatId("5511900000077@c.us")
ASYNCIO: tuple[str, Mapping[str, object]] = virtual_backend("asyncio")

Call = Callable[[Line], Awaitable[object]]

CALLS: Mapping[str, tuple[str, Call]] = {
    "health": ("healthz", lambda line: line.health()),
    "start": ("start-session", lambda line: line.start(ACCESS, StartOptions())),
    "report": ("status-session", lambda line: line.report(ACCESS)),
    "is_connected": ("check-connection-session", lambda line: line.is_connected(ACCESS)),
    "close": ("close-session", lambda line: line.close(ACCESS)),
    "set_typing": ("typing", lambda line: line.set_typing(ACCESS, CHAT, on=True)),
    "chats": ("list-chats", lambda line: line.chats(ACCESS, count=10)),
    "messages": ("get-messages", lambda line: line.messages(ACCESS, CHAT, count=10)),
    "number_exists": ("check-number-status", lambda line: line.number_exists(ACCESS, CHAT)),
}

every_call = pytest.mark.parametrize("method", list(CALLS))


class LeakyGateway(FakeGateway):
    """A gateway whose calls are cancelled by a library, and not by us."""

    async def report(self, access: SessionAccess) -> SessionReport:
        """Leak a cancellation."""
        del access
        raise asyncio.CancelledError("a library's own")

    async def send_text(
        self,
        access: SessionAccess,
        chat: ChatId,
        text: str,
        *,
        stanza: StanzaId | None = None,
        may_leave: MayLeave = always,
    ) -> SendOutcome:
        """Leak a cancellation."""
        del access, chat, text, stanza, may_leave
        raise asyncio.CancelledError("a library's own")


def connected() -> FakeGateway:
    gateway = FakeGateway(GatewayName("main"))
    gateway.session("a-number").connect()
    return gateway


async def test_what_the_gateway_answers_goes_through_as_it_is() -> None:
    gateway = connected()
    line = Line(gateway, LIMIT)
    assert line.name == "main"
    assert repr(line) == "<Line to main>"
    assert isinstance(await line.health(), GatewayHealth)
    assert (await line.report(ACCESS)).status is GatewayStatus.CONNECTED
    assert await line.is_connected(ACCESS)
    assert isinstance(await line.send_text(ACCESS, CHAT, "hello"), Sent)
    await line.set_typing(ACCESS, CHAT, on=True)
    assert gateway.typing == {("a-number", CHAT)}
    assert [row.chat for row in await line.chats(ACCESS, count=10)] == [CHAT]
    assert await line.number_exists(ACCESS, CHAT)
    await line.close(ACCESS)
    await line.start(ACCESS, StartOptions(phone="5511900000000"))
    assert gateway.session("a-number").options.phone == "5511900000000"


async def test_what_is_asked_of_a_send_and_of_a_history_goes_through_as_it_is() -> None:
    gateway = connected()
    line = Line(gateway, LIMIT)
    named = [StanzaId(f"3EB000{number}") for number in range(4)]
    for name in named:
        assert await line.send_text(ACCESS, CHAT, "hello", stanza=name) == Sent(stanzas=(name,), acknowledged=True)
    held_back = await line.send_text(ACCESS, CHAT, "hello", may_leave=lambda: False)
    assert isinstance(held_back, NotSent)
    assert held_back.reason == "Superseded"
    second = f"true_{CHAT}_{named[1]}"
    for found, expected in (
        (await line.messages(ACCESS, CHAT, count=10, after=second), named[2:]),
        (await line.messages(ACCESS, CHAT, count=10, before=second), named[:1]),
        (await line.messages(ACCESS, CHAT, count=2), named[2:]),
    ):
        assert [each.place.id.stanza for each in found if each.place] == expected
    assert list(await line.chats(ACCESS, count=0)) == []
    gateway.missing_numbers.add(CHAT)
    assert not await line.number_exists(ACCESS, CHAT)


@every_call
async def test_an_error_of_the_gateway_goes_through_as_it_is(method: str) -> None:
    gateway = connected()
    error = GatewayAnswerError("500")
    gateway.fail_next(method, error)
    with pytest.raises(GatewayAnswerError) as caught:
        await CALLS[method][1](Line(gateway, LIMIT))
    assert caught.value is error


@every_call
async def test_a_call_that_hangs_is_ended_and_named(method: str) -> None:
    gateway = connected()
    gateway.hold(method)
    what, call = CALLS[method]
    began = anyio.current_time()
    with pytest.raises(HungError, match=rf"{what} neither answered nor failed in 200 s"):
        await call(Line(gateway, LIMIT))
    assert anyio.current_time() - began == pytest.approx(LIMIT)


async def test_a_slow_answer_within_the_limit_is_an_answer() -> None:
    gateway = connected()
    gateway.hold("report")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_release_after, gateway, "report", LIMIT - 1)
        assert (await Line(gateway, LIMIT).report(ACCESS)).status is GatewayStatus.CONNECTED


async def _release_after(gateway: FakeGateway, method: str, seconds: float) -> None:
    await anyio.sleep(seconds)
    gateway.release(method)


async def test_what_became_of_a_message_whose_sending_hung_is_unknown() -> None:
    gateway = connected()
    gateway.hold("send_text")
    outcome = await Line(gateway, LIMIT).send_text(ACCESS, CHAT, "hello")
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "Hung"


@every_call
async def test_nothing_goes_through_a_line_that_was_cut(method: str) -> None:
    gateway = connected()
    line = Line(gateway, LIMIT)
    line.cut()
    assert repr(line) == "<Line to main, cut>"
    with pytest.raises(CutOffError):
        await CALLS[method][1](line)
    assert gateway.calls.total() == 0


async def test_a_message_through_a_line_that_was_cut_is_not_sent_and_never_will_be() -> None:
    gateway = connected()
    line = Line(gateway, LIMIT)
    line.cut()
    outcome = await line.send_text(ACCESS, CHAT, "hello")
    assert isinstance(outcome, NotSent)
    assert (outcome.reason, outcome.repeat) == ("CutOff", Repeat.NEVER)
    assert gateway.calls.total() == 0


async def test_one_line_that_was_cut_leaves_the_other_of_the_same_session_whole() -> None:
    gateway = connected()
    first, second = Line(gateway, LIMIT), Line(gateway, LIMIT)
    first.cut()
    assert await second.is_connected(ACCESS)


@pytest.mark.parametrize("anyio_backend", [ASYNCIO])
async def test_a_cancellation_that_nobody_gave_becomes_an_error() -> None:
    with pytest.raises(LeakedCancellationError, match="status-session was cancelled, and nobody did it") as caught:
        await Line(LeakyGateway(), LIMIT).report(ACCESS)
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    await anyio.sleep(1)  # and the task lives on


@pytest.mark.parametrize("anyio_backend", [ASYNCIO])
async def test_what_became_of_a_message_whose_sending_leaked_a_cancellation_is_unknown() -> None:
    outcome = await Line(LeakyGateway(), LIMIT).send_text(ACCESS, CHAT, "hello")
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "LeakedCancellation"


@every_call
async def test_our_own_cancellation_goes_through(method: str) -> None:
    gateway = connected()
    gateway.hold(method)
    is_after = False
    with anyio.move_on_after(5) as scope:
        await CALLS[method][1](Line(gateway, LIMIT))
        is_after = True
    assert scope.cancelled_caught
    assert not is_after


async def test_our_own_cancellation_of_a_send_goes_through() -> None:
    gateway = connected()
    gateway.hold("send_text")
    with anyio.move_on_after(5) as scope:
        await Line(gateway, LIMIT).send_text(ACCESS, CHAT, "hello")
    assert scope.cancelled_caught
