"""What a gateway remembers of chats: rows of `list-chats`, and messages of `get-messages`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.samples import message_objects, payload
from tests.domain.strategies import json_values, mutated, nested, patient
from wa_supervisor.domain.chat_history import ChatRow, Found, oldest_first, read_chat_row, read_found
from wa_supervisor.domain.message_ids import MessageId
from wa_supervisor.domain.messages import InboundMessage, LeftOut, LeftOutReason, OwnMessage
from wa_supervisor.domain.names import ChatId, GatewayName, SessionName, StanzaId

MAIN, ACME = GatewayName("main"), SessionName("acme")
ANNA = ChatId("5511900000077@c.us")

ROWS = [row for name in ("http-list-chats-01", "http-list-chats-02") for row in payload(name)]
MESSAGES = dict(message_objects())


def row(**changes: Any) -> dict[str, object]:  # noqa: ANN401  # any field may be of any type; that is the point
    """Give a row with some fields changed; `...` removes a field."""
    given = {
        "id": {"server": "c.us", "user": "5511900000077", "_serialized": ANNA},
        "t": 1786000000,
        "lastReceivedKey": {"fromMe": False, "remote": ANNA, "id": "3EB0A1", "_serialized": f"false_{ANNA}_3EB0A1"},
        **changes,
    }
    return {key: value for key, value in given.items() if value is not ...}


def read(value: object) -> ChatRow:
    """Read a row that names a chat."""
    found = read_chat_row(value)
    assert found is not None
    return found


@pytest.mark.parametrize("recorded", ROWS, ids=range(len(ROWS)))
def test_recorded_row_is_read(recorded: dict[str, Any]) -> None:
    found = read(recorded)
    assert found.chat == recorded["id"]["_serialized"]
    assert found.at == recorded.get("t", 0)
    key = recorded.get("lastReceivedKey")
    assert (found.last.serialized if found.last else None) == (key["_serialized"] if key else None)


def test_row_names_its_chat_its_time_and_its_last_message() -> None:
    last = MessageId(from_me=False, chat=ANNA, stanza=StanzaId("3EB0A1"), participant=None)
    assert read(row()) == ChatRow(chat=ANNA, at=1786000000, last=last)


@pytest.mark.parametrize("chat", [ANNA, {"_serialized": ANNA}, {"user": "5511900000077", "server": "c.us"}])
def test_id_of_a_chat_may_be_a_string_or_an_object(chat: object) -> None:
    assert read(row(id=chat)).chat == ANNA


@pytest.mark.parametrize("chat", [..., None, "", 5, [], {}, "no suffix", {"_serialized": 5}])
def test_row_that_names_no_chat_is_none(chat: object) -> None:
    assert read_chat_row(row(id=chat)) is None


@pytest.mark.parametrize("value", [None, 5, "x", [], [row()]])
def test_what_is_no_row_is_none(value: object) -> None:
    assert read_chat_row(value) is None


@pytest.mark.parametrize("at", [..., None, True, "soon", -1, 0, 1e12, 10**40, float("nan"), float("inf"), [], {}])
def test_time_that_is_none_is_unknown(at: object) -> None:
    assert read(row(t=at)).at == 0


@pytest.mark.parametrize("key", [..., None, "3EB0A1", {}, [], {"id": 5}])
def test_last_message_that_cannot_be_read_is_unknown(key: object) -> None:
    assert read(row(lastReceivedKey=key)).last is None


def test_last_message_keeps_the_spelling_that_the_gateway_finds_it_by() -> None:
    spelled = "true_276971053570686@lid_3EB0A1_out"
    found = read(row(lastReceivedKey={"fromMe": True, "remote": ANNA, "id": "3EB0A1", "_serialized": spelled}))
    assert found.last is not None
    assert found.last.serialized == spelled


def test_found_message_needs_no_session_of_its_own() -> None:
    message = {key: value for key, value in payload("received-message-08")["response"].items() if key != "session"}
    found = read_found(message, MAIN, ACME)
    assert isinstance(found.message, InboundMessage)
    assert (found.message.session, found.message.identity.gateway) == (ACME, MAIN)
    assert found.place == found.message.place


@pytest.mark.parametrize("name", MESSAGES)
def test_every_recorded_message_has_its_place(name: str) -> None:
    message = MESSAGES[name]
    found = read_found(message, MAIN, ACME)
    assert found.place is not None
    assert found.place.mark.message_id == message["id"]
    assert found.place.at == message.get("t", 0)


def test_own_message_is_found_too() -> None:
    found = read_found(payload("received-message-13")["response"], MAIN, ACME)
    assert isinstance(found.message, OwnMessage)
    assert found.place == found.message.place


@pytest.mark.parametrize("value", [None, 5, "x", [], {}, {"id": "3EB0A1"}])
def test_message_that_says_nothing_of_itself_has_no_place(value: object) -> None:
    found = read_found(value, MAIN, ACME)
    assert isinstance(found.message, LeftOut)
    assert found.message.reason in {LeftOutReason.NOT_AN_OBJECT, LeftOutReason.NO_MESSAGE_ID}
    assert found.place is None


def test_repr_of_a_found_message_keeps_its_text_to_itself() -> None:
    assert "tudo bem" not in repr(read_found(payload("received-message-08")["response"], MAIN, ACME))


def page(*times: object) -> list[Found]:
    """Give messages with these times, in this order."""
    return [
        read_found({"id": f"false_{ANNA}_3EB0{number}", "type": "chat", "body": "hi", "t": at}, MAIN, ACME)
        for number, at in enumerate(times)
    ]


@pytest.mark.parametrize(
    "times",
    [
        (),
        (10,),
        (10, 10, 10),
        (10, 11, 12),
        (10, 8),
        (10, 12, 8),
        (10, 8, 12, 7, 13),
        (None, None, None),
        (10, None, 12, "soon"),
        (12, None, 10),
    ],
)
def test_page_stays_as_it_is_listed_latecomers_in_their_place(times: tuple[object, ...]) -> None:
    found = page(*times)
    assert oldest_first(found) == found


@pytest.mark.parametrize("times", [(12, 11, 10), (12, 12, 11, 11, 10), (12, None, 11, None, 10), (None, 9, 8, 7)])
def test_page_that_runs_backwards_is_turned_round(times: tuple[object, ...]) -> None:
    found = page(*times)
    assert oldest_first(found) == found[::-1]


@given(times=st.lists(st.none() | st.integers(0, 5)))
def test_no_message_of_a_page_is_lost_and_order_settles(times: list[int | None]) -> None:
    found = page(*times)
    ordered = oldest_first(found)
    assert ordered in (found, found[::-1])
    assert oldest_first(ordered) == ordered


def check_row(value: object) -> None:
    """Check what holds of every row."""
    found = read_chat_row(value)
    if found is not None:
        assert found.chat.partition("@")[2]
        assert 0 <= found.at < 1e11


def check_found(value: object) -> None:
    """Check what holds of every message."""
    found = read_found(value, MAIN, ACME)
    assert isinstance(found, Found)
    assert found.message.session == ACME
    if not isinstance(found.message, LeftOut):
        assert found.place is not None


@given(broken=mutated([*ROWS, row()]) | json_values | json_values.map(lambda value: row(t=value)))
@patient
def test_no_row_ever_raises(broken: object) -> None:
    check_row(broken)


@given(field=st.sampled_from(["id", "t", "lastReceivedKey"]), value=json_values)
@patient
def test_no_field_of_a_row_ever_raises(field: str, value: object) -> None:
    check_row(row(**{field: value}))


@given(broken=mutated(list(MESSAGES.values())) | json_values)
@patient
def test_no_message_ever_raises(broken: object) -> None:
    check_found(broken)


def test_nothing_nested_deeper_than_python_recurses_ever_raises() -> None:
    for value in (
        nested(lambda inner: [inner]),
        nested(lambda inner: {"_serialized": inner, "user": inner, "server": inner, "id": inner, "remote": inner}),
    ):
        check_row(value)
        check_found(value)
        for field in ("id", "t", "lastReceivedKey"):
            check_row(row(**{field: value}))
        for field in MESSAGES["received-message-08"]:
            check_found(MESSAGES["received-message-08"] | {field: value})
