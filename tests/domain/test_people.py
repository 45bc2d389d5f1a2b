"""A person as the agent sees them."""

from __future__ import annotations

import pytest

from wa_supervisor.domain.messages import Sender
from wa_supervisor.domain.names import ChatId
from wa_supervisor.domain.people import Person, PersonSource, split_name, unknown_person

LID = ChatId("276971053570686@lid")


@pytest.mark.parametrize(
    ("name", "first", "rest"),
    [
        ("Ana", "Ana", None),
        ("Ana Maria", "Ana", "Maria"),
        ("Ana  Maria da Silva ", "Ana", "Maria da Silva"),
        ("  Ana ", "Ana", None),
        ("", "", None),
        ("   ", "", None),
    ],
)
def test_name_is_split_into_first_word_and_rest(name: str, first: str, rest: str | None) -> None:
    assert split_name(name) == (first, rest)


def test_known_person_has_the_hubs_fields() -> None:
    person = Person(
        platform_user_id=LID,
        first_name="Ana",
        last_name="Maria",
        username="ana",
        phone_number="5511988887777",
        user_id=7,
        is_authenticated=True,
    )
    assert person.user_data() == {
        "user_id": 7,
        "first_name": "Ana",
        "last_name": "Maria",
        "username": "ana",
        "phone_number": "5511988887777",
        "platform_user_id": "276971053570686@lid",
        "platform": "whatsapp",
        "is_authenticated": True,
    }


def test_person_who_could_not_be_looked_up_is_not_authenticated_whatever_is_claimed() -> None:
    person = Person(platform_user_id=LID, first_name="Ana", is_authenticated=True, phone_number="5511988887777")
    assert person.user_data() == {
        "first_name": "Ana",
        "platform_user_id": "276971053570686@lid",
        "platform": "whatsapp",
        "is_authenticated": False,
    }


def test_unknown_person_is_the_sender_by_whole_id_and_first_name() -> None:
    sender = Sender(id=LID, phone=None, name="Ana Maria")
    assert unknown_person(sender) == Person(platform_user_id=LID, first_name="Ana", source=PersonSource.MESSAGE)
