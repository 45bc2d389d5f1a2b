"""The gateway's other events, and whose they are."""

from __future__ import annotations

import pytest

from tests.domain.samples import SAMPLES, payload
from wa_supervisor.domain.gateway_events import (
    EVENT_NAMES,
    AckSeen,
    GatewayEvent,
    Ignored,
    LoginOffered,
    SessionNudged,
    read_event,
)
from wa_supervisor.domain.names import GatewayName, SessionName, StanzaId

MAIN = GatewayName("main")


def read(name: str, body: object) -> GatewayEvent:
    """Read one event of a gateway."""
    return read_event(name, body, MAIN)


def ack(stanza: str, level: int, *, is_own: bool = True) -> AckSeen:
    """Give what becomes of an ack."""
    return AckSeen(stanza=StanzaId(stanza), ack=level, is_own=is_own)


SAMPLED: dict[str, GatewayEvent] = {
    "qrCode-01": LoginOffered(
        session=SessionName("test_session"), kind="qr", data="data:image/png;base64,iVBORw0KGgo..."
    ),
    # After a close and a start the gateway does not say whose code it is.
    "qrCode-03": LoginOffered(session=None, kind="qr", data="data:image/png;base64,iVBORw0KGgo="),
    "phoneCode-02": LoginOffered(session=SessionName("acme-code"), kind="code", data="ABCD1234", phone="5511988887777"),
    "session-logged-01": SessionNudged(session=SessionName("test_session"), event="session-logged"),
    "session-logged-02": SessionNudged(session=SessionName("acme"), event="session-logged"),
    "session-error-01": SessionNudged(session=SessionName("acme"), event="session-error"),
    "whatsapp-status-01": Ignored(event="whatsapp-status"),
    # Of a message that the session received and read: no word on anything that was sent.
    "onack-01": ack("3EB024BA372599959E38", 3, is_own=False),
    "onack-02": ack("3EB0B6F6612D27B8BBC", 3),
    "onack-03": ack("3EB0XXXX", 3),
    "onack-05": ack("3EB0A5", 2),
    "onack-06": ack("3EB0A5", 3),
    "onack-07": ack("3EB0A5", 4),
    "onack-08": ack("3EB0A5", -1),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_sample_becomes_the_event_that_it_is(name: str) -> None:
    assert read(SAMPLES[name].event_name, payload(name)) == SAMPLED[name]


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, sample in SAMPLES.items()
        if name not in SAMPLED
        and not name.startswith("received-message")
        and sample.event_name not in {"HTTP", "library"}
    ],
)
def test_event_that_nobody_here_needs_is_ignored_by_name(name: str) -> None:
    sample = SAMPLES[name]
    assert read(sample.event_name, sample.payload) == Ignored(event=sample.event_name)


def test_every_event_worth_decoding_has_a_sample() -> None:
    assert {sample.event_name for sample in SAMPLES.values()} >= EVENT_NAMES


def test_name_of_an_unknown_event_is_cut() -> None:
    assert read("x" * 5000, None) == Ignored(event="x" * 40)


@pytest.mark.parametrize(
    "body",
    [
        None,
        "ABCD",
        [],
        {},
        {"data": ""},
        {"data": 5},
        {"data": "\ud83d"},
        {"data": "a\nb"},
        {"data": ["x"]},
        {"data": "", "phoneCode": ""},
    ],
)
@pytest.mark.parametrize("name", ["qrCode", "phoneCode"])
def test_login_without_a_code_is_ignored(name: str, body: object) -> None:
    assert read(name, body) == Ignored(event=name)


@pytest.mark.parametrize("phone", [None, 5511988887777, "\x00", []])
def test_unreadable_number_beside_a_code_is_none(phone: object) -> None:
    event = read("phoneCode", {"data": "ABCD1234", "phone": phone, "session": "acme"})
    assert event == LoginOffered(session=SessionName("acme"), kind="code", data="ABCD1234")


def test_repr_of_a_login_keeps_the_code_and_the_number_to_itself() -> None:
    shown = repr(SAMPLED["phoneCode-02"])
    assert "ABCD1234" not in shown
    assert "5511988887777" not in shown


@pytest.mark.parametrize("body", [None, False, 5, [], {}, {"session": 5}, {"session": ""}, "", "x" * 201, "a\nb"])
@pytest.mark.parametrize("name", ["session-logged", "session-error"])
def test_nudge_without_a_session_means_look_at_all(name: str, body: object) -> None:
    assert read(name, body) == SessionNudged(session=None, event=name)


@pytest.mark.parametrize(
    "body",
    [
        None,
        "3EB0",
        [],
        {},
        {"id": "true_5511@c.us_3EB0"},
        {"id": "true_5511@c.us_3EB0", "ack": None},
        {"id": "true_5511@c.us_3EB0", "ack": "1"},
        {"id": "true_5511@c.us_3EB0", "ack": True},
        {"id": "true_5511@c.us_3EB0", "ack": 1.5},
        {"id": "3EB0", "ack": 1},
        {"ack": 1},
    ],
)
def test_ack_that_says_not_what_or_how_much_is_ignored(body: object) -> None:
    assert read("onack", body) == Ignored(event="onack")


def test_ack_may_name_its_message_by_a_string() -> None:
    assert read("onack", {"id": "true_5511@c.us_3EB0_out", "ack": 1}) == ack("3EB0", 1)
    assert read("onack", {"id": "false_5511@c.us_3EB0_in", "ack": 1}) == ack("3EB0", 1, is_own=False)
