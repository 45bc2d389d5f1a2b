"""What the engine relies on of a gateway's calls, against the fake and against a simulated gateway over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Literal, Protocol

import anyio
import anyio.lowlevel
import pytest

from tests.fakes.gateway import FakeGateway
from wa_supervisor.adapters.gateway.client import HttpGateway
from wa_supervisor.domain.chat_history import Found
from wa_supervisor.domain.errors import (
    GatewayAnswerError,
    GatewayUnreachableError,
    TokenRefusedError,
    WrongSecretError,
)
from wa_supervisor.domain.gateway import GatewayStatus, Proxy, SessionAccess, StartOptions
from wa_supervisor.domain.messages import InboundMessage, OwnMessage, read_message
from wa_supervisor.domain.names import AgentId, ChatId, GatewayName, SessionName
from wa_supervisor.domain.sending import NotSent, Repeat, Sent, Unknown, stanza_for
from wa_supervisor.engine.ports import Gateway
from wa_supervisor.simulator import Fault, SimulatedGateway, simulated_gateway

pytestmark = pytest.mark.anyio

PATIENT = 20.0
"""Seconds after which a test that hangs fails."""

MAIN = GatewayName("main")
ACME = SessionAccess(session=SessionName("acme"))
OTHER = SessionAccess(session=SessionName("other"))
ANNA = ChatId("5511900000077@c.us")
SHORT_LID = ChatId("12345000006789@lid")
LONG_LID = ChatId("123450000067890@lid")
GROUP = ChatId("120363000000000042@g.us")
BEN = ChatId("5511900000078@c.us")
CARL = ChatId("5511900000079@c.us")
NAME = stanza_for(AgentId("support"), "1786000000000-0")
CHANNEL = ChatId("120363000000000099@newsletter")

Spoilt = Literal["error", "nonsense", "nothing", "cut"]
"""A 500, a proxy's page, no answer at all, a cut connection."""


@pytest.fixture
def anyio_backend() -> str:
    """The adapter's library is asyncio only."""
    return "asyncio"


class Side(Protocol):
    """One implementation, and the hand of the test on what is behind it."""

    gateway: Gateway
    hasty: Gateway
    """The same with time-outs that a test can wait for."""

    def needs_login(self, session: str) -> None: ...
    def scan(self, session: str) -> None: ...
    def stick(self, session: str) -> None: ...
    def crash(self, session: str) -> None: ...
    def die(self, session: str) -> None: ...
    def refuse_tokens(self) -> None: ...
    def change_secret(self) -> None: ...
    def spoil(self, answer: Spoilt) -> None: ...
    def spoil_send(self, answer: Spoilt, *, done: bool) -> None: ...
    def send_nothing(self) -> None: ...
    async def go_down(self) -> None: ...
    async def restart(self) -> None: ...
    def writes(self, session: str, chat: str, text: str) -> str:
        """Let a person write; the stanza."""
        ...

    def owner_writes(self, session: str, chat: str, text: str) -> None: ...
    def list_as(self, chat: ChatId, listed: ChatId) -> None:
        """Let answers name a chat otherwise than events do."""
        ...

    def refuse_names(self) -> None: ...
    def lose_number(self, chat: ChatId) -> None: ...
    def received(self) -> Sequence[tuple[str, str]]: ...
    def typing(self) -> Sequence[str]: ...


class FakeSide:
    """The fake."""

    def __init__(self) -> None:
        self.fake = FakeGateway(MAIN)
        self.gateway: Gateway = self.fake
        self.hasty: Gateway = self.fake

    def needs_login(self, session: str) -> None:
        self.fake.session(session).has_login = False

    def scan(self, session: str) -> None:
        self.fake.session(session).connect()

    def stick(self, session: str) -> None:
        self.fake.session(session).sticks = True

    def crash(self, session: str) -> None:
        self.fake.session(session).has_page = False

    def die(self, session: str) -> None:
        self.fake.session(session).has_socket = False

    def refuse_tokens(self) -> None:
        self.fake.refuses_tokens = True

    def change_secret(self) -> None:
        self.fake.has_right_secret = False

    def spoil(self, answer: Spoilt) -> None:
        del answer
        self.fake.is_readable = False

    def spoil_send(self, answer: Spoilt, *, done: bool) -> None:
        self.fake.answer_next(Unknown(reason="Scripted", message=answer), done=done)

    def send_nothing(self) -> None:
        outcome = NotSent(reason="NothingSent", message="scripted", repeat=Repeat.NEVER)
        self.fake.answer_next(outcome, done=False)

    async def go_down(self) -> None:
        self.fake.is_up = False

    async def restart(self) -> None:
        self.fake.restart()

    def writes(self, session: str, chat: str, text: str) -> str:
        payload = self.fake.writes(session, chat, text, at=1_790_000_000.0 + anyio.current_time())
        place = read_message(payload, MAIN).place
        assert place is not None
        return place.id.stanza

    def owner_writes(self, session: str, chat: str, text: str) -> None:
        self.fake.owner_writes(session, chat, text, at=1_790_000_000.0 + anyio.current_time())

    def list_as(self, chat: ChatId, listed: ChatId) -> None:
        self.fake.listed_as[chat] = listed

    def refuse_names(self) -> None:
        self.fake.refuses_names = True

    def lose_number(self, chat: ChatId) -> None:
        self.fake.missing_numbers.add(chat)

    def received(self) -> Sequence[tuple[str, str]]:
        return [(sent.chat, sent.text) for sent in self.fake.received]

    def typing(self) -> Sequence[str]:
        return [chat for _, chat in self.fake.typing]


class RealSide:
    """The client, and a simulated gateway."""

    def __init__(self, simulated: SimulatedGateway, gateway: HttpGateway, hasty: HttpGateway) -> None:
        self.simulated = simulated
        self.gateway: Gateway = gateway
        self.hasty: Gateway = hasty

    def needs_login(self, session: str) -> None:
        self.simulated.session(session).needs_login()

    def scan(self, session: str) -> None:
        self.simulated.session(session).scan()

    def stick(self, session: str) -> None:
        self.simulated.session(session).stick()

    def crash(self, session: str) -> None:
        self.simulated.session(session).crash_browser()

    def die(self, session: str) -> None:
        self.simulated.session(session).die("ack0")

    def refuse_tokens(self) -> None:
        self.simulated.session(ACME.session).refuse_tokens()

    def change_secret(self) -> None:
        self.simulated.change_secret("another")

    def spoil(self, answer: Spoilt) -> None:
        self.simulated.script(_fault("*", answer, done=False))

    def spoil_send(self, answer: Spoilt, *, done: bool) -> None:
        self.simulated.script(_fault("send-message", answer, done=done))

    def send_nothing(self) -> None:
        self.simulated.script(Fault(route="send-message", answer="empty"))

    async def go_down(self) -> None:
        await self.simulated.go_down()

    async def restart(self) -> None:
        await self.simulated.restart(start_stored=False)

    def writes(self, session: str, chat: str, text: str) -> str:
        group = chat if chat.endswith("@g.us") else None
        person = self.simulated.person(ANNA if group else chat)
        return person.writes(session, text, group=group).stanza

    def owner_writes(self, session: str, chat: str, text: str) -> None:
        self.simulated.owner_writes(session, chat, text)

    def list_as(self, chat: ChatId, listed: ChatId) -> None:
        self.simulated.person(chat, listed_as=listed)

    def refuse_names(self) -> None:
        world = self.simulated.world
        world.manners = replace(world.manners, refuses_names_of_listed=True)

    def lose_number(self, chat: ChatId) -> None:
        self.simulated.number_is(chat.partition("@")[0], "missing")

    def received(self) -> Sequence[tuple[str, str]]:
        return [(entry.chat, entry.text) for entry in self.simulated.ledger.received]

    def typing(self) -> Sequence[str]:
        return [chat for _, chat in self.simulated.ledger.indicators_on]


def _fault(route: str, answer: Spoilt, *, done: bool) -> Fault:
    match answer:
        case "nonsense":
            return Fault(route=route, answer="html", done=done, status=200)
        case _:
            return Fault(route=route, answer=answer, done=done)


@asynccontextmanager
async def fake_side() -> AsyncIterator[Side]:
    yield FakeSide()


@asynccontextmanager
async def real_side() -> AsyncIterator[Side]:
    async with simulated_gateway() as simulated:
        gateway = HttpGateway(MAIN, simulated.url, secret=simulated.secret)
        hasty = HttpGateway(MAIN, simulated.url, secret=simulated.secret, request_timeout=0.3, send_timeout=0.3)
        try:
            yield RealSide(simulated, gateway, hasty)
        finally:
            await gateway.aclose()
            await hasty.aclose()
            assert not simulated.ledger.forbidden
            assert not simulated.ledger.logouts


@pytest.fixture(params=[fake_side, real_side], ids=["fake", "real"])
async def side(request: pytest.FixtureRequest) -> AsyncIterator[Side]:
    async with request.param() as made:
        yield made


async def until(gateway: Gateway, status: GatewayStatus, access: SessionAccess = ACME) -> None:
    """Ask until the session reports this."""
    with anyio.fail_after(PATIENT):
        while (await gateway.report(access)).status is not status:  # noqa: ASYNC110  # a gateway tells only who asks
            await anyio.sleep(0.005)


async def connect(side: Side, access: SessionAccess = ACME) -> None:
    """Start the session and wait until it is connected."""
    await side.gateway.start(access, StartOptions())
    await until(side.gateway, GatewayStatus.CONNECTED, access)


async def caller(side: Side, answer: Spoilt) -> Gateway:
    """Give the gateway for calls that will get this answer, with a token that was made before."""
    if answer != "nothing":
        return side.gateway
    while True:
        try:
            await side.hasty.report(ACME)
        except GatewayAnswerError:
            continue
        return side.hasty


# --- the gateway ---------------------------------------------------------------------------------------------------


async def test_its_name_is_the_operators(side: Side) -> None:
    assert side.gateway.name == MAIN


async def test_a_restart_shows_in_the_uptime(side: Side) -> None:
    with anyio.fail_after(PATIENT):
        while (before := (await side.gateway.health()).uptime) < 0.05:  # noqa: ASYNC110  # it tells only who asks
            await anyio.sleep(0.01)
    await side.restart()
    assert (await side.gateway.health()).uptime < before


async def test_a_gateway_that_is_down_is_unreachable_for_everything(side: Side) -> None:
    await connect(side)
    await side.go_down()
    with pytest.raises(GatewayUnreachableError):
        await side.gateway.health()
    with pytest.raises(GatewayUnreachableError):
        await side.gateway.report(ACME)
    with pytest.raises(GatewayUnreachableError):
        await side.gateway.start(OTHER, StartOptions())
    with pytest.raises(GatewayUnreachableError):
        await side.gateway.chats(ACME, count=10)
    with pytest.raises(GatewayUnreachableError):
        await side.gateway.messages(ACME, ANNA, count=10)
    with pytest.raises(GatewayUnreachableError):
        await side.gateway.number_exists(ACME, ANNA)
    outcome = await side.gateway.send_text(ACME, ANNA, "hello")
    assert isinstance(outcome, NotSent)
    assert outcome.repeat is Repeat.WHEN_CONNECTED


@pytest.mark.parametrize("answer", ["error", "nonsense", "nothing", "cut"])
async def test_an_answer_that_is_none_is_an_answer_error_for_everything(side: Side, answer: Spoilt) -> None:
    await connect(side)
    gateway = await caller(side, answer)
    side.spoil(answer)
    with anyio.fail_after(PATIENT):
        with pytest.raises(GatewayAnswerError):
            await gateway.report(ACME)
        with pytest.raises(GatewayAnswerError):
            await gateway.is_connected(ACME)
        with pytest.raises(GatewayAnswerError):
            await gateway.start(ACME, StartOptions())
        with pytest.raises(GatewayAnswerError):
            await gateway.set_typing(ACME, ANNA, on=True)
        with pytest.raises(GatewayAnswerError):
            await gateway.chats(ACME, count=10)
        with pytest.raises(GatewayAnswerError):
            await gateway.messages(ACME, ANNA, count=10)
        with pytest.raises(GatewayAnswerError):
            await gateway.number_exists(ACME, ANNA)
        assert isinstance(await gateway.send_text(ACME, ANNA, "hello"), Unknown)
    assert side.received() == []


# --- tokens --------------------------------------------------------------------------------------------------------


async def test_a_wrong_secret_is_told_and_nothing_is_sent(side: Side) -> None:
    side.change_secret()
    with pytest.raises(WrongSecretError):
        await side.gateway.report(ACME)
    outcome = await side.gateway.send_text(ACME, ANNA, "hello")
    assert isinstance(outcome, NotSent)
    assert outcome.repeat is Repeat.WHEN_CONNECTED


async def test_a_token_refused_twice_is_told_and_nothing_is_sent(side: Side) -> None:
    await connect(side)
    side.refuse_tokens()
    with pytest.raises(TokenRefusedError):
        await side.gateway.report(ACME)
    outcome = await side.gateway.send_text(ACME, ANNA, "hello")
    assert isinstance(outcome, NotSent)
    assert outcome.repeat is Repeat.WHEN_CONNECTED
    assert side.received() == []


# --- a session's life ----------------------------------------------------------------------------------------------


async def test_a_session_that_never_started_is_closed(side: Side) -> None:
    report = await side.gateway.report(ACME)
    assert (report.status, report.url_code) == (GatewayStatus.CLOSED, None)
    assert not await side.gateway.is_connected(ACME)


async def test_a_session_with_a_login_is_connected_once_started(side: Side) -> None:
    await connect(side)
    assert await side.gateway.is_connected(ACME)
    assert (await side.gateway.report(OTHER)).status is GatewayStatus.CLOSED


async def test_starting_a_connected_session_leaves_it_connected(side: Side) -> None:
    await connect(side)
    await side.gateway.start(ACME, StartOptions())
    assert (await side.gateway.report(ACME)).status is GatewayStatus.CONNECTED


async def test_a_session_without_a_login_offers_a_code_until_it_is_scanned(side: Side) -> None:
    side.needs_login(ACME.session)
    await side.gateway.start(ACME, StartOptions())
    await until(side.gateway, GatewayStatus.QRCODE)
    report = await side.gateway.report(ACME)
    assert report.url_code
    assert report.url_code not in repr(report)
    side.scan(ACME.session)
    await until(side.gateway, GatewayStatus.CONNECTED)
    assert (await side.gateway.report(ACME)).url_code is None


async def test_a_session_with_a_phone_asks_for_a_pairing_code(side: Side) -> None:
    side.needs_login(ACME.session)
    await side.gateway.start(ACME, StartOptions(phone="5511900000001", proxy=Proxy(url="http://10.0.0.1:3128")))
    await until(side.gateway, GatewayStatus.PHONECODE)


async def test_a_crashed_browser_shows_in_the_check_only(side: Side) -> None:
    await connect(side)
    side.crash(ACME.session)
    assert (await side.gateway.report(ACME)).status is GatewayStatus.CONNECTED
    assert not await side.gateway.is_connected(ACME)


async def test_closing_keeps_the_login(side: Side) -> None:
    await connect(side)
    await side.gateway.close(ACME)
    assert (await side.gateway.report(ACME)).status is GatewayStatus.CLOSED
    await connect(side)


async def test_closing_resets_a_stuck_session(side: Side) -> None:
    side.stick(ACME.session)
    await side.gateway.start(ACME, StartOptions())
    await until(side.gateway, GatewayStatus.INITIALIZING)
    await side.gateway.start(ACME, StartOptions())
    assert (await side.gateway.report(ACME)).status is GatewayStatus.INITIALIZING
    await side.gateway.close(ACME)
    assert (await side.gateway.report(ACME)).status is GatewayStatus.CLOSED


async def test_closing_a_session_that_was_never_started_does_no_harm(side: Side) -> None:
    await side.gateway.close(ACME)
    assert (await side.gateway.report(ACME)).status is GatewayStatus.CLOSED


# --- sending -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chat", [ANNA, SHORT_LID, LONG_LID, GROUP, CHANNEL])
async def test_a_text_reaches_exactly_its_chat_once(side: Side, chat: ChatId) -> None:
    await connect(side)
    outcome = await side.gateway.send_text(ACME, chat, "ol\u00e1 \U0001f600\n*x*")
    assert isinstance(outcome, Sent)
    assert outcome.acknowledged
    assert len(outcome.stanzas) == 1
    assert side.received() == [(chat, "ol\u00e1 \U0001f600\n*x*")]


@pytest.mark.parametrize("chat", ["5511900000077@c.us,5511900000078@c.us", "status@broadcast", "5511900000077", ""])
async def test_what_is_no_chat_gets_nothing(side: Side, chat: str) -> None:
    await connect(side)
    outcome = await side.gateway.send_text(ACME, ChatId(chat), "hello")
    assert isinstance(outcome, NotSent)
    assert outcome.repeat is Repeat.NEVER
    assert side.received() == []


async def test_a_session_that_is_not_connected_sends_later(side: Side) -> None:
    outcome = await side.gateway.send_text(ACME, ANNA, "hello")
    assert isinstance(outcome, NotSent)
    assert outcome.repeat is Repeat.WHEN_CONNECTED
    assert side.received() == []


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("answer", ["error", "nonsense", "nothing", "cut"])
async def test_a_send_without_a_proper_answer_is_unknown_and_not_repeated(
    side: Side, answer: Spoilt, *, done: bool
) -> None:
    await connect(side)
    gateway = await caller(side, answer)
    side.spoil_send(answer, done=done)
    with anyio.fail_after(PATIENT):
        assert isinstance(await gateway.send_text(ACME, ANNA, "hello"), Unknown)
    assert side.received() == ([(ANNA, "hello")] if done else [])


async def test_a_success_that_sent_nothing_is_no_success(side: Side) -> None:
    await connect(side)
    side.send_nothing()
    outcome = await side.gateway.send_text(ACME, ANNA, "hello")
    assert isinstance(outcome, NotSent)
    assert side.received() == []


async def test_a_text_that_whatsapp_does_not_take_is_not_acknowledged(side: Side) -> None:
    await connect(side)
    side.die(ACME.session)
    assert await side.gateway.is_connected(ACME)
    outcome = await side.gateway.send_text(ACME, ANNA, "hello")
    assert isinstance(outcome, Sent)
    assert not outcome.acknowledged
    assert side.received() == []


@pytest.mark.parametrize("chat", [ANNA, LONG_LID, GROUP])
async def test_typing_is_shown_and_hidden(side: Side, chat: ChatId) -> None:
    await connect(side)
    await side.gateway.set_typing(ACME, chat, on=True)
    assert side.typing() == [chat]
    await side.gateway.set_typing(ACME, chat, on=False)
    assert side.typing() == []


@pytest.mark.parametrize("chat", [SHORT_LID, CHANNEL])
async def test_typing_is_shown_to_nobody_where_a_stranger_would_see_it(side: Side, chat: ChatId) -> None:
    await connect(side)
    await side.gateway.set_typing(ACME, chat, on=True)
    assert side.typing() == []


# --- cancelling ----------------------------------------------------------------------------------------------------


async def test_cancelling_a_send_at_any_step_leaves_the_next_one_working_and_repeats_nothing(side: Side) -> None:
    await connect(side)
    has_ended = False
    step = 0

    async def send(text: str) -> None:
        nonlocal has_ended
        await side.gateway.send_text(ACME, ANNA, text)
        has_ended = True

    with anyio.fail_after(PATIENT):
        while not has_ended:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send, f"cancelled {step}")
                for _ in range(step):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            assert isinstance(await side.gateway.send_text(ACME, ANNA, f"kept {step}"), Sent)
            step += 1
    texts = [text for _, text in side.received()]
    assert len(texts) == len(set(texts))
    assert [text for text in texts if text.startswith("kept")] == [f"kept {number}" for number in range(step)]


# --- naming a message, and holding it back ---------------------------------------------------------------------------


@pytest.mark.parametrize("chat", [ANNA, SHORT_LID, LONG_LID])
async def test_a_message_to_a_person_is_sent_and_found_under_the_name_that_it_was_given(
    side: Side, chat: ChatId
) -> None:
    await connect(side)
    assert await side.gateway.send_text(ACME, chat, "hello", stanza=NAME) == Sent(stanzas=(NAME,), acknowledged=True)
    [found] = await side.gateway.messages(ACME, chat, count=10)
    assert isinstance(found.message, OwnMessage)
    assert (found.message.stanza, found.message.text) == (NAME, "hello")
    assert found.message.ack >= 1


@pytest.mark.parametrize("chat", [GROUP, CHANNEL])
async def test_a_message_to_nobody_alone_is_sent_without_the_name(side: Side, chat: ChatId) -> None:
    await connect(side)
    outcome = await side.gateway.send_text(ACME, chat, "hello", stanza=NAME)
    assert isinstance(outcome, Sent)
    assert outcome.stanzas != (NAME,)
    assert side.received() == [(chat, "hello")]


async def test_a_refused_name_sends_nothing_and_the_call_has_ended(side: Side) -> None:
    await connect(side)
    side.list_as(LONG_LID, ANNA)
    side.refuse_names()
    outcome = await side.gateway.send_text(ACME, LONG_LID, "hello", stanza=NAME)
    assert isinstance(outcome, Unknown)
    assert (outcome.reason, outcome.has_ended) == ("Http500", True)
    assert side.received() == []
    assert isinstance(await side.gateway.send_text(ACME, LONG_LID, "hello"), Sent)
    assert side.received() == [(LONG_LID, "hello")]


async def test_what_may_not_leave_is_not_sent_and_what_comes_next_is(side: Side) -> None:
    await connect(side)
    asked = 0

    def never() -> bool:
        nonlocal asked
        asked += 1
        return False

    outcome = await side.gateway.send_text(ACME, ANNA, "held back", stanza=NAME, may_leave=never)
    assert isinstance(outcome, NotSent)
    assert (outcome.reason, outcome.repeat) == ("Superseded", Repeat.NEVER)
    assert asked == 1
    assert isinstance(await side.gateway.send_text(ACME, ANNA, "sent", may_leave=lambda: True), Sent)
    assert side.received() == [(ANNA, "sent")]


# --- looking back ----------------------------------------------------------------------------------------------------


def stanzas(found: Sequence[Found]) -> list[str]:
    """Give the stanzas of what was found."""
    return [each.place.id.stanza for each in found if each.place is not None]


def anchor(found: Found) -> str:
    """Give the id by which the gateway knows it."""
    assert found.place is not None
    return found.place.mark.message_id


async def test_chats_are_those_with_messages_the_latest_active_first(side: Side) -> None:
    await connect(side)
    assert list(await side.gateway.chats(ACME, count=10)) == []
    side.writes(ACME.session, ANNA, "one")
    last_of_group = side.writes(ACME.session, GROUP, "two")
    side.writes(ACME.session, BEN, "three")
    last_of_ben = side.writes(ACME.session, BEN, "four")
    side.owner_writes(ACME.session, ANNA, "five")
    side.writes(OTHER.session, CARL, "of another session")
    rows = await side.gateway.chats(ACME, count=10)
    assert [row.chat for row in rows] == [ANNA, BEN, GROUP]
    lasts = [row.last for row in rows if row.last is not None]
    assert [last.from_me for last in lasts] == [True, False, False]
    assert [last.stanza for last in lasts[1:]] == [last_of_ben, last_of_group]
    assert all(row.at > 1_700_000_000 for row in rows)


async def test_a_page_of_chats_begins_with_the_chat_that_is_named(side: Side) -> None:
    await connect(side)
    for chat in (CARL, BEN, ANNA):
        side.writes(ACME.session, chat, "hi")

    async def page(count: int, start: ChatId | None) -> list[ChatId]:
        return [row.chat for row in await side.gateway.chats(ACME, count=count, start=start)]

    assert await page(2, None) == [ANNA, BEN]
    assert await page(2, BEN) == [BEN, CARL]
    assert await page(2, CARL) == [CARL]
    assert await page(2, GROUP) == [ANNA, BEN]  # one that is gone: from the first


async def test_chats_of_nobody_who_is_answered_are_left_out_and_the_pages_are_whole(side: Side) -> None:
    await connect(side)
    channels = [ChatId(f"1203630000000001{number:02d}@newsletter") for number in range(9)]
    for chat in (CARL, *channels[:7], BEN, channels[7], ANNA, channels[8]):
        side.writes(ACME.session, chat, "hi")

    async def page(count: int, start: ChatId | None = None) -> list[ChatId]:
        return [row.chat for row in await side.gateway.chats(ACME, count=count, start=start)]

    assert await page(20) == [ANNA, BEN, CARL]
    assert await page(1) == [ANNA]
    assert (await page(3))[:2] == [ANNA, BEN]
    assert await page(3, BEN) == [BEN, CARL]
    assert await page(2, CARL) == [CARL]


async def test_messages_are_the_last_ones_oldest_first_own_ones_among_them(side: Side) -> None:
    await connect(side)
    first = side.writes(ACME.session, ANNA, "one")
    side.owner_writes(ACME.session, ANNA, "two")
    third = side.writes(ACME.session, ANNA, "three")
    side.writes(ACME.session, BEN, "another chat")
    found = await side.gateway.messages(ACME, ANNA, count=10)
    assert [(type(each.message), getattr(each.message, "text", None)) for each in found] == [
        (InboundMessage, "one"),
        (OwnMessage, "two"),
        (InboundMessage, "three"),
    ]
    assert (stanzas(found)[0], stanzas(found)[2]) == (first, third)
    assert {each.message.session for each in found} == {ACME.session}
    assert stanzas(await side.gateway.messages(ACME, ANNA, count=2)) == stanzas(found)[1:]


async def test_messages_after_and_before_one_do_not_have_it_and_are_next_to_it(side: Side) -> None:
    await connect(side)
    written = [side.writes(ACME.session, ANNA, f"text {number}") for number in range(6)]
    third = anchor((await side.gateway.messages(ACME, ANNA, count=10))[2])
    assert stanzas(await side.gateway.messages(ACME, ANNA, count=2, after=third)) == written[3:5]
    assert stanzas(await side.gateway.messages(ACME, ANNA, count=10, after=third)) == written[3:]
    assert stanzas(await side.gateway.messages(ACME, ANNA, count=1, before=third)) == written[1:2]
    assert stanzas(await side.gateway.messages(ACME, ANNA, count=10, before=third)) == written[:2]


async def test_messages_of_an_unknown_chat_or_beside_an_unknown_one_are_an_answer_error(side: Side) -> None:
    await connect(side)
    side.writes(ACME.session, ANNA, "hi")
    with pytest.raises(GatewayAnswerError):
        await side.gateway.messages(ACME, BEN, count=10)
    for beside in ("after", "before"):
        with pytest.raises(GatewayAnswerError):
            await side.gateway.messages(ACME, ANNA, count=10, **{beside: f"false_{ANNA}_NOSUCH"})


async def test_a_chat_that_is_listed_otherwise_is_read_and_anchored_under_the_name_of_the_list(side: Side) -> None:
    await connect(side)
    side.list_as(LONG_LID, ANNA)
    written = [side.writes(ACME.session, LONG_LID, text) for text in ("one", "two")]
    [row] = await side.gateway.chats(ACME, count=10)
    assert row.chat == ANNA
    assert row.last is not None
    assert row.last.serialized == f"false_{ANNA}_{written[1]}"
    found = await side.gateway.messages(ACME, row.chat, count=10)
    assert stanzas(found) == written
    assert {each.place.chat for each in found if each.place is not None} == {ANNA}
    assert stanzas(await side.gateway.messages(ACME, ANNA, count=10, after=anchor(found[0]))) == written[1:]
    with pytest.raises(GatewayAnswerError):
        await side.gateway.messages(ACME, ANNA, count=10, after=f"false_{LONG_LID}_{written[0]}")


async def test_what_was_sent_over_a_dead_connection_is_found_without_an_ack_until_the_page_is_gone(side: Side) -> None:
    await connect(side)
    side.writes(ACME.session, ANNA, "question")
    side.die(ACME.session)
    outcome = await side.gateway.send_text(ACME, ANNA, "answer", stanza=NAME)
    assert outcome == Sent(stanzas=(NAME,), acknowledged=False)
    found = (await side.gateway.messages(ACME, ANNA, count=10))[-1].message
    assert isinstance(found, OwnMessage)
    assert (found.stanza, found.ack) == (NAME, 0)
    await side.gateway.close(ACME)
    await connect(side)
    assert NAME not in stanzas(await side.gateway.messages(ACME, ANNA, count=10))
    assert side.received() == []


async def test_a_number_exists_unless_it_is_looked_up_in_vain(side: Side) -> None:
    await connect(side)
    side.lose_number(BEN)
    assert await side.gateway.number_exists(ACME, ANNA)
    assert not await side.gateway.number_exists(ACME, BEN)
