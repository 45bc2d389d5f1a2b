"""What is particular to the HTTP client of a gateway: tokens, forms of requests and answers, and who waits for whom."""

from __future__ import annotations

import json
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.scripted_server import Peer, Server, answer, serving
from wa_supervisor.adapters.gateway.client import HttpGateway
from wa_supervisor.adapters.gateway.turns import Turns
from wa_supervisor.adapters.gateway.wire import Answer, Call, NothingAskedError, SupersededError, Wire, WirePolicy
from wa_supervisor.domain.errors import (
    GatewayAnswerError,
    GatewayUnreachableError,
    TokenRefusedError,
    WrongSecretError,
)
from wa_supervisor.domain.gateway import GatewayStatus, Proxy, SessionAccess, StartOptions
from wa_supervisor.domain.names import ChatId, GatewayName, SessionName
from wa_supervisor.domain.sending import NotSent, Repeat, Sent, Unknown
from wa_supervisor.simulator import SimulatedGateway, simulated_gateway
from wa_supervisor.simulator.tokens import mint

pytestmark = pytest.mark.anyio

MAIN = GatewayName("main")
ACME = SessionAccess(session=SessionName("acme"))
ANNA = ChatId("5511900000077@c.us")
PATIENT = 20.0
"""Seconds after which a test that hangs fails."""
SHORT = 0.05
"""Seconds of a time-out that a test means to run into."""
PAYLOADS = Path(__file__).parent.parent / "payloads"


@pytest.fixture
def anyio_backend() -> str:
    """Give asyncio: aiohttp knows no other."""
    return "asyncio"


@pytest.fixture
async def simulated() -> AsyncIterator[SimulatedGateway]:
    """Run a simulated gateway."""
    async with simulated_gateway() as running:
        yield running


@asynccontextmanager
async def http_gateway(url: str, **options: Any) -> AsyncIterator[HttpGateway]:  # noqa: ANN401  # the client's own
    """Give a client that is closed in the end."""
    gateway = HttpGateway(MAIN, url, **options)
    try:
        with anyio.fail_after(PATIENT):
            await anyio.lowlevel.checkpoint()
            yield gateway
    finally:
        await gateway.aclose()


def said(body: object, status: str = "200 OK", *headers: str) -> bytes:
    """Build an answer of JSON, or of bytes as they are."""
    return answer(body if isinstance(body, bytes) else msgspec.json.encode(body), *headers, status=status)


def sample(name: str) -> Any:  # noqa: ANN401  # JSON of any shape
    """Give the payload of a recorded answer."""
    return json.loads((PAYLOADS / f"{name}.json").read_text())["payload"]


@asynccontextmanager
async def answering(answers: Mapping[str, bytes], **options: Any) -> AsyncIterator[tuple[HttpGateway, Server]]:  # noqa: ANN401  # the client's own
    """Run a gateway that gives these answers by route, and tokens unless told otherwise; and a client for it."""
    known = {"generate-token": said({"status": "success", "token": "made"}, "201 Created"), **answers}

    async def speak(peer: Peer) -> None:
        while True:
            request = await peer.read_request()
            await peer.send(known[request.line.split()[1].rpartition("/")[2]])

    async with serving(speak) as server, http_gateway(server.url, **{"secret": "s", **options}) as gateway:
        yield gateway, server


HTML = said(b"<html>Bad Gateway</html>", "502 Bad Gateway", "Content-Type: text/html")
CLOSED = said({"status": "CLOSED", "qrcode": None})


# --- tokens --------------------------------------------------------------------------------------------------------


async def test_one_token_is_made_for_a_session_however_many_calls_begin_at_once(simulated: SimulatedGateway) -> None:
    async with http_gateway(simulated.url, secret=simulated.secret) as gateway:
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(gateway.report, ACME)
        await gateway.is_connected(ACME)
    assert simulated.ledger.calls["generate-token"] == 1


async def test_a_refused_token_is_replaced_once_for_all_who_are_refused(simulated: SimulatedGateway) -> None:
    stale = SessionAccess(session=ACME.session, token="stale")
    async with http_gateway(simulated.url, secret=simulated.secret) as gateway:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(gateway.report, stale)
        refused = simulated.ledger.calls["status-session"] - 5
        assert 1 <= refused <= 5
        assert (await gateway.report(stale)).status is GatewayStatus.CLOSED
    assert simulated.ledger.calls["generate-token"] == 1
    assert simulated.ledger.calls["status-session"] == refused + 6


async def test_a_call_whose_token_was_refused_once_has_its_effect_once(simulated: SimulatedGateway) -> None:
    async with http_gateway(simulated.url, secret=simulated.secret) as gateway:
        await gateway.start(ACME, StartOptions())
        await simulated.until(lambda now: now.session("acme").is_running)
        simulated.session("acme").refuse_tokens(1)
        assert isinstance(await gateway.send_text(ACME, ANNA, "hello"), Sent)
    assert simulated.ledger.texts_received() == ["hello"]


@pytest.mark.parametrize("is_default", [False, True])
async def test_a_token_that_the_operator_gave_is_used_and_none_is_made(
    simulated: SimulatedGateway, *, is_default: bool
) -> None:
    token = mint("acme", simulated.secret)
    access = ACME if is_default else SessionAccess(session=ACME.session, token=token)
    async with http_gateway(simulated.url, token=token if is_default else None) as gateway:
        assert (await gateway.report(access)).status is GatewayStatus.CLOSED
    assert simulated.ledger.calls["generate-token"] == 0


async def test_another_token_in_the_record_is_used_from_then_on(simulated: SimulatedGateway) -> None:
    async with http_gateway(simulated.url) as gateway:
        with pytest.raises(TokenRefusedError, match=r"gateways\.main\.secret"):
            await gateway.report(SessionAccess(session=ACME.session, token="stale"))
        token = mint("acme", simulated.secret)
        await gateway.report(SessionAccess(session=ACME.session, token=token))


async def test_without_token_and_secret_the_operator_is_told_which_key_to_set(simulated: SimulatedGateway) -> None:
    async with http_gateway(simulated.url) as gateway:
        with pytest.raises(WrongSecretError, match=r"gateways\.main\.secret"):
            await gateway.report(ACME)
    assert simulated.ledger.calls.total() == 0


@pytest.mark.parametrize("token", ["two words", "line\r\nInjected: header", "t\u00f6ken"])
async def test_a_token_that_cannot_be_one_is_refused_before_anything_is_sent(
    simulated: SimulatedGateway, token: str
) -> None:
    async with http_gateway(simulated.url, secret=simulated.secret) as gateway:
        with pytest.raises(TokenRefusedError):
            await gateway.report(SessionAccess(session=ACME.session, token=token))
    assert simulated.ledger.calls.total() == 0


async def test_a_closed_sessions_token_is_forgotten(simulated: SimulatedGateway) -> None:
    async with http_gateway(simulated.url, secret=simulated.secret) as gateway:
        await gateway.close(ACME)
        await gateway.report(ACME)
    assert simulated.ledger.calls["generate-token"] == 2


async def test_a_secret_of_any_letters_reaches_the_gateway() -> None:
    async with answering({"status-session": CLOSED}, secret="a/b?c#d %&\u00e9") as (gateway, server):
        await gateway.report(ACME)
        assert server.requests[0].line.split()[1] == "/api/acme/a%2Fb%3Fc%23d%20%25%26%C3%A9/generate-token"


@pytest.mark.parametrize("spoilt", [HTML, said([]), said({"token": 5}), said({"token": "two words"}), said(b"")])
async def test_without_a_token_nothing_is_sent_and_it_may_be_tried_later(spoilt: bytes) -> None:
    async with answering({"generate-token": spoilt}) as (gateway, server):
        with pytest.raises(GatewayAnswerError):
            await gateway.report(ACME)
        outcome = await gateway.send_text(ACME, ANNA, "hello")
        assert isinstance(outcome, NotSent)
        assert outcome.repeat is Repeat.LATER
        assert all(request.line.split()[1].endswith("generate-token") for request in server.requests)


async def test_a_gateway_that_forgets_its_token_is_as_recorded() -> None:
    for name in ("http-error-01", "http-error-02"):
        async with answering({"status-session": said(sample(name), "401 Unauthorized")}) as (gateway, server):
            with pytest.raises(TokenRefusedError):
                await gateway.report(ACME)
            assert [request.line.split()[1].rpartition("/")[2] for request in server.requests] == [
                "generate-token",
                "status-session",
                "generate-token",
                "status-session",
            ]


@pytest.mark.parametrize("refusal", [said(b"<html>login</html>", "401 Unauthorized"), said({}, "401 Unauthorized")])
async def test_a_401_that_is_not_about_the_token_makes_no_new_one(refusal: bytes) -> None:
    async with answering({"status-session": refusal}) as (gateway, server):
        with pytest.raises(GatewayAnswerError):
            await gateway.report(ACME)
        assert len(server.requests) == 2


async def test_the_401_of_a_failed_look_at_a_chat_is_not_about_the_token() -> None:
    failed = said(sample("http-error-06"), "401 Unauthorized")
    async with answering({"status-session": failed}) as (gateway, server):
        with pytest.raises(GatewayAnswerError):
            await gateway.report(ACME)
        assert len(server.requests) == 2


async def test_a_wrong_secret_is_as_recorded() -> None:
    refusal = said(sample("http-generate-token-02"), "400 Bad Request")
    async with answering({"generate-token": refusal}) as (gateway, _):
        with pytest.raises(WrongSecretError):
            await gateway.report(ACME)


async def test_the_secret_is_in_no_exception_and_no_repr() -> None:
    async def reset(peer: Peer) -> None:
        await peer.read_request()
        peer.reset()

    async def talk_nonsense(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"nonsense\r\n\r\n")

    async with serving(reset) as resetting, serving(talk_nonsense) as talking:
        for url in (resetting.url, talking.url, "http://127.0.0.1:9"):
            async with http_gateway(url, secret="hunter2") as gateway:
                with pytest.raises((GatewayAnswerError, GatewayUnreachableError)) as failure:
                    await gateway.report(ACME)
                assert "hunter2" not in "".join(traceback.format_exception(failure.value))
                assert "hunter2" not in repr(gateway)


# --- what is asked -------------------------------------------------------------------------------------------------


async def test_a_get_has_no_content_type_and_a_post_says_json() -> None:
    async with answering({"status-session": CLOSED, "start-session": CLOSED}) as (gateway, server):
        await gateway.report(ACME)
        await gateway.start(ACME, StartOptions())
        made, get, post = server.requests
        assert "content-type" not in made.headers
        assert "content-type" not in get.headers
        assert post.headers["content-type"] == "application/json"
        assert get.headers["authorization"] == "Bearer made"


async def test_a_start_gives_the_full_settings_and_never_an_empty_body() -> None:
    full = StartOptions(phone="5511900000001", proxy=Proxy(url="http://10.0.0.1:3128", username="u", password="p"))
    async with answering({"start-session": CLOSED}) as (gateway, server):
        await gateway.start(ACME, StartOptions())
        await gateway.start(ACME, full)
        assert [json.loads(request.body) for request in server.requests[1:]] == [
            {"waitQrCode": False},
            {
                "waitQrCode": False,
                "phone": "5511900000001",
                "proxy": {"url": "http://10.0.0.1:3128", "username": "u", "password": "p"},
            },
        ]


@pytest.mark.parametrize(
    ("chat", "flags"),
    [
        (ANNA, {"isGroup": False, "isLid": False, "isNewsletter": False}),
        (ChatId("12345000006789@lid"), {"isGroup": False, "isLid": True, "isNewsletter": False}),
        (ChatId("120363000000000042@g.us"), {"isGroup": True, "isLid": False, "isNewsletter": False}),
    ],
)
async def test_a_send_names_the_whole_chat_and_says_what_it_is(chat: ChatId, flags: dict[str, bool]) -> None:
    async with answering({"send-message": said({"response": []}, "201 Created")}) as (gateway, server):
        await gateway.send_text(ACME, chat, "hello")
        assert json.loads(server.requests[1].body) == {"phone": chat, "message": "hello", **flags}


async def test_an_address_with_a_path_is_kept() -> None:
    async with (
        answering({"status-session": CLOSED}) as (_, server),
        http_gateway(f"{server.url}/behind/proxy/", secret="s") as proxied,
    ):
        await proxied.report(ACME)
        assert server.requests[1].line.split()[1] == "/behind/proxy/api/acme/status-session"


async def test_cookies_are_not_sent_back() -> None:
    cookie = said({"uptime": 1.0}, "200 OK", "Set-Cookie: a=b")
    async with answering({"healthz": cookie}) as (gateway, server):
        await gateway.health()
        await gateway.health()
        assert "cookie" not in server.requests[1].headers


# --- what is answered ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "has_code"),
    [
        ("http-status-session-01", GatewayStatus.CONNECTED, False),
        ("http-status-session-03", GatewayStatus.CONNECTED, False),
        ("http-status-session-04", GatewayStatus.QRCODE, True),
        ("http-status-session-05", GatewayStatus.PHONECODE, False),
        ("http-start-session-01", GatewayStatus.INITIALIZING, False),
        ("http-start-session-02", GatewayStatus.CLOSED, False),
    ],
)
async def test_recorded_reports_are_read(name: str, status: GatewayStatus, *, has_code: bool) -> None:
    async with answering({"status-session": said(sample(name))}) as (gateway, _):
        report = await gateway.report(ACME)
        assert (report.status, report.url_code is not None) == (status, has_code)


async def test_recorded_answers_of_the_other_calls_are_read() -> None:
    answers = {
        "healthz": said(sample("http-healthz-01")),
        "check-connection-session": said(sample("http-check-connection-01")),
        "close-session": said(sample("http-close-session-01")),
        "start-session": said(sample("http-start-session-02")),
    }
    async with answering(answers) as (gateway, _):
        assert (await gateway.health()).uptime == pytest.approx(18.992442825)
        assert not await gateway.is_connected(ACME)
        await gateway.close(ACME)
        await gateway.start(ACME, StartOptions())


async def test_a_code_that_was_used_is_not_shown() -> None:
    remembered = {"status": "CONNECTED", "qrcode": None, "urlcode": "2@used"}
    async with answering({"status-session": said(remembered)}) as (gateway, _):
        assert (await gateway.report(ACME)).url_code is None


async def test_the_500_of_a_stuck_session_is_a_close_and_a_proxys_500_is_none() -> None:
    stuck = said(sample("http-error-08"), "500 Internal Server Error")
    async with answering({"close-session": stuck}) as (gateway, _):
        await gateway.close(ACME)
    broken = said(b"<html>error</html>", "500 Internal Server Error")
    async with answering({"close-session": broken}) as (gateway, _):
        with pytest.raises(GatewayAnswerError):
            await gateway.close(ACME)


@pytest.mark.parametrize("nonsense", [said({}), said([]), said({"status": 5}), said(b"{"), said(b""), HTML])
async def test_nonsense_is_an_answer_error(nonsense: bytes) -> None:
    routes = ("status-session", "check-connection-session", "healthz")
    async with answering(dict.fromkeys(routes, nonsense)) as (gateway, _):
        with pytest.raises(GatewayAnswerError):
            await gateway.report(ACME)
        with pytest.raises(GatewayAnswerError):
            await gateway.is_connected(ACME)
        with pytest.raises(GatewayAnswerError):
            await gateway.health()


async def test_an_answer_in_a_broken_encoding_is_an_answer_error() -> None:
    broken = said(b"no gzip", "200 OK", "Content-Encoding: gzip")
    async with answering({"status-session": broken, "send-message": broken}) as (gateway, _):
        with pytest.raises(GatewayAnswerError):
            await gateway.report(ACME)
        assert isinstance(await gateway.send_text(ACME, ANNA, "hello"), Unknown)


async def test_when_to_come_back_is_told() -> None:
    busy = said({"message": "slow down"}, "503 Service Unavailable", "Retry-After: 7")
    dated = said({"message": "slow down"}, "503 Service Unavailable", "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT")
    async with answering({"status-session": busy, "check-connection-session": dated}) as (gateway, _):
        with pytest.raises(GatewayAnswerError, match="503: slow down") as failure:
            await gateway.report(ACME)
        assert failure.value.retry_after == 7.0
        with pytest.raises(GatewayAnswerError) as failure:
            await gateway.is_connected(ACME)
        assert failure.value.retry_after is None


@given(
    content=st.binary() | st.text().map(str.encode) | st.just(b'{"a":' * 100_000),
    status=st.sampled_from([200, 201, 500]),
)
def test_whatever_is_answered_is_read_or_is_an_answer_error(content: bytes, status: int) -> None:
    given_answer = Answer(gateway=MAIN, what="anything", status=status, content=content)
    try:
        assert isinstance(given_answer.read(dict[str, object]), dict)
    except GatewayAnswerError as error:
        assert "main" in str(error)  # noqa: PT017  # both ends are right
    assert isinstance(given_answer.fields, dict)


# --- who waits for whom --------------------------------------------------------------------------------------------


async def test_a_turn_ends_with_its_block_and_the_next_one_begins() -> None:
    turns = Turns(1, longest=PATIENT)
    for _ in range(3):
        async with turns.turn(PATIENT):
            with pytest.raises(TimeoutError):
                async with turns.turn(SHORT):
                    pytest.fail("two turns at once")


async def test_a_turn_that_takes_long_does_not_keep_the_next_one_waiting() -> None:
    turns = Turns(1, longest=SHORT)
    async with turns.turn(PATIENT), turns.turn(PATIENT):
        pass
    async with turns.turn(PATIENT):
        with pytest.raises(TimeoutError):
            async with turns.turn(SHORT / 5):
                pytest.fail("the long turn was given back twice")


async def test_waiting_for_a_turn_may_be_cancelled() -> None:
    turns = Turns(1, longest=PATIENT)
    async with turns.turn(PATIENT), anyio.create_task_group() as tasks:
        tasks.start_soon(_take_turn, turns)
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    async with turns.turn(SHORT):
        pass


async def _take_turn(turns: Turns) -> None:
    async with turns.turn(PATIENT):
        pytest.fail("a turn was free")


async def until_asked(server: Server) -> None:
    """Wait until the server has a request."""
    with anyio.fail_after(PATIENT):
        await anyio.lowlevel.checkpoint()
        for _ in iter(lambda: len(server.requests), 1):
            await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def hung(policy: WirePolicy) -> AsyncIterator[Wire]:
    """Give a wire with one call under way that is never answered."""

    async def answer_health(peer: Peer) -> None:
        while "healthz" in (await peer.read_request()).line:
            await peer.send(said({"uptime": 1.0}))
        await peer.read_rest()

    async with serving(answer_health) as server, anyio.create_task_group() as tasks:
        wire = Wire(MAIN, server.url, policy, verify=True)
        tasks.start_soon(wire.exchange, Call(method="GET", path="/hang", what="hang", within=PATIENT))
        await until_asked(server)
        yield wire
        tasks.cancel_scope.cancel()
        with anyio.move_on_after(PATIENT, shield=True):
            await wire.aclose()


async def test_a_call_that_gets_no_turn_was_not_asked() -> None:
    async with hung(WirePolicy(requests_at_once=1, turn_longest=PATIENT)) as wire:
        with pytest.raises(NothingAskedError):
            await wire.exchange(Call(method="GET", path="/healthz", what="healthz", within=SHORT))


async def test_a_hung_call_does_not_keep_others_waiting() -> None:
    async with hung(WirePolicy(requests_at_once=1, turn_longest=SHORT)) as wire:
        answered = await wire.exchange(Call(method="GET", path="/healthz", what="healthz", within=PATIENT))
        assert answered.is_success


async def test_whether_a_call_may_leave_is_asked_after_its_turn_has_come() -> None:
    is_ours, asked, go_on = True, 0, anyio.Event()

    async def answer_when_told(peer: Peer) -> None:
        await peer.read_request()
        await go_on.wait()
        await peer.send(said({}))
        await peer.read_rest()

    def may_leave() -> bool:
        nonlocal asked
        asked += 1
        return is_ours

    async def send(wire: Wire) -> None:
        with pytest.raises(SupersededError):
            await wire.exchange(
                Call(method="POST", path="/send", what="send", within=PATIENT, body={}, may_leave=may_leave)
            )

    async with serving(answer_when_told) as server, anyio.create_task_group() as tasks:
        wire = Wire(MAIN, server.url, WirePolicy(requests_at_once=1, turn_longest=PATIENT), verify=True)
        tasks.start_soon(wire.exchange, Call(method="GET", path="/first", what="first", within=PATIENT))
        await until_asked(server)
        tasks.start_soon(send, wire)
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert asked == 0
        is_ours = False
        go_on.set()
    assert asked == 1
    assert [request.line.split()[1] for request in server.requests] == ["/first"]
    await wire.aclose()


async def test_a_call_that_costs_the_gateway_nothing_needs_no_turn() -> None:
    async with hung(WirePolicy(requests_at_once=1, turn_longest=PATIENT)) as wire:
        call = Call(method="GET", path="/healthz", what="healthz", within=PATIENT, takes_turn=False)
        assert (await wire.exchange(call)).is_success


async def test_a_call_without_a_connection_was_not_asked() -> None:
    async with hung(WirePolicy(connections=1)) as wire:
        with pytest.raises(NothingAskedError):
            await wire.exchange(Call(method="GET", path="/healthz", what="healthz", within=SHORT))


# --- pages of chats ------------------------------------------------------------------------------------------------


def listed(*chats: str) -> bytes:
    """Build a page of `list-chats`."""
    return said([{"id": {"_serialized": chat}, "t": 1786000000} if chat else None for chat in chats])


CHANNELS = [f"12036300000000010{number}@newsletter" for number in range(9)]


@pytest.mark.parametrize(
    ("page", "asked"),
    [
        pytest.param(listed(ANNA, CHANNELS[0]), 1, id="short"),
        pytest.param(
            listed(ANNA, *CHANNELS[:2], *(f"551190000008{number}@c.us" for number in range(3))), 1, id="mostly people"
        ),
        pytest.param(listed(*CHANNELS[:6]), 2, id="the same again"),
        pytest.param(listed(*[""] * 6), 1, id="unreadable"),
    ],
)
async def test_a_page_without_people_is_asked_on_only_while_that_leads_on(page: bytes, asked: int) -> None:
    async with answering({"list-chats": page}) as (gateway, server):
        rows = await gateway.chats(ACME, count=6)
        assert all(row.chat.endswith("@c.us") for row in rows)
        bodies = [json.loads(request.body) for request in server.requests if "list-chats" in request.line]
        assert bodies[0] == {"count": 6, "direction": "after"}
        assert len(bodies) == asked
        assert [body.get("id") for body in bodies[1:]] == [CHANNELS[5]] * (asked - 1)


# --- what is looked up ---------------------------------------------------------------------------------------------


async def test_a_look_at_a_chat_that_fails_is_an_answer_error_and_makes_no_new_token() -> None:
    failed = said(sample("http-error-06"), "401 Unauthorized")

    async def speak(peer: Peer) -> None:
        while True:
            line = (await peer.read_request()).line
            await peer.send(said({"token": "made"}, "201 Created") if "generate-token" in line else failed)

    async with serving(speak) as server, http_gateway(server.url, secret="s") as gateway:
        with pytest.raises(GatewayAnswerError):
            await gateway.messages(ACME, ANNA, count=50, after=f"false_{ANNA}_3EB0A1")
        assert len(server.requests) == 2
        path, _, query = server.requests[1].line.split()[1].partition("?")
        assert path == f"/api/acme/get-messages/{ANNA}"
        assert query == "count=50&direction=after&id=false_5511900000077%40c.us_3EB0A1"
        assert "content-type" not in server.requests[1].headers


@pytest.mark.parametrize(
    ("given", "exists"),
    [
        (sample("http-check-number-status-01"), True),
        ({"response": {"numberExists": True}}, True),
        ({"response": {"numberExists": False, "canReceiveMessage": True}}, False),
        ({"response": {"numberExists": True, "canReceiveMessage": False}}, False),
        ({"response": {}}, False),
    ],
)
async def test_a_number_exists_if_it_is_said_to_and_to_receive(given: object, *, exists: bool) -> None:
    async with answering({"5511900000077": said(given)}) as (gateway, _):
        assert await gateway.number_exists(ACME, ANNA) is exists


@pytest.mark.parametrize("spoilt", [HTML, said({}), said([]), said({"response": []}), said({}, "500 Oh")])
async def test_a_look_up_that_says_nothing_is_an_answer_error(spoilt: bytes) -> None:
    async with answering({"5511900000077": spoilt, "list-chats": said({"response": []})}) as (gateway, _):
        with pytest.raises(GatewayAnswerError):
            await gateway.number_exists(ACME, ANNA)
        with pytest.raises(GatewayAnswerError):
            await gateway.chats(ACME, count=50)
