"""What agents say: replies, what is for others, and what can never be sent."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.strategies import json_values, patient
from wa_supervisor.domain.chats import is_sendable
from wa_supervisor.domain.names import AgentId, ChatId
from wa_supervisor.domain.replies import (
    MAX_REPLY_BYTES,
    MAX_REPLY_ID,
    MAX_TEXT,
    BadReply,
    Begun,
    IncomingReply,
    NotOurs,
    Reply,
    read_reply,
)

AGENT = AgentId("agent-1")
CHAT = ChatId("5511988887777@c.us")


def incoming(payload: bytes) -> IncomingReply:
    """Give a payload as it comes on the channel."""
    return IncomingReply(agent_id=AGENT, payload=payload, entry=None)


def read(**fields: object) -> Reply | NotOurs | BadReply:
    """Read a reply with these fields beside those that today's agents send; `...` removes one."""
    given = {"chat_id": CHAT, "response": "Olá! 😀", "channel": "whatsapp", **fields}
    return read_reply(incoming(json.dumps({key: part for key, part in given.items() if part is not ...}).encode()))


def reply(**fields: object) -> Reply:
    """Read a reply that can be sent."""
    result = read(**fields)
    assert isinstance(result, Reply), result
    return result


def reason(**fields: object) -> str:
    """Read a reply that cannot be sent."""
    result = read(**fields)
    assert isinstance(result, BadReply), result
    return result.reason


def test_reply_of_todays_agents_is_read() -> None:
    source = incoming(b'{"chat_id": "5511988887777@c.us", "response": "Ol\xc3\xa1", "channel": "whatsapp"}')
    assert read_reply(source) == Reply(agent_id=AGENT, chat=CHAT, text="Olá", session=None, source=source)


def test_reply_keeps_where_it_came_from() -> None:
    source = IncomingReply(
        agent_id=AGENT,
        payload=json.dumps({"chat_id": CHAT, "response": "x"}).encode(),
        entry="1-0",
        begun=Begun(at=1786000000.0, is_named=True),
    )
    result = read_reply(source)
    assert isinstance(result, Reply)
    assert result.source is source


@pytest.mark.parametrize("session", ["acme", ..., None, ""])
def test_reply_may_ask_for_its_session(session: object) -> None:
    assert reply(session=session).session == ("acme" if session == "acme" else None)


@pytest.mark.parametrize(
    ("chat_id", "chat"),
    [
        ("5511988887777@s.whatsapp.net", "5511988887777@c.us"),
        ("5511988887777:3@s.whatsapp.net", "5511988887777@c.us"),
        (" 276971053570686@lid ", "276971053570686@lid"),
        ("491766534718-1611108693@g.us", "491766534718-1611108693@g.us"),
        ("120363111222333444@newsletter", "120363111222333444@newsletter"),
        ({"server": "c.us", "user": "5511988887777", "_serialized": "5511988887777@c.us"}, "5511988887777@c.us"),
    ],
)
def test_chat_has_the_spelling_under_which_its_messages_came(chat_id: object, chat: str) -> None:
    assert reply(chat_id=chat_id).chat == chat


def test_text_is_sent_as_it_was_written() -> None:
    assert reply(response="  two\n lines\t\n").text == "  two\n lines\t\n"


@pytest.mark.parametrize("channel", ["whatsapp", None, ...])
def test_reply_without_a_channel_is_for_whatsapp(channel: object) -> None:
    assert reply(channel=channel).chat == CHAT


@pytest.mark.parametrize("channel", ["telegram", "WhatsApp", "", 5, [], {}, ["whatsapp"]])
def test_reply_for_another_channel_is_not_ours_whatever_else_it_says(channel: object) -> None:
    assert read(channel=channel, chat_id=12345, response=None) == NotOurs()


@pytest.mark.parametrize("payload", [b"", b" ", b"\n\t"])
def test_bare_ring_of_the_bell_is_not_ours(payload: bytes) -> None:
    assert read_reply(incoming(payload)) == NotOurs()


@pytest.mark.parametrize(
    "chat_id",
    [
        ...,
        None,
        "",
        5511988887777,
        [],
        {},
        "5511988887777",
        "5511988887777@c.us,5511988887778@c.us",
        "status@broadcast",
        "551198888777766@c.us",
        "x@c.us",
    ],
)
def test_reply_without_one_whole_chat_cannot_be_sent(chat_id: object) -> None:
    assert reason(chat_id=chat_id) == "NoChat"


@pytest.mark.parametrize("response", [..., None, "", " \n", 5, ["x"], {"text": "x"}])
def test_reply_without_a_text_cannot_be_sent(response: object) -> None:
    assert reason(response=response) == "NoText"


def test_reply_above_whatsapps_limit_cannot_be_sent() -> None:
    assert reason(response="x" * (MAX_TEXT + 1)) == "TextTooLong"
    assert len(reply(response="x" * MAX_TEXT).text) == MAX_TEXT


def test_longest_text_fits_however_it_is_written_as_json() -> None:
    assert len(json.dumps({"chat_id": CHAT, "response": "😀" * MAX_TEXT})) < MAX_REPLY_BYTES
    assert reply(response="😀" * MAX_TEXT).text == "😀" * MAX_TEXT


@pytest.mark.parametrize("session", [5, ["acme"], {"name": "acme"}, True])
def test_session_must_be_a_name(session: object) -> None:
    assert reason(session=session) == "BadSession"


@pytest.mark.parametrize("reply_id", ["false_5511988887777@c.us_3EB0A1", "x", ""])
def test_reply_keeps_what_the_agent_calls_it(reply_id: str) -> None:
    assert reply(reply_id=reply_id).reply_id == reply_id


@pytest.mark.parametrize("reply_id", [..., None, 5, ["x"], {"id": "x"}, True])
def test_reply_without_a_readable_id_of_the_agents_is_sent_all_the_same(reply_id: object) -> None:
    assert reply(reply_id=reply_id).reply_id is None


def test_long_id_of_an_agents_is_cut() -> None:
    assert reply(reply_id="x" * 5000).reply_id == "x" * MAX_REPLY_ID


POISON = {
    "words": (b"hello", "NotJson"),
    "half an object": (b"{", "NotJson"),
    "no UTF-8": (b"\xff\xfe", "NotJson"),
    "no UTF-8 in a text": (b'{"response": "\xff"}', "NotJson"),
    "half a character": (b'{"response": "\\ud83d"}', "NotJson"),
    "a number beyond floats": (b'{"n": 1e999}', "NotJson"),
    "no number": (b'{"n": NaN}', "NotJson"),
    "NUL": (b"\x00", "NotJson"),
    "deeper than Python recurses": (b"[" * 5000 + b"]" * 5000, "NotJson"),
    "a number": (b"5", "NotAnObject"),
    "null": (b"null", "NotAnObject"),
    "a text": (b'"text"', "NotAnObject"),
    "a list of replies": (b'[{"chat_id": "5511988887777@c.us"}]', "NotAnObject"),
    "a megabyte": (b"1" * (MAX_REPLY_BYTES + 1), "TooLarge"),
}


@pytest.mark.parametrize("poison", POISON)
def test_poison_has_a_reason_and_harms_nobody(poison: str) -> None:
    payload, name = POISON[poison]
    result = read_reply(incoming(payload))
    assert isinstance(result, BadReply)
    assert result.reason == name
    assert len(result.message) < 300


def test_repr_of_a_reply_keeps_its_text_to_itself() -> None:
    result = reply(response="a private word")
    assert "private" not in repr(result)


REPLIES = st.fixed_dictionaries(
    {},
    optional={
        "chat_id": st.just(CHAT) | json_values,
        "response": st.text() | json_values,
        "channel": st.just("whatsapp") | json_values,
        "session": st.text() | json_values,
        "reply_id": st.text() | json_values,
    },
)


@given(payload=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
@patient
def test_any_bytes_never_raise(payload: bytes) -> None:
    assert isinstance(read_reply(incoming(payload)), Reply | NotOurs | BadReply)


@given(fields=REPLIES)
@patient
def test_what_is_read_as_a_reply_can_be_sent(fields: dict[str, object]) -> None:
    result = read_reply(incoming(json.dumps(fields).encode()))
    assert isinstance(result, Reply | NotOurs | BadReply)
    if isinstance(result, Reply):
        assert is_sendable(result.chat)
        assert 0 < len(result.text) <= MAX_TEXT
        assert result.text.encode()
