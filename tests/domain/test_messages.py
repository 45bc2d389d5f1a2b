"""What becomes of every recorded payload, and of anything else that a gateway may send.

The tables were written from the payloads and the gateway's behaviour, not from what the reader answers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.samples import PAYLOADS, SAMPLES, Message, message_objects, payload, received
from tests.domain.strategies import json_values, mutated, nested, patient
from wa_supervisor.domain.agent_input import agent_input
from wa_supervisor.domain.chats import ChatKind, chat_kind
from wa_supervisor.domain.gateway_events import EVENT_NAMES, GatewayEvent, read_event
from wa_supervisor.domain.marks import Place
from wa_supervisor.domain.message_ids import read_message_id
from wa_supervisor.domain.messages import MAX_TEXT, InboundMessage, LeftOut, LeftOutReason, OwnMessage, read_message
from wa_supervisor.domain.names import ChatId, GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.people import unknown_person

GATEWAY = GatewayName("main")
R = LeftOutReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a message becomes."""

    chat: str
    sender: str = ""
    """Empty: the chat."""
    phone: str | None = None
    name: str = ""
    text: str
    type: str = "chat"
    stanza: str
    sent_at: int = 0
    quoted: str | None = None


def contact_a(text: str, stanza: str, kind: str = "chat") -> Expected:
    """Give what becomes of a reconstructed direct message."""
    return Expected(
        chat="5511900000077@c.us",
        phone="5511900000077",
        name="Contact A",
        text=text,
        type=kind,
        stanza=stanza,
        sent_at=1786000000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What an own message becomes."""

    chat: str
    stanza: str
    sent_at: int
    ack: int = 1


HTTP_PERSON = {"chat": "556569284717@c.us", "phone": "556569284717", "name": "Pessoa 25"}

EXPECTED: dict[str, Expected | Own | LeftOutReason] = {
    # A story, with a caption: nobody wrote that to the session.
    "received-message-01": R.STORY,
    # The body of an image is its thumbnail, not a text.
    "received-message-02": R.MEDIA_WITHOUT_TEXT,
    "received-message-03": Expected(
        chat="120365363207306575@g.us",
        sender="554910172312@c.us",
        phone="554910172312",
        name="Pessoa 4",
        text="texto de exemplo áé 😀",
        stanza="3EB0B56D66FE04DAF32FB8",
        sent_at=1716900394,
        quoted="5996A78679BCAA11FAE29256F419A7E2",
    ),
    "received-message-04": Expected(
        chat="554921206119@c.us",
        phone="554921206119",
        name="Pessoa 5",
        text="texto de exemplo áé 😀",
        stanza="B86D396EA5AC1E9A5DF4EF64EAF42C81",
        sent_at=1716900525,
    ),
    "received-message-05": Own(chat="554921206119@c.us", stanza="3EB00B23536DAA587C4545", sent_at=1716900720),
    "received-message-06": Expected(
        chat="554937899865@c.us",
        phone="554937899865",
        name="Pessoa 7",
        text="asl",
        stanza="3EB037EB1F397CC4AF2158",
        sent_at=1717458730,
    ),
    # An old group, whose id is its founder's number and a time.
    "received-message-07": Expected(
        chat="491766534718-1611108693@g.us",
        sender="4917112031739@c.us",
        phone="4917112031739",
        name="Pessoa 8",
        text="Test",
        stanza="18A77CAA348E49365223E9099473C1E9",
        sent_at=1705854353,
    ),
    "received-message-08": contact_a("Oi, tudo bem?", "3EB0A1"),
    # A privacy id whose number WhatsApp knows.
    "received-message-10": Expected(
        chat="123450000067890@lid",
        phone="5511900000077",
        name="Contact A",
        text="same, but the contact carries the number",
        stanza="3EB0A2B",
        sent_at=1786000000,
    ),
    "received-message-12": Own(chat="120363000000000042@g.us", stanza="3EB0A4", sent_at=1786000000),
    "received-message-13": Own(chat="5511900000077@c.us", stanza="3EB0A5", sent_at=1786000000),
    "received-message-14": R.STORY,
    "received-message-16": contact_a("decrypted a moment later, same id", "3EB0B1"),
    "received-message-17": R.UNSUPPORTED_TYPE,
    "received-message-18": R.UNSUPPORTED_TYPE,
    "received-message-19": R.UNSUPPORTED_TYPE,
    "received-message-20": R.UNSUPPORTED_TYPE,
    "received-message-22": R.MEDIA_WITHOUT_TEXT,
    "received-message-23": R.MEDIA_WITHOUT_TEXT,
    # A caption is a text that a person wrote; the body is the file.
    "received-message-24": contact_a("olha isso", "3EB0E4", "video"),
    "received-message-27": R.UNSUPPORTED_TYPE,
    "received-message-29": contact_a("Falar com atendente", "3EB0F3", "list_response"),
    "received-message-31": contact_a("Confirmar", "3EB0F5", "template_button_reply"),
    "received-message-32": R.UNSUPPORTED_TYPE,
    "received-message-34": R.UNSUPPORTED_TYPE,
    "received-message-35": R.UNSUPPORTED_TYPE,
    "received-message-36": R.UNSUPPORTED_TYPE,
    "message-object-01": R.MEDIA_WITHOUT_TEXT,
    # The caption of this document is its file name, which nobody wrote.
    "message-object-02": R.MEDIA_WITHOUT_TEXT,
    "message-object-03": Expected(
        chat="558833220478-1646295118@g.us",
        sender="558833220478@c.us",
        phone="558833220478",
        name="Pessoa 20",
        text="Hi",
        stanza="1BG7C215D2D4F156AE84E0862DD58880",
        sent_at=1636110320,
    ),
    # A Brazilian number without the ninth digit stays as WhatsApp writes it.
    "onmessage-01": Expected(
        chat="554837896431@c.us",
        phone="554837896431",
        name="Pessoa 13",
        text="Eu quero ser um cliente Clube Cash Farma!",
        stanza="9C5C3ECFC0EE9FD6DAA911DC25097AD4",
        sent_at=1701717487,
    ),
    # And one with it.
    "onmessage-02": Expected(
        chat="5511205108146@c.us",
        phone="5511205108146",
        name="Pessoa 14",
        text="Eu quero ser um cliente Clube Cash Farma!",
        stanza="3A145C07428E782B3091",
        sent_at=1701783606,
    ),
    "onmessage-03": Expected(
        chat="558171039267@c.us",
        phone="558171039267",
        name="Pessoa 15",
        text="Jajajs",
        stanza="3AB4EB53229F1DCC4A7B",
        sent_at=1726872632,
    ),
    "onmessage-04": Expected(
        chat="554175732556@c.us",
        phone="554175732556",
        name="Pessoa 17",
        text="msg 2",
        stanza="3EB0D454A12B14E80020",
        sent_at=1634418613,
    ),
    # No chatId; the participant is a lid and sender.id an object.
    "onmessage-05": Expected(
        chat="120364374189865095@g.us",
        sender="185332186599628@lid",
        text="oi",
        stanza="3AE7951B92607B7B73F8",
    ),
    # No sender and no number anywhere: the person is the lid.
    "onmessage-06": Expected(
        chat="276971053570686@lid",
        text="Oi, quero reservar",
        stanza="3AE7951B92607B7B73F8",
    ),
    "onmessage-07": contact_a("Oi, tudo bem?", "3EB0A1"),
    # HTTP answers, with chatId and sender.id as objects.
    "http-all-messages-in-chat-01[0]": Own(
        chat="556569284717@c.us", stanza="3EB02AA63F5EF81C3EA5", sent_at=1620745135, ack=3
    ),
    "http-all-messages-in-chat-01[1]": Expected(
        **HTTP_PERSON, text="Dhdh", stanza="1B69CFDC0BDBAB37B2B628D90CBA0F47", sent_at=1620850522
    ),
    "http-all-messages-in-chat-01[2]": Own(
        chat="556569284717@c.us", stanza="3EB01FA502A921588DC7", sent_at=1620851002, ack=3
    ),
    "http-all-new-messages-01[0]": Own(
        chat="556569284717@c.us", stanza="706FE1178AF8E87565AFDD27A5126FC1", sent_at=1620935194, ack=3
    ),
    "http-all-new-messages-01[1]": Expected(
        **HTTP_PERSON, text="Nova menso ?", stanza="1D5E60F95A1D8CE171E2B0019BD88FAF", sent_at=1620935214
    ),
    "http-chat-by-id-02[0]": Expected(
        **HTTP_PERSON, text="Nova menso ?", stanza="1D5E60F95A1D8CE171E2B0019BD88FAF", sent_at=1620935214
    ),
    "http-chat-by-id-02[2]": Own(chat="556569284717@c.us", stanza="3EB02AA63F5EF81C3EA5", sent_at=1620745135, ack=3),
    "http-unread-messages-01[0].messages[0]": Expected(
        **HTTP_PERSON, text="Oi oi oi", stanza="BA86D62376F08B22171EB46A18B23B13", sent_at=1620745051
    ),
}

MESSAGES = dict(message_objects())


def direct(**changes: Any) -> Message:  # noqa: ANN401  # any field may be of any type; that is the point
    """Give a direct text with some fields changed; `...` removes a field."""
    fields = {**payload("received-message-08")["response"], **changes}
    return {key: value for key, value in fields.items() if value is not ...}


def group(**changes: Any) -> Message:  # noqa: ANN401  # any field may be of any type; that is the point
    """Give a group's text with some fields changed; `...` removes a field."""
    fields = {**payload("received-message-07")["response"], **changes}
    return {key: value for key, value in fields.items() if value is not ...}


def read(message: Message, session: str | None = None) -> InboundMessage | OwnMessage | LeftOut:
    """Read a message object."""
    return read_message(received(message, session), GATEWAY)


def message_of(message: Message) -> InboundMessage:
    """Read a message object that is for the agent."""
    result = read(message, "acme")
    assert isinstance(result, InboundMessage), result
    return result


def reason_of(message: Message) -> LeftOutReason:
    """Read a message object that is not for the agent."""
    result = read(message, "acme")
    assert isinstance(result, LeftOut), result
    return result.reason


def own_of(message: Message) -> OwnMessage:
    """Read a message object that the session's own account sent."""
    result = read(message, "acme")
    assert isinstance(result, OwnMessage), result
    return result


def place_in(chat: str, message: Message, at: int) -> Place:
    """Give where a message object stands."""
    message_id = read_message_id(message["id"])
    assert message_id is not None
    return Place(chat=ChatId(chat), id=message_id, at=at)


def test_every_sample_is_here_and_in_the_readme() -> None:
    listed = [
        line.split("|")[1].strip() for line in (PAYLOADS / "README.md").read_text().splitlines() if ".json |" in line
    ]
    assert len(SAMPLES) == 111
    assert sorted(listed) == sorted(f"{name}.json" for name in SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_no_sample_raises_under_any_event_name(name: str) -> None:
    sample = SAMPLES[name]
    for event in {sample.event_name, *EVENT_NAMES}:
        for shape in (sample.payload, {"response": sample.payload}, {"response": sample.payload, "session": "acme"}):
            assert isinstance(read_event(event, shape, GATEWAY), GatewayEvent)


def test_every_message_of_the_samples_has_an_expected_fate() -> None:
    assert MESSAGES.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", [name for name, fate in EXPECTED.items() if isinstance(fate, Expected)])
def test_sample_becomes_the_message_that_it_is(name: str) -> None:
    want = cast("Expected", EXPECTED[name])
    original = MESSAGES[name]
    message = message_of(original)
    assert message == InboundMessage(
        identity=message.identity,
        message_id=original["id"],
        chat=message.chat,
        sender=message.sender,
        text=want.text,
        type=want.type,
        sent_at=want.sent_at,
        quoted=want.quoted,
        place=place_in(want.chat, original, want.sent_at),
    )
    assert message.place.mark.message_id == original["id"]
    assert message.chat == want.chat
    assert (message.sender.id, message.sender.phone, message.sender.name) == (
        want.sender or want.chat,
        want.phone,
        want.name,
    )
    identity = message.identity
    assert (identity.gateway, identity.session, identity.stanza, identity.from_me) == (
        "main",
        "acme",
        want.stanza,
        False,
    )
    assert identity.group == (want.chat if want.chat.endswith("@g.us") else None)


@pytest.mark.parametrize("name", [name for name, fate in EXPECTED.items() if isinstance(fate, LeftOutReason)])
def test_sample_is_left_out_for_its_reason_and_keeps_its_place(name: str) -> None:
    original = MESSAGES[name]
    chat = original.get("chatId") or original["from"]
    result = read(original, "acme")
    assert result == LeftOut(
        reason=cast("LeftOutReason", EXPECTED[name]),
        session=SessionName("acme"),
        detail=original["type"],
        place=place_in(chat, original, original["t"]),
    )


@pytest.mark.parametrize("name", [name for name, fate in EXPECTED.items() if isinstance(fate, Own)])
def test_sample_is_the_own_message_that_it_is(name: str) -> None:
    want = cast("Own", EXPECTED[name])
    original = MESSAGES[name]
    assert read(original, "acme") == OwnMessage(
        session=SessionName("acme"),
        place=place_in(want.chat, original, want.sent_at),
        text=original["body"],
        ack=want.ack,
    )
    assert own_of(original).stanza == want.stanza


def test_message_says_which_session_received_it() -> None:
    result = read_message(payload("received-message-07"), GATEWAY)
    assert isinstance(result, InboundMessage)
    assert result.session == "smrt"


def test_session_beside_the_message_counts_where_the_message_names_none() -> None:
    envelope = {"response": direct(session=...), "session": "beside"}
    result = read_message(envelope, GATEWAY)
    assert isinstance(result, InboundMessage)
    assert result.session == "beside"


@pytest.mark.parametrize("session", [..., None, "", 5, ["acme"], {"name": "acme"}, "x" * 201, "a\nb", "\ud83d"])
def test_message_without_a_session_is_left_out_as_such(session: object) -> None:
    assert read(direct(session=session)) == LeftOut(reason=R.NO_SESSION)


def test_sample_that_lost_its_session_is_left_out_as_such() -> None:
    assert read_message(payload("received-message-06"), GATEWAY) == LeftOut(reason=R.NO_SESSION)


@pytest.mark.parametrize("body", [None, "text", 1, [], [{"response": {}}], {}, {"response": None}, {"response": "x"}])
def test_what_is_no_message_object_is_left_out_as_such(body: object) -> None:
    assert read_message(body, GATEWAY) == LeftOut(reason=R.NOT_AN_OBJECT)


def test_list_of_messages_is_no_message_object() -> None:
    assert read_message({"response": [direct()]}, GATEWAY) == LeftOut(reason=R.NOT_AN_OBJECT)


# Peers: other systems' payloads, for the shapes that may come one day.


def test_raw_web_message_of_a_peer_is_read_with_its_id_as_an_object() -> None:
    raw = payload("peer-waha-message-01")["payload"]["_data"]
    message = message_of(raw)
    assert message.chat == message.sender.id == "971593601492@c.us"
    assert (message.sender.phone, message.sender.name) == ("971593601492", "Pessoa 29")
    assert message.text == "Hey the toilet is not flushing please come and figure it out"
    assert message.identity.stanza == "3EB062CF135C8FDE457527"
    assert message.message_id == "false_971593601492@c.us_3EB062CF135C8FDE457527"


def test_peer_message_without_a_type_is_left_out_as_unsupported() -> None:
    assert reason_of(payload("peer-waha-message-02")["payload"]) is R.UNSUPPORTED_TYPE


@pytest.mark.parametrize(
    ("name", "lid"),
    [("peer-waha-message-02", "4639165762855@lid"), ("onmessage-06", "276971053570686@lid")],
)
def test_lid_of_13_or_15_digits_is_a_person_and_never_a_phone(name: str, lid: str) -> None:
    sample = payload(name)
    message = message_of({**sample.get("payload", sample), "type": "chat"})
    assert message.chat == message.sender.id == lid
    assert message.sender.phone is None


@pytest.mark.parametrize("name", ["peer-waha-message-03", "peer-wa-gateway-message-01"])
def test_peer_message_without_an_id_is_left_out_as_such(name: str) -> None:
    sample = payload(name)
    assert reason_of(sample.get("payload", sample)) is R.NO_MESSAGE_ID


# Identity.


def test_ciphertext_waits_and_its_decrypted_second_is_the_message() -> None:
    second = payload("received-message-16")["response"]
    first = {**second, "type": "ciphertext", "body": None, "content": None}
    message = message_of(second)
    assert read(first, "acme") == LeftOut(
        reason=R.AWAITING_DECRYPTION, session=message.session, detail="ciphertext", place=message.place
    )
    assert message.message_id == first["id"]
    assert message.text == "decrypted a moment later, same id"


def test_ciphertext_with_a_body_waits_too() -> None:
    assert reason_of(direct(type="ciphertext", body="x")) is R.AWAITING_DECRYPTION


@given(
    stanza=st.text("0123456789ABCDEF", min_size=1, max_size=40),
    number=st.text("0123456789", min_size=8, max_size=13),
    lid=st.text("0123456789", min_size=8, max_size=20),
)
@patient
def test_direct_message_is_the_same_whether_its_chat_is_a_number_or_a_lid(stanza: str, number: str, lid: str) -> None:
    identities = {
        message_of(
            direct(id=f"false_{in_id}_{stanza}", chatId=chat_id, **{"from": chat_id}, sender={"id": chat_id})
        ).identity
        for in_id in (f"{number}@c.us", f"{lid}@lid")
        for chat_id in (f"{number}@c.us", f"{lid}@lid", {"server": "lid", "user": lid, "_serialized": f"{lid}@lid"})
    }
    assert len(identities) == 1
    assert len({identity.key for identity in identities}) == 1


def test_group_message_is_the_same_whether_its_participant_is_a_number_or_a_lid() -> None:
    chat = "120363000000000042@g.us"
    by_number = message_of(group(id=f"false_{chat}_3EB0_5511900000077:3@c.us", chatId=chat))
    by_lid = message_of(group(id=f"false_{chat}_3EB0_185332186599628@lid", chatId=chat))
    assert by_number.identity == by_lid.identity


def test_same_stanza_in_two_groups_is_two_messages() -> None:
    one, other = (
        message_of(group(id=f"false_{chat}_3EB0_5511900000077@c.us", chatId=chat))
        for chat in ("120363000000000042@g.us", "120363000000000043@g.us")
    )
    assert one.identity != other.identity
    assert one.identity.key != other.identity.key


# Chat.


@pytest.mark.parametrize(
    "chat_id",
    ["5511900000077@c.us", {"_serialized": "5511900000077@c.us"}, {"user": "5511900000077", "server": "c.us"}],
)
def test_chat_id_may_be_a_string_or_an_object(chat_id: object) -> None:
    assert message_of(direct(chatId=chat_id)).chat == "5511900000077@c.us"


@pytest.mark.parametrize("chat_id", [..., None, "", 5, [], {}, {"_serialized": 5}, "no suffix", "two@chats@c.us"])
def test_chat_comes_from_the_id_when_chat_id_cannot_be_read(chat_id: object) -> None:
    assert message_of(direct(chatId=chat_id)).chat == "5511900000077@c.us"


def test_chat_comes_from_the_other_side_when_nothing_else_has_it() -> None:
    assert message_of(direct(id="false__3EB0A1", chatId=...)).chat == "5511900000077@c.us"


@pytest.mark.parametrize("own", [{"id": "true__3EB0A1"}, {"id": "false__3EB0A1", "fromMe": True}])
def test_chat_of_an_own_message_is_whom_it_went_to(own: Message) -> None:
    sent_to = {"chatId": ..., "from": "5511900000001@c.us"}
    assert own_of(direct(**own, **sent_to, to="5511900000077@c.us")).place.chat == "5511900000077@c.us"
    assert reason_of(direct(**own, **sent_to, to="status@broadcast")) is R.STORY


def test_message_without_a_chat_is_left_out_as_such() -> None:
    assert reason_of(direct(id="false__3EB0A1", chatId=..., **{"from": None})) is R.NO_CHAT


@pytest.mark.parametrize(
    ("chat", "reason"),
    [
        ("status@broadcast", R.STORY),
        ("120363111222333444@newsletter", R.NEWSLETTER),
        ("something@new", R.UNKNOWN_CHAT_KIND),
    ],
)
def test_chat_of_another_kind_is_left_out_under_its_name(chat: str, reason: LeftOutReason) -> None:
    assert reason_of(direct(chatId=chat)) is reason


def test_own_message_is_known_by_either_mark() -> None:
    for mark in (
        {"id": "true_5511900000077@c.us_3EB0A1", "fromMe": ...},
        {"id": "false_5511900000077@c.us_3EB0A1", "fromMe": True},
        {"id": {"fromMe": True, "remote": "5511900000077@c.us", "id": "3EB0A1"}, "fromMe": ...},
    ):
        own = own_of(direct(**mark))
        assert (own.place.chat, own.stanza, own.text) == ("5511900000077@c.us", "3EB0A1", "Oi, tudo bem?")


@pytest.mark.parametrize("kind", ["ciphertext", "image", "revoked", ..., None])
def test_own_message_of_any_type_moves_on_its_chat(kind: object) -> None:
    own = own_of(direct(fromMe=True, type=kind, body=None, content=None))
    assert own.text == ""
    assert own.place == message_of(direct()).place


@pytest.mark.parametrize(("ack", "read_as"), [(0, 0), (3, 3), (-1, -1), (None, 0), ("2", 0), (True, 0), (1.5, 0)])
def test_ack_of_an_own_message_is_a_whole_number_or_none(ack: object, read_as: int) -> None:
    assert own_of(direct(fromMe=True, ack=ack)).ack == read_as


def test_session_that_is_known_otherwise_needs_no_name_in_the_message_and_wins_over_it() -> None:
    for named in ("other", ...):
        result = read_message({"response": direct(session=named)}, GATEWAY, session=SessionName("acme"))
        assert isinstance(result, InboundMessage)
        assert result.session == "acme"


@pytest.mark.parametrize("message_id", [..., None, "", 5, "3EB0A1", "maybe_5511@c.us_3EB0", {}, {"id": 5}, "x" * 600])
def test_message_without_an_id_is_left_out_as_such(message_id: object) -> None:
    assert reason_of(direct(id=message_id)) is R.NO_MESSAGE_ID


# Sender.


def test_sender_of_a_group_message_is_the_author_when_sender_is_missing() -> None:
    sender = message_of(group(sender=None, author="185332186599628:12@lid")).sender
    assert (sender.id, sender.phone, sender.name) == ("185332186599628@lid", None, "Pessoa 8")


def test_sender_of_a_group_message_is_the_participant_when_nothing_else_names_one() -> None:
    assert message_of(group(sender=..., author=...)).sender.id == "4917112031739@c.us"


def test_group_itself_is_never_the_sender() -> None:
    chat = "120363000000000042@g.us"
    message = group(id=f"false_{chat}_3EB0", chatId=chat, **{"from": chat}, author=chat, sender={"id": chat})
    assert reason_of(message) is R.NO_SENDER


def test_sender_of_a_direct_message_is_from_or_the_chat_when_sender_is_missing() -> None:
    assert message_of(direct(sender=...)).sender.id == "5511900000077@c.us"
    assert message_of(direct(sender=..., **{"from": ...})).sender.id == "5511900000077@c.us"


@pytest.mark.parametrize("number", [None, 5, "not a number", "123450000067890@lid"])
def test_lid_without_a_readable_number_has_no_phone(number: object) -> None:
    sample = payload("received-message-10")["response"]
    message = message_of({**sample, "sender": {**sample["sender"], "phoneNumber": number}})
    assert message.sender.phone is None


def test_number_beside_a_lid_may_be_an_object() -> None:
    sample = payload("received-message-10")["response"]
    number = payload("http-pn-lid-01")["phoneNumber"]
    message = message_of({**sample, "sender": {**sample["sender"], "phoneNumber": number}})
    assert message.sender.phone == "5511900000077"


@pytest.mark.parametrize(
    ("pushname", "notify", "saved", "name"),
    [
        ("Ana", "Bea", "Cid", "Ana"),
        (" ", "Bea", "Cid", "Bea"),
        ("\x00", "\n", "Cid", "Cid"),
        (None, 5, ["Cid"], ""),
        ("  Ana Maria ", None, None, "Ana Maria"),
        ("Ana \ud83d", None, None, "Ana ?"),
        ("x" * 5000, None, None, "x" * 200),
    ],
)
def test_name_is_the_first_that_says_something(pushname: object, notify: object, saved: object, name: str) -> None:
    sender = {"id": "5511900000077@c.us", "pushname": pushname, "name": saved}
    assert message_of(direct(sender=sender, notifyName=notify)).sender.name == name


# Text, type and time.


@pytest.mark.parametrize("body", [..., None, "", 5, ["hi"], {"text": "hi"}, "\x00\x00"])
def test_text_without_characters_is_left_out_as_such(body: object) -> None:
    assert reason_of(direct(body=body, content=None)) is R.NO_TEXT


def test_text_is_the_content_when_the_body_is_missing() -> None:
    assert message_of(direct(body=None, content="from content")).text == "from content"


def test_text_is_made_fit_for_json_and_postgresql() -> None:
    assert message_of(direct(body="a\x00b\ud83dc")).text == "ab?c"


@pytest.mark.parametrize("fields", [{"body": "x" * (MAX_TEXT + 1)}, {"type": "image", "caption": "x" * (MAX_TEXT + 1)}])
def test_text_above_whatsapps_limit_is_left_out_wherever_it_stands(fields: Message) -> None:
    assert reason_of(direct(**fields)) is R.TEXT_TOO_LONG


def test_text_of_exactly_whatsapps_limit_is_a_message() -> None:
    assert len(message_of(direct(body="x" * MAX_TEXT)).text) == MAX_TEXT


@pytest.mark.parametrize("kind", ["image", "video", "document", "audio", "ptt", "ptv", "sticker"])
def test_media_has_only_its_caption_as_text(kind: str) -> None:
    media = direct(type=kind, body="/9j/4AAQ", content="/9j/4AAQ", filename="a.pdf")
    assert reason_of(media) is R.MEDIA_WITHOUT_TEXT
    assert reason_of({**media, "caption": "a.pdf"}) is R.MEDIA_WITHOUT_TEXT
    assert reason_of({**media, "caption": "report", "isCaptionByUser": False}) is R.MEDIA_WITHOUT_TEXT
    assert reason_of({**media, "caption": ["report"]}) is R.MEDIA_WITHOUT_TEXT
    assert message_of({**media, "caption": "look"}).text == "look"
    assert message_of({**media, "caption": "look", "isCaptionByUser": True}).text == "look"


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        (..., "none"),
        (None, "none"),
        (5, "none"),
        ("tipo\u00e9", "none"),
        ("a\nb", "none"),
        ("new", "new"),
        ("x" * 99, "x" * 40),
    ],
)
def test_unknown_type_is_left_out_under_a_word_that_is_safe_as_a_label(kind: object, detail: str) -> None:
    result = read(direct(type=kind))
    assert isinstance(result, LeftOut)
    assert (result.reason, result.detail) == (R.UNSUPPORTED_TYPE, detail)


@pytest.mark.parametrize(
    ("t", "timestamp", "sent_at"),
    [
        (1716900525, 5, 1716900525),
        (1716900525.9, 5, 1716900525),
        ("1716900525", None, 1716900525),
        (None, 1716900525, 1716900525),
        (True, 1716900525, 1716900525),
        ("soon", "1716900525", 1716900525),
        ("\u0661\u0662", None, 0),
        ("9" * 5000, None, 0),
        (float("nan"), float("inf"), 0),
        (-1, 10**40, 0),
        (1716900525000, None, 0),
        ([], {}, 0),
    ],
)
def test_time_is_whole_seconds_or_nothing(t: object, timestamp: object, sent_at: int) -> None:
    assert message_of(direct(t=t, timestamp=timestamp)).sent_at == sent_at


@pytest.mark.parametrize("quoted", [None, "", 5, {}, "x" * 300, "\ud83d"])
def test_unreadable_quotation_is_none(quoted: object) -> None:
    assert message_of(direct(quotedStanzaID=quoted)).quoted is None


def test_repr_of_a_message_keeps_its_text_to_itself() -> None:
    assert "tudo bem" not in repr(message_of(direct()))
    assert "tudo bem" not in repr(own_of(direct(fromMe=True)))


# Anything at all.


def check(result: GatewayEvent) -> None:
    """Check what holds of every event, above all that a message can be handed over and is nobody's own."""
    assert isinstance(result, GatewayEvent)
    if isinstance(result, InboundMessage):
        assert not result.identity.from_me
        assert 0 < len(result.text) <= MAX_TEXT
        assert chat_kind(result.chat) in {ChatKind.PERSON, ChatKind.LID, ChatKind.GROUP}
        assert chat_kind(result.sender.id) in {ChatKind.PERSON, ChatKind.LID}
        assert result.identity.key.isprintable()
        given_out = msgspec.json.decode(agent_input(result, unknown_person(result.sender), IntegrationId("i")))
        assert given_out["text"] == result.text
        assert "\x00" not in json.dumps(given_out, ensure_ascii=False)
        assert result.place.mark.message_id == result.message_id
    elif isinstance(result, OwnMessage):
        assert chat_kind(result.place.chat) in {ChatKind.PERSON, ChatKind.LID, ChatKind.GROUP}
        assert result.text.encode()
    elif isinstance(result, LeftOut):
        assert result.detail.isascii()
        assert len(result.detail) <= 40


BREAKABLE = [received(message, "acme") for message in MESSAGES.values()]


@given(broken=mutated(BREAKABLE))
@patient
def test_broken_message_never_raises_and_is_a_message_or_has_a_reason(broken: object) -> None:
    result = read_event("received-message", broken, GATEWAY)
    check(result)
    assert isinstance(result, InboundMessage | OwnMessage | LeftOut)


@given(broken=mutated([sample.payload for sample in SAMPLES.values()]), name=st.sampled_from(sorted(EVENT_NAMES)))
@patient
def test_broken_event_never_raises(broken: object, name: str) -> None:
    check(read_event(name, broken, GATEWAY))


@given(anything=json_values, name=st.sampled_from(sorted(EVENT_NAMES)) | st.text())
@patient
def test_any_json_under_any_name_never_raises(anything: object, name: str) -> None:
    check(read_event(name, anything, GATEWAY))
    check(read_event("received-message", {"response": anything, "session": "acme"}, GATEWAY))


def test_value_nested_deeper_than_python_recurses_never_raises_in_any_field() -> None:
    deep: list[object] = [
        nested(lambda inner: [inner]),
        nested(lambda inner: {"_serialized": inner, "user": inner, "server": inner, "id": inner, "response": inner}),
        nested(lambda inner: {"user": inner, "server": "c.us", "remote": inner}),
    ]
    for value in deep:
        check(read_message(value, GATEWAY))
        for kind in ("chat", "image"):
            for field in direct(caption="", filename="", quotedStanzaID="", author=""):
                check(read({**direct(type=kind), field: value}, "acme"))
            check(read(direct(type=kind, caption=value, filename=value), "acme"))
        for name in EVENT_NAMES:
            check(read_event(name, value, GATEWAY))
            check(read_event(name, {"data": value, "session": value, "id": value, "ack": value}, GATEWAY))
