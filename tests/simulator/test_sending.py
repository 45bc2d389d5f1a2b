"""Sending: who really receives what, and what the answers are worth."""

from __future__ import annotations

import dataclasses

import anyio
import httpx
import pytest

from tests.simulator.harness import GROUP, PATIENCE, Caller, Listener, anna, caller, lena, sample
from wa_supervisor.simulator import FAST, Manners, SimulatedGateway, simulated_gateway

pytestmark = pytest.mark.anyio

ANNA = "5511900000077@c.us"
LID = "123450000067890@lid"
LENA = "12345000006789@lid"


@pytest.fixture
async def acme(api: Caller) -> Caller:
    """Connect session "acme"."""
    await api.connect()
    return api


async def test_a_message_is_answered_201_with_itself_and_reaches_the_chat(
    acme: Caller, gateway: SimulatedGateway
) -> None:
    answer = await acme.send(ANNA, "hello")
    assert answer.status_code == 201
    body = answer.json()
    assert {key: body[key] for key in ("status", "mapper", "session")} == {
        "status": "success",
        "mapper": "return",
        "session": "acme",
    }
    [sent] = body["response"]
    assert sent["ack"] >= 1
    assert sent["body"] == "hello"
    [received] = gateway.ledger.received
    assert (received.session, received.chat, received.id, received.text) == ("acme", ANNA, sent["id"], "hello")


@pytest.mark.parametrize(
    ("phone", "flags", "who"),
    [
        (ANNA, {}, ANNA),
        ("5511900000077", {}, ANNA),
        ("123450000067890@lid", {}, "123450000067890@lid"),
        (LENA, {"isLid": True}, LENA),
        (LENA, {}, "12345000006789@c.us"),
        (GROUP, {"isGroup": True}, GROUP),
        (GROUP, {}, "120363000000000042@lid"),
        ("4917665347-1611108693@g.us", {}, "49176653471611108693@lid"),
        ("120363000000000099@newsletter", {"isNewsletter": True}, "120363000000000099@newsletter"),
        ("5511900000001:66@c.us", {}, "551190000000166@lid"),
    ],
)
async def test_the_suffix_is_thrown_away_and_the_flags_decide_who_receives(
    acme: Caller, gateway: SimulatedGateway, phone: str, flags: dict[str, bool], who: str
) -> None:
    assert (await acme.send(phone, "for whom?", **flags)).status_code == 201
    assert [entry.chat for entry in gateway.ledger.received] == [who]


async def test_an_empty_phone_is_answered_201_with_nothing_and_nobody_receives(
    acme: Caller, gateway: SimulatedGateway, events: Listener
) -> None:
    answer = await acme.send("", "hello")
    assert answer.status_code == 201
    assert answer.json() == sample("http-send-message-02")
    assert await events.next("mensagem-enviada") == sample("mensagem-enviada-02")
    assert not gateway.ledger.received


async def test_a_list_of_phones_and_a_text_with_commas_reach_everyone(acme: Caller, gateway: SimulatedGateway) -> None:
    await acme.post("send-message", phone=["5511900000077", "5511900000078"], message="one")
    await acme.post("send-message", phone="5511900000077, 5511900000079", message="two")
    assert [(entry.chat, entry.text) for entry in gateway.ledger.received] == [
        (ANNA, "one"),
        ("5511900000078@c.us", "one"),
        (ANNA, "two"),
        ("5511900000079@c.us", "two"),
    ]


async def test_a_phone_that_is_no_text_is_answered_as_disconnected(acme: Caller, gateway: SimulatedGateway) -> None:
    assert (await acme.post("send-message", phone=5511900000077, message="hello")).status_code == 404
    assert not gateway.ledger.received


@pytest.mark.parametrize("state", ["never started", "initializing", "qr", "closed"])
async def test_without_a_page_a_send_is_answered_404_disconnected(
    api: Caller, gateway: SimulatedGateway, state: str
) -> None:
    session = gateway.session("acme")
    if state == "initializing":
        session.stick()
    if state == "qr":
        session.needs_login()
    if state != "never started":
        await api.post("start-session")
        await api.until_status({"initializing": "INITIALIZING", "qr": "QRCODE", "closed": "CONNECTED"}[state])
    if state == "closed":
        await api.post("close-session")
    answer = await api.send(ANNA, "hello")
    assert answer.status_code == 404
    assert answer.json()["status"] == "Disconnected"
    assert not gateway.ledger.received


async def test_a_number_that_is_denied_is_answered_400_and_receives_all_the_same(
    acme: Caller, gateway: SimulatedGateway
) -> None:
    gateway.number_is("5511900000077", "denied")
    answer = await acme.send(ANNA, "hello")
    assert answer.status_code == 400
    assert answer.json()["message"] == "O número 5511900000077 não existe."
    assert gateway.ledger.texts_received() == ["hello"]


async def test_two_denied_numbers_stop_the_send(acme: Caller, gateway: SimulatedGateway) -> None:
    gateway.number_is("5511900000077", "denied")
    gateway.number_is("5511900000078", "denied")
    answer = await acme.post("send-message", phone=["5511900000077", "5511900000078"], message="hello")
    assert answer.status_code == 400
    assert not gateway.ledger.received


async def test_a_number_that_does_not_exist_receives_nothing(acme: Caller, gateway: SimulatedGateway) -> None:
    gateway.number_is("5511900000077", "missing")
    assert (await acme.send(ANNA, "hello")).status_code == 400
    assert not gateway.ledger.received
    gateway.number_is("5511900000077", "fine")
    assert (await acme.send(ANNA, "hello")).status_code == 201


async def test_an_own_send_is_echoed_then_listed_then_acknowledged_three_times(acme: Caller, events: Listener) -> None:
    sent = (await acme.send(ANNA, "hello")).json()["response"][0]
    await events.next("onack", count=3)
    assert [name for name, _ in events.heard] == ["received-message", "mensagem-enviada", "onack", "onack", "onack"]
    echo = events.of("received-message")[0]["response"]
    assert (echo["id"], echo["fromMe"], echo["body"], echo["session"]) == (sent["id"], True, "hello", "acme")
    assert events.of("mensagem-enviada")[0][0]["id"] == sent["id"]
    assert [ack["ack"] for ack in events.of("onack")] == [1, 2, 3]
    assert {ack["id"]["_serialized"] for ack in events.of("onack")} == {sent["id"]}
    assert all("session" not in ack for ack in events.of("onack"))


async def test_only_send_message_is_followed_by_mensagem_enviada(acme: Caller, events: Listener) -> None:
    await acme.post("send-location", phone=ANNA, lat=-23.5, lng=-46.6, title="Praça")
    await acme.send(ANNA, "end")
    listed = await events.next("mensagem-enviada")
    assert [message["body"] for message in listed] == ["end"]
    assert len(events.of("mensagem-enviada")) == 1


async def test_a_reply_quotes_a_message_that_must_exist(acme: Caller, gateway: SimulatedGateway) -> None:
    entry = anna(gateway).writes("acme", "question")
    quoted = f"false_{ANNA}_{entry.stanza}"
    good = await acme.post("send-reply", phone=ANNA, message="answer", messageId=quoted)
    assert good.status_code == 201
    bad = await acme.post("send-reply", phone=ANNA, message="answer", messageId=f"false_{ANNA}_NOSUCH")
    assert bad.status_code == 500
    assert gateway.ledger.texts_received() == ["answer"]


async def test_a_message_id_given_beforehand_names_the_message(acme: Caller, gateway: SimulatedGateway) -> None:
    wanted = f"true_{ANNA}_3EB0OURS"
    answer = await acme.post("send-message", phone=ANNA, message="hello", options={"messageId": wanted})
    assert answer.json()["response"][0]["id"] == wanted
    assert gateway.ledger.received[0].id == wanted


async def test_a_message_id_given_twice_is_received_twice_so_that_a_duplicate_shows(
    acme: Caller, gateway: SimulatedGateway
) -> None:
    wanted = f"true_{ANNA}_3EB0OURS"
    for _ in range(2):
        answer = await acme.post("send-message", phone=ANNA, message="hello", options={"messageId": wanted})
        assert answer.status_code == 201
    assert [(entry.id, entry.text) for entry in gateway.ledger.received] == [(wanted, "hello")] * 2


async def test_a_message_id_of_another_chat_is_answered_500(acme: Caller, gateway: SimulatedGateway) -> None:
    wanted = "true_5511900000078@c.us_3EB0OURS"
    answer = await acme.post("send-message", phone=ANNA, message="hello", options={"messageId": wanted})
    assert answer.status_code == 500
    assert not gateway.ledger.received


async def test_a_message_id_given_beforehand_may_be_refused_where_the_chat_is_listed_otherwise() -> None:
    manners = Manners(refuses_names_of_listed=True)
    async with simulated_gateway(manners=manners) as gateway, caller(gateway, "acme") as api:
        await api.connect()
        gateway.person(LID, listed_as=ANNA).writes("acme", "hi")
        named = {"phone": LID, "isLid": True, "message": "hello", "options": {"messageId": f"true_{LID}_3EB0OURS"}}
        assert (await api.post("send-message", named)).status_code == 500
        assert not gateway.ledger.received
        assert (await api.post("send-message", named, options={})).status_code == 201
        other = f"true_{ANNA}_3EB0OURS"
        assert (await api.post("send-message", phone=ANNA, message="x", options={"messageId": other})).is_success
        assert gateway.ledger.texts_received() == ["hello", "x"]


async def test_a_delay_types_first(acme: Caller, gateway: SimulatedGateway) -> None:
    await acme.post("send-message", phone=ANNA, message="hello", options={"delay": 20})
    assert [(entry.kind, entry.on) for entry in gateway.ledger.indicators] == [("typing", True), ("typing", False)]
    assert gateway.ledger.texts_received() == ["hello"]


@pytest.mark.parametrize(
    ("route", "body", "kind"),
    [
        ("send-image", {"base64": "data:image/png;base64,AAAA", "filename": "a.png", "caption": "look"}, "image"),
        ("send-file", {"base64": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}, "document"),
        ("send-file-base64", {"base64": "data:video/mp4;base64,AAAA"}, "video"),
        ("send-voice-base64", {"base64Ptt": "data:audio/ogg;base64,AAAA"}, "ptt"),
        ("send-location", {"lat": -23.5, "lng": -46.6, "title": "Praça"}, "location"),
        ("send-poll-message", {"name": "Which?", "choices": ["a", "b"]}, "poll_creation"),
    ],
)
async def test_every_kind_of_message_is_answered_201_with_id_and_ack(
    acme: Caller, gateway: SimulatedGateway, route: str, body: dict[str, object], kind: str
) -> None:
    answer = await acme.post(route, body, phone=ANNA)
    assert answer.status_code == 201
    [sent] = answer.json()["response"]
    assert sent == {"ack": 1, "id": sent["id"], "sendMsgResult": {"messageSendResult": "OK"}}
    assert [(entry.kind, entry.id, entry.route) for entry in gateway.ledger.received] == [(kind, sent["id"], route)]


async def test_a_file_call_without_a_file_is_answered_500(acme: Caller, gateway: SimulatedGateway) -> None:
    answer = await acme.post("send-file-base64", phone=ANNA, filename="a.pdf")
    assert answer.status_code == 500
    assert answer.json() == sample("http-error-05")
    assert not gateway.ledger.received


async def test_a_path_is_noted_as_forbidden(acme: Caller, gateway: SimulatedGateway) -> None:
    await acme.post("send-file", phone=ANNA, path="/etc/passwd")
    assert [entry.route for entry in gateway.ledger.forbidden] == ["path"]


async def test_a_contact_card_is_answered_200_with_the_last_one(acme: Caller, gateway: SimulatedGateway) -> None:
    answer = await acme.post("contact-vcard", phone=ANNA, contactsId="5511900000078@c.us", name="Bea")
    assert answer.status_code == 200
    assert answer.json()["response"]["id"] == gateway.ledger.received[0].id


@pytest.mark.parametrize("route", ["typing", "recording"])
async def test_an_indicator_goes_on_and_off(acme: Caller, gateway: SimulatedGateway, route: str) -> None:
    assert (await acme.post(route, phone=ANNA, value=True)).status_code == 200
    assert gateway.ledger.indicators_on == {("acme", ANNA): route}
    await acme.post(route, phone=ANNA, value=False)
    assert gateway.ledger.indicators_on == {}
    assert [entry.on for entry in gateway.ledger.indicators] == [True, False]


@pytest.mark.parametrize(
    ("phone", "flags", "who"),
    [
        (LENA, {"isLid": True}, "12345000006789@c.us"),
        ("123450000067890@lid", {"isLid": True}, "123450000067890@lid"),
        (GROUP, {"isGroup": True}, GROUP),
        (GROUP, {}, "120363000000000042@lid"),
    ],
)
async def test_an_indicator_ignores_is_lid(
    acme: Caller, gateway: SimulatedGateway, phone: str, flags: dict[str, bool], who: str
) -> None:
    await acme.post("typing", flags, phone=phone, value=True)
    assert list(gateway.ledger.indicators_on) == [("acme", who)]


async def test_an_indicator_ends_with_the_page(acme: Caller, gateway: SimulatedGateway) -> None:
    await acme.post("typing", phone=ANNA, value=True)
    await acme.post("close-session")
    assert gateway.ledger.indicators_on == {}


async def test_a_reaction_is_emitted_without_a_session(
    acme: Caller, gateway: SimulatedGateway, events: Listener
) -> None:
    entry = anna(gateway).writes("acme", "nice?")
    answer = await acme.post("react-message", msgId=f"false_{ANNA}_{entry.stanza}", reaction="👍")
    assert answer.status_code == 200
    payload = await events.next("onreactionmessage")
    assert payload.keys() == sample("onreactionmessage-03").keys()
    assert payload["reactionText"] == "👍"
    assert payload["msgId"]["_serialized"] == f"false_{ANNA}_{entry.stanza}"


async def test_an_own_message_can_be_edited_and_a_foreign_one_not(
    acme: Caller, gateway: SimulatedGateway, events: Listener
) -> None:
    own = (await acme.send(ANNA, "helo")).json()["response"][0]["id"]
    edited = await acme.post("edit-message", id=own, newText="hello")
    assert edited.status_code == 201
    assert (await events.next("edited-message")).keys() == sample("edited-message-01").keys()
    assert [(entry.kind, entry.text) for entry in gateway.ledger.received] == [("chat", "helo"), ("edit", "hello")]
    foreign = anna(gateway).writes("acme", "mine")
    refused = await acme.post("edit-message", id=f"false_{ANNA}_{foreign.stanza}", newText="x")
    assert refused.status_code == 500


async def test_seen_clears_the_unread_mark(acme: Caller, gateway: SimulatedGateway) -> None:
    anna(gateway).writes("acme", "read me")
    assert (await acme.post("list-chats")).json()[0]["unreadCount"] == 1
    assert (await acme.post("send-seen", phone=ANNA)).status_code == 201
    assert (await acme.post("list-chats")).json()[0]["unreadCount"] == 0


async def test_over_a_dead_socket_a_send_has_ack_0_and_no_acknowledgement_follows(
    acme: Caller, gateway: SimulatedGateway, events: Listener
) -> None:
    gateway.session("acme").die(sends="ack0")
    answer = await acme.send(ANNA, "into the void")
    assert answer.status_code == 201
    assert answer.json()["response"][0]["ack"] == 0
    assert not gateway.ledger.received
    echo = await events.next("received-message")
    assert (echo["response"]["ack"], echo["response"]["fromMe"]) == (0, True)
    found = (await acme.get(f"get-messages/{ANNA}")).json()["response"]
    assert [message["ack"] for message in found] == [0]


async def test_over_a_dead_socket_a_send_hangs(acme: Caller, gateway: SimulatedGateway) -> None:
    gateway.session("acme").die()
    with pytest.raises(httpx.ReadTimeout):
        await acme.http.post(
            acme.path("send-message"), json={"phone": ANNA, "message": "x"}, headers=acme.headers, timeout=0.2
        )
    assert not gateway.ledger.received


async def test_a_call_into_a_hung_page_ends_in_500_after_the_pages_time_out() -> None:
    timings = dataclasses.replace(FAST, page_timeout=0.05)
    async with simulated_gateway(timings=timings) as gateway, caller(gateway, "acme") as api:
        await api.connect()
        gateway.session("acme").die()
        assert (await api.send(ANNA, "into the void")).status_code == 500
        assert (await api.get("check-number-status/5511900000077")).status_code == 500
        assert not gateway.ledger.received


async def test_what_never_left_a_dead_page_is_gone_with_it(acme: Caller, gateway: SimulatedGateway) -> None:
    await acme.send(ANNA, "before")
    gateway.session("acme").die(sends="ack0")
    await acme.send(ANNA, "never")
    await acme.post("close-session")
    await acme.connect()
    found = (await acme.get(f"get-messages/{ANNA}")).json()["response"]
    assert [message["body"] for message in found] == ["before"]


async def test_many_sends_side_by_side_are_all_received_once(acme: Caller, gateway: SimulatedGateway) -> None:
    async with anyio.create_task_group() as sends:
        for number in range(200):
            sends.start_soon(acme.send, f"55119000{number:05d}@c.us", f"text {number}")
    assert sorted(gateway.ledger.texts_received()) == sorted(f"text {number}" for number in range(200))
    assert len({entry.id for entry in gateway.ledger.received}) == 200


async def test_a_lid_with_its_flag_reaches_the_person(acme: Caller, gateway: SimulatedGateway) -> None:
    person = lena(gateway)
    person.writes("acme", "hi")
    await acme.send(person.id, "hi yourself", isLid=True)
    with anyio.fail_after(PATIENCE):
        await gateway.ledger.until(lambda ledger: ledger.texts_received("acme", person.id) == ["hi yourself"])


async def test_a_voice_call_without_a_voice_and_a_poll_for_nobody_are_answered_500(
    acme: Caller, gateway: SimulatedGateway
) -> None:
    assert (await acme.post("send-voice-base64", phone=ANNA)).status_code == 500
    assert (await acme.post("send-poll-message", phone="", name="Which?", choices=["a"])).status_code == 500
    assert not gateway.ledger.received


async def test_base64_without_a_data_url_is_a_document(acme: Caller, gateway: SimulatedGateway) -> None:
    await acme.post("send-file-base64", phone=ANNA, base64="AAAA")
    assert [entry.kind for entry in gateway.ledger.received] == ["document"]


async def test_a_reaction_to_an_unknown_message_and_a_card_that_quotes_one_are_answered_500(acme: Caller) -> None:
    for unknown in ("nonsense", f"false_{ANNA}_NOSUCH", "false_5511900000099@c.us_NOSUCH"):
        assert (await acme.post("react-message", msgId=unknown, reaction="👍")).status_code == 500
    card = await acme.post(
        "contact-vcard", phone=ANNA, contactsId=["1@c.us"], options={"quotedMsg": f"false_{ANNA}_NOSUCH"}
    )
    assert card.status_code == 500


async def test_a_browser_that_crashes_while_typing_sends_nothing(acme: Caller, gateway: SimulatedGateway) -> None:
    answers: list[httpx.Response] = []

    async def send() -> None:
        answers.append(await acme.post("send-message", phone=ANNA, message="x", options={"delay": 100}))

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as sends:
            sends.start_soon(send)
            await gateway.ledger.until(lambda ledger: ledger.indicators_on)
            gateway.session("acme").crash_browser()
    assert [answer.status_code for answer in answers] == [500]
    assert not gateway.ledger.received
