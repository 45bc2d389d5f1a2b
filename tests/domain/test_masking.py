"""What is shown of numbers, names and secrets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wa_supervisor.domain.masking import masked_chat, masked_digits, masked_name, redacted


@pytest.mark.parametrize(
    ("chat", "shown"),
    [
        ("5511988887777@c.us", "5511*****777@c.us"),
        ("5511988887777@s.whatsapp.net", "5511*****777@s.whatsapp.net"),
        ("120363041234567890@g.us", "1203*****890@g.us"),
        ("5511988887777-1600000000@g.us", "5511*****000@g.us"),
        ("98765432@lid", "*****@lid"),
        ("status@broadcast", "*****@broadcast"),
        ("5511988887777", "5511*****777"),
        ("", "*****"),
    ],
)
def test_a_chat_keeps_its_kind_and_the_ends_of_its_number(chat: str, shown: str) -> None:
    assert masked_chat(chat) == shown


@settings(deadline=None)  # nothing here depends on how busy the machine is
@given(st.from_regex(r"[0-9]{8,20}", fullmatch=True))
def test_at_least_four_digits_of_every_number_are_hidden(digits: str) -> None:
    shown = masked_digits(digits)
    assert len(shown.replace("*", "")) <= len(digits) - 4
    assert digits not in shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("acme-sales", "acme-sales"),
        ("acme-2025", "acme-2025"),
        ("5511988887777", "5511*****777"),
        ("wa5511988887777_b", "wa5511*****777_b"),
        ("298123456", "*****"),
        ("3f2504e0-4f89-11d3-9a0c-030512345678", "3f2504e0-4f89-11d3-9a0c-030512345678"),
        ("507f191e8100998887776aea", "507f191e8100998887776aea"),
    ],
)
def test_a_name_is_masked_only_where_it_holds_a_phone_number(name: str, shown: str) -> None:
    assert masked_name(name) == shown


def test_two_masked_names_can_be_told_apart_by_a_mark() -> None:
    assert masked_name("a 5511988887777 b", mark=lambda digits: f"-{len(digits)}") == "a 5511*****777-13 b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("POST to 5511988887777@c.us failed", "POST to 5511*****777@c.us failed"),
        ("from 5511988887777:12@s.whatsapp.net", "from 5511*****777@s.whatsapp.net"),
        ("true_5511988887777@c.us_3EB0AA", "true_5511*****777@c.us_3EB0AA"),
        ("entry 1732300000000-0 of agent:a:input", "entry 1732300000000-0 of agent:a:input"),
        ('{"Authorization": "Bearer abc.def"}', '{"Authorization": "Bearer *****"}'),
        ("redis://hub:hunter2@127.0.0.1:6379/0 refused", "redis://hub:*****@127.0.0.1:6379/0 refused"),
        ("token $2b$10$abcdefghijklmnopqrstuvwxyz_-0123456789 refused", "token ***** refused"),
        ("mail to someone@example.org", "mail to someone@example.org"),
        ("http://127.0.0.1:21465/api/a/status-session", "http://127.0.0.1:21465/api/a/status-session"),
    ],
)
def test_numbers_of_people_and_secrets_are_masked_in_any_text(text: str, shown: str) -> None:
    assert redacted(text) == shown


@settings(deadline=None)  # nothing here depends on how busy the machine is
@given(st.text())
def test_any_text_can_be_redacted_and_named(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)
    assert isinstance(masked_name(text), str)
    assert isinstance(masked_chat(text), str)
