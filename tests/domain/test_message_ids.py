"""Message ids: their parts, their exact spelling, and what makes two messages the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.samples import payload
from tests.domain.strategies import json_values, patient
from wa_supervisor.domain.message_ids import (
    Identity,
    MessageId,
    identity_of,
    read_message_id,
    read_stanza,
    stanza_of,
)
from wa_supervisor.domain.names import ChatId, GatewayName, SessionName, StanzaId

MAIN, ACME = GatewayName("main"), SessionName("acme")


def message_id(chat: str | None, stanza: str, participant: str | None = None, *, from_me: bool = False) -> MessageId:
    """Give the id with these parts."""
    return MessageId(
        from_me=from_me,
        chat=ChatId(chat) if chat else None,
        stanza=StanzaId(stanza),
        participant=ChatId(participant) if participant else None,
    )


READABLE = {
    "false_5511900000077@c.us_3EB0A1": message_id("5511900000077@c.us", "3EB0A1"),
    "true_554921206119@c.us_3EB00B23536DAA587C4545": message_id(
        "554921206119@c.us", "3EB00B23536DAA587C4545", from_me=True
    ),
    "false_276971053570686@lid_3AE7": message_id("276971053570686@lid", "3AE7"),
    "false_120364374189865095@g.us_3AE7_185332186599628@lid": message_id(
        "120364374189865095@g.us", "3AE7", "185332186599628@lid"
    ),
    "true_120363000000000042@g.us_3EB0A4_5511900000001:66@c.us": message_id(
        "120363000000000042@g.us", "3EB0A4", "5511900000001@c.us", from_me=True
    ),
    "false_status@broadcast_255E_554954452744@c.us": message_id("status@broadcast", "255E", "554954452744@c.us"),
    "false_491766534718-1611108693@g.us_18A7_4917112031739@c.us": message_id(
        "491766534718-1611108693@g.us", "18A7", "4917112031739@c.us"
    ),
    # wa-js appends the direction in a chat with oneself, and to what the gateway sends.
    "true_5521999999999@c.us_3EB04FCA_out": message_id("5521999999999@c.us", "3EB04FCA", from_me=True),
    "false_5521999999999@c.us_3EB04FCA_in": message_id("5521999999999@c.us", "3EB04FCA"),
    "true_1203@g.us_3EB0_5511900000001@c.us_out": message_id("1203@g.us", "3EB0", "5511900000001@c.us", from_me=True),
    # The sender's app chooses the stanza: whatever stands there is one stanza, not a shorter one and a rest.
    "false_5511900000077@c.us_MY_OWN_ID": message_id("5511900000077@c.us", "MY_OWN_ID"),
    "false_1203@g.us_MY_OWN_ID_5511900000077@c.us": message_id("1203@g.us", "MY_OWN_ID", "5511900000077@c.us"),
    "false_5511900000077@c.us_in": message_id("5511900000077@c.us", "in"),
    "false__3EB0A1": message_id(None, "3EB0A1"),
    "false_not a chat_3EB0A1": message_id(None, "3EB0A1"),
}


@pytest.mark.parametrize("text", READABLE)
def test_id_is_read_into_its_parts(text: str) -> None:
    assert read_message_id(text) == READABLE[text]


@pytest.mark.parametrize("text", READABLE)
def test_id_is_given_back_as_the_gateway_spelt_it(text: str) -> None:
    found = read_message_id(text)
    assert found is not None
    assert found.serialized == text


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        True,
        [],
        {},
        "",
        "3EB0A1",
        "false",
        "false_5511@c.us",
        "false_5511@c.us_",
        "False_5511@c.us_3EB0",
        "maybe_5511@c.us_3EB0",
        "false_5511@c.us_3E\x00B0",
        "false_5511@c.us_\ud83d",
        "false_5511@c.us_3EB0\n",
        "false_5511@c.us_" + "A" * 257,
        "false_5511@c.us_" + "A" * 600,
        "_" * 512,
        {"_serialized": "false"},
        {"_serialized": {"_serialized": "false_5511@c.us_3EB0"}},
        {"id": ""},
        {"id": 5},
        {"id": "A" * 257},
        {"id": "a\nb"},
    ],
)
def test_what_is_no_id_is_none(value: object) -> None:
    assert read_message_id(value) is None
    assert stanza_of(value) is None


def test_id_may_be_an_object_with_its_whole_spelling() -> None:
    found = read_message_id(payload("onpollresponse-01")["msgId"])
    assert found == message_id("554396835966265@g.us", "3EB07AE392E9B11AF913", "552193688048127@c.us", from_me=True)
    assert found.serialized == "true_554396835966265@g.us_3EB07AE392E9B11AF913_552193688048127@c.us"


def test_id_may_be_an_object_of_parts() -> None:
    found = read_message_id({"fromMe": True, "remote": {"server": "c.us", "user": "5511900000077"}, "id": "3EB0A5"})
    assert found == message_id("5511900000077@c.us", "3EB0A5", from_me=True)
    assert found.serialized == "true_5511900000077@c.us_3EB0A5"


def test_parts_count_when_the_whole_spelling_cannot_be_read() -> None:
    parts = {"_serialized": 5, "fromMe": False, "remote": "1203@g.us", "id": "3EB0", "participant": "5511:3@c.us"}
    found = read_message_id(parts)
    assert found == message_id("1203@g.us", "3EB0", "5511@c.us")
    assert found.serialized == "false_1203@g.us_3EB0_5511@c.us"


def test_parts_without_a_chat_still_name_a_message() -> None:
    found = read_message_id({"id": "3EB0"})
    assert found == message_id(None, "3EB0")
    assert found.serialized == "false__3EB0"


@pytest.mark.parametrize(
    ("name", "stanza"),
    [("onack-01", "3EB024BA372599959E38"), ("onack-05", "3EB0A5"), ("edited-message-01", "3EB0A5")],
)
def test_stanza_is_the_same_from_an_ack_and_from_a_string(name: str, stanza: str) -> None:
    assert stanza_of(payload(name)["id"]) == stanza


@pytest.mark.parametrize(("value", "stanza"), [("3EB0", "3EB0"), ("é 1", "é 1"), ("", None), ("a\tb", None), (5, None)])
def test_bare_stanza_is_printable_or_none(value: object, stanza: str | None) -> None:
    assert read_stanza(value) == stanza


def identity(chat: str, stanza: str, *, from_me: bool = False, session: str = "acme") -> Identity:
    """Give the identity of a message."""
    found = message_id(chat, stanza, from_me=from_me)
    return identity_of(found, gateway=MAIN, session=SessionName(session), chat=ChatId(chat))


def test_key_is_readable_and_says_what_makes_the_message() -> None:
    assert identity("5511900000077@c.us", "3EB0").key == "main:acme:0::3EB0"
    assert identity("1203@g.us", "3EB0", from_me=True).key == "main:acme:1:1203@g.us:3EB0"


IDENTITIES = st.builds(
    Identity,
    gateway=st.sampled_from([MAIN, GatewayName("second")]),
    session=st.sampled_from([ACME, SessionName("acme-2")]),
    stanza=st.text("A:0@g.us", min_size=1, max_size=8).map(StanzaId),
    from_me=st.booleans(),
    group=st.none() | st.sampled_from([ChatId("0@g.us"), ChatId("00@g.us")]),
)


@given(one=IDENTITIES, other=IDENTITIES)
@patient
def test_two_messages_have_one_key_only_if_they_are_the_same(one: Identity, other: Identity) -> None:
    assert (one.key == other.key) == (one == other)


def test_chosen_stanza_cannot_pass_for_a_message_of_a_group() -> None:
    assert identity("5511900000077@c.us", "1203@g.us:3EB0").key != identity("1203@g.us", "3EB0").key


@given(
    from_me=st.booleans(),
    chat=st.from_regex(r"[0-9]{1,15}@(c\.us|lid|g\.us)", fullmatch=True),
    stanza=st.from_regex(r"[0-9A-F]{1,32}(_[0-9A-F]{1,8})?", fullmatch=True),
    participant=st.none() | st.from_regex(r"[0-9]{1,15}@(c\.us|lid)", fullmatch=True),
)
@patient
def test_parts_survive_being_written_and_read(from_me: bool, chat: str, stanza: str, participant: str | None) -> None:
    written = message_id(chat, stanza, participant, from_me=from_me)
    assert read_message_id(written.serialized) == written


@given(value=json_values)
@patient
def test_any_json_is_an_id_that_can_be_written_or_none(value: object) -> None:
    found = read_message_id(value)
    assert found is None or found.serialized.isprintable()
