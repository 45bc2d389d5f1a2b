"""Ids and recipients, as the server's own code computes them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_supervisor.simulator.ids import message_key, recipients, serialized, wid
from wa_supervisor.simulator.tokens import is_valid, mint

FLAGS = st.fixed_dictionaries({}, optional={flag: st.booleans() for flag in ("isGroup", "isNewsletter", "isLid")})


def test_a_message_id_has_three_parts_or_four() -> None:
    assert serialized(from_me=False, chat="1@c.us", stanza="3EB0") == "false_1@c.us_3EB0"
    assert serialized(from_me=True, chat="1@g.us", stanza="3EB0", participant="2@c.us") == "true_1@g.us_3EB0_2@c.us"


def test_a_key_is_the_same_id_as_an_object() -> None:
    key = message_key(from_me=True, chat="1@g.us", stanza="3EB0", participant="2@lid")
    assert key == {
        "fromMe": True,
        "remote": "1@g.us",
        "id": "3EB0",
        "participant": "2@lid",
        "_serialized": "true_1@g.us_3EB0_2@lid",
    }
    assert "participant" not in message_key(from_me=True, chat="1@c.us", stanza="3EB0")


def test_a_wid_has_its_parts() -> None:
    assert wid("1@lid") == {"server": "lid", "user": "1", "_serialized": "1@lid"}


@pytest.mark.parametrize(
    ("phone", "flags", "found"),
    [
        (None, {}, []),
        ("", {}, []),
        ([], {}, []),
        ("12345678901234", {}, ["12345678901234@c.us"]),
        ("123456789012345", {}, ["123456789012345@lid"]),
        ("+55 (11) 90000-0077", {}, ["55 11 900000077@lid"]),
        ("1;2 , 3", {}, ["1@c.us", "2@c.us", "3@c.us"]),
        ("1@lid", {"isGroup": True, "isLid": True}, ["1@g.us"]),
        ("1@lid", {"isNewsletter": True, "isLid": True}, ["1@newsletter"]),
    ],
)
def test_recipients_come_from_flags_and_length(phone: object, flags: dict[str, bool], found: list[str]) -> None:
    assert recipients(phone, flags) == found


@pytest.mark.parametrize("phone", [5511900000077, ["1", 2], {"a": 1}, True])
def test_a_phone_of_another_type_raises_as_the_server_does(phone: object) -> None:
    with pytest.raises(TypeError):
        recipients(phone, {})


@given(st.from_regex(r"[0-9]{1,20}@(c\.us|lid|g\.us|newsletter)", fullmatch=True), FLAGS)
def test_the_given_suffix_never_matters(phone: str, flags: dict[str, bool]) -> None:
    assert recipients(phone, flags) == recipients(phone.partition("@")[0], flags)


@given(st.text(max_size=30), FLAGS)
def test_any_text_gives_ids_with_one_known_server(phone: str, flags: dict[str, bool]) -> None:
    for target in recipients(phone, flags):
        assert re.search(r"@(c\.us|lid|g\.us|newsletter)\Z", target)


@given(st.text(min_size=1, max_size=40), st.text(max_size=40))
def test_a_token_is_valid_for_its_session_and_secret_only(session: str, secret: str) -> None:
    token = mint(session, secret)
    assert is_valid(token, session, secret)
    assert not is_valid(token, session + "x", secret)
    assert not is_valid(token, session, secret + "x")
    assert not is_valid(token[:-1], session, secret)
    assert not is_valid("", session, secret)
    assert not set("/+") & set(token)
