"""Chat ids: what they name, what is sent with them, and how they are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.samples import payload
from tests.domain.strategies import json_values, patient
from wa_supervisor.domain.chats import ChatKind, chat_kind, is_sendable, phone_of, read_chat_id, send_flags
from wa_supervisor.domain.names import ChatId

DIGITS = st.text("0123456789", min_size=1, max_size=14)

KINDS = {
    "5511988887777@c.us": ChatKind.PERSON,
    "5511988887777@s.whatsapp.net": ChatKind.PERSON,
    "276971053570686@lid": ChatKind.LID,
    "4639165762855@lid": ChatKind.LID,
    "120363000000000042@g.us": ChatKind.GROUP,
    "491766534718-1611108693@g.us": ChatKind.GROUP,
    "120363111222333444@newsletter": ChatKind.NEWSLETTER,
    "status@broadcast": ChatKind.BROADCAST,
    "1716900525@broadcast": ChatKind.BROADCAST,
    "867051314767696@bot": ChatKind.OTHER,
    "lid": ChatKind.OTHER,
    "5511988887777": ChatKind.OTHER,
    "1@lid@c.us": ChatKind.OTHER,
    "": ChatKind.OTHER,
}


@pytest.mark.parametrize("chat", KINDS)
def test_suffix_alone_says_what_a_chat_is(chat: str) -> None:
    assert chat_kind(ChatId(chat)) is KINDS[chat]


@given(digits=DIGITS)
@patient
def test_lid_is_sent_as_a_lid_and_is_no_phone_however_many_digits_it_has(digits: str) -> None:
    chat = ChatId(f"{digits}@lid")
    assert send_flags(chat) == {"isGroup": False, "isLid": True, "isNewsletter": False}
    assert phone_of(chat) is None


@pytest.mark.parametrize("chat", KINDS)
def test_flags_name_the_kind_and_nothing_else(chat: str) -> None:
    kind = KINDS[chat]
    assert send_flags(ChatId(chat)) == {
        "isGroup": kind is ChatKind.GROUP,
        "isLid": kind is ChatKind.LID,
        "isNewsletter": kind is ChatKind.NEWSLETTER,
    }


@pytest.mark.parametrize(
    "chat",
    [
        "5511988887777@c.us",
        "551188887777@c.us",
        "5511988887777@s.whatsapp.net",
        "276971053570686@lid",
        "4639165762855@lid",
        "120363000000000042@g.us",
        "491766534718-1611108693@g.us",
        "120363111222333444@newsletter",
    ],
)
def test_reply_may_go_to_a_person_a_lid_a_group_and_a_newsletter(chat: str) -> None:
    assert is_sendable(chat)


@pytest.mark.parametrize(
    "chat",
    [
        "",
        "@c.us",
        "5511988887777",
        "5511988887777@",
        "5511988887777@c.us,5511988887778@c.us",
        "5511988887777,5511988887778@c.us",
        "5511988887777;5511988887778@c.us",
        "5511988887777@c.us\n",
        " 5511988887777@c.us",
        "+5511988887777@c.us",
        "5511-988887777@c.us",
        "5511988887777:3@c.us",
        "status@broadcast",
        "1716900525@broadcast",
        "276971053570686@LID",
        "1-2-3@g.us",
        "-2@g.us",
        "\u0661\u0662@c.us",
        "55@c.us@lid",
        # The gateway takes a number of more than 14 digits for a lid: the message would go to a stranger.
        "551198888777766@c.us",
    ],
)
def test_reply_may_go_nowhere_else(chat: str) -> None:
    assert not is_sendable(chat)


@pytest.mark.parametrize(
    ("chat", "phone"),
    [
        ("5511988887777@c.us", "5511988887777"),
        ("551188887777@c.us", "551188887777"),
        ("5511988887777@s.whatsapp.net", "5511988887777"),
        ("0@c.us", None),
        ("1" * 16 + "@c.us", None),
        ("5511988887777@g.us", None),
        ("5511988887777", None),
        ("status@broadcast", None),
    ],
)
def test_only_a_number_of_a_person_is_a_phone(chat: str, phone: str | None) -> None:
    assert phone_of(chat) == phone


@pytest.mark.parametrize(
    ("value", "chat"),
    [
        ("5511988887777@c.us", "5511988887777@c.us"),
        (" 5511988887777@c.us\n", "5511988887777@c.us"),
        ("5511988887777:66@c.us", "5511988887777@c.us"),
        ("185332186599628:2@lid", "185332186599628@lid"),
        ("5511988887777@s.whatsapp.net", "5511988887777@c.us"),
        ("5511988887777:3@s.whatsapp.net", "5511988887777@c.us"),
        ("status@broadcast", "status@broadcast"),
        ("491766534718-1611108693@g.us", "491766534718-1611108693@g.us"),
        ({"server": "lid", "user": "185332186599628", "_serialized": "185332186599628@lid"}, "185332186599628@lid"),
        ({"server": "c.us", "user": "5511988887777"}, "5511988887777@c.us"),
        ({"server": "c.us", "user": "5511988887777", "_serialized": None}, "5511988887777@c.us"),
        ({"server": "c.us", "user": "5511988887777", "_serialized": ""}, "5511988887777@c.us"),
        ({"server": "c.us", "user": "5511988887777", "_serialized": ["x"]}, "5511988887777@c.us"),
    ],
)
def test_chat_id_is_read_in_every_form_and_has_one_spelling(value: object, chat: str) -> None:
    assert read_chat_id(value) == chat


@pytest.mark.parametrize(
    "value",
    [
        None,
        5511988887777,
        True,
        [],
        ["5511988887777@c.us"],
        "",
        "@",
        "@c.us",
        "5511988887777",
        "5511988887777@",
        "5511 988887777@c.us",
        "5511988887777@c.us@lid",
        "a:b@c.us",
        "5511\x00@c.us",
        "\ud83d@c.us",
        "\u0661\u0662@c.us",
        "5" * 65 + "@c.us",
        "5" * 1_000,
        {},
        {"server": "c.us"},
        {"user": None, "server": "c.us"},
        {"user": 5511988887777, "server": "c.us"},
        {"_serialized": {"_serialized": "5511988887777@c.us"}},
    ],
)
def test_what_is_no_chat_id_is_none(value: object) -> None:
    assert read_chat_id(value) is None


def test_objects_of_the_gateways_own_answers_are_read() -> None:
    answer = payload("http-chat-by-id-01")
    assert read_chat_id(answer["id"]) == "554937899865@c.us"
    assert [read_chat_id(row) for row in payload("http-group-members-ids-01")["response"]] == [
        "556569284717@c.us",
        "556536667725@c.us",
    ]
    assert read_chat_id(payload("http-pn-lid-01")["lid"]) == "123450000067890@lid"


@given(value=json_values)
@patient
def test_what_is_read_is_read_again_as_itself(value: object) -> None:
    chat = read_chat_id(value)
    assert chat is None or read_chat_id(chat) == chat


@given(digits=DIGITS, server=st.sampled_from(["c.us", "lid", "g.us", "newsletter"]), device=st.integers(0, 99))
@patient
def test_whole_id_survives_reading(digits: str, server: str, device: int) -> None:
    assert read_chat_id(f"{digits}@{server}") == read_chat_id(f"{digits}:{device}@{server}") == f"{digits}@{server}"
    assert is_sendable(f"{digits}@{server}")
