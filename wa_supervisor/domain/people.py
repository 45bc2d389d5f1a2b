"""A person as the agent sees them: the `user_data` of the hub's payload."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wa_supervisor.domain.messages import Sender
from wa_supervisor.domain.names import ChatId


class PersonSource(StrEnum):
    """Where what is known of a person comes from."""

    DATABASE = "database"
    MEMORY = "memory"
    """As last known, because the database is away: what changed there since is not known."""
    MESSAGE = "message"
    """Only what the message itself says: there is no database, or it is away and the person was not remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who wrote, as far as it is known. `user_id` is `None` when users could not be looked up."""

    platform_user_id: ChatId
    first_name: str
    last_name: str | None = None
    username: str | None = None
    phone_number: str | None = None
    user_id: int | None = None
    is_authenticated: bool = False
    source: PersonSource = PersonSource.DATABASE

    def user_data(self) -> dict[str, object]:
        """Give the hub's `user_data`; for a person who could not be looked up only what is certain."""
        if self.user_id is None:
            return {
                "first_name": self.first_name,
                "platform_user_id": self.platform_user_id,
                "platform": "whatsapp",
                "is_authenticated": False,
            }
        data: dict[str, object] = {
            "user_id": self.user_id,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "username": self.username,
            "phone_number": self.phone_number,
            "platform_user_id": self.platform_user_id,
            "platform": "whatsapp",
            "is_authenticated": self.is_authenticated,
        }
        return data


def split_name(name: str) -> tuple[str, str | None]:
    """Split a WhatsApp name into first word and rest, as the hub does."""
    first, _, rest = name.strip().partition(" ")
    return first, rest.strip() or None


def unknown_person(sender: Sender) -> Person:
    """Give the person for a sender that could not be looked up."""
    return Person(platform_user_id=sender.id, first_name=split_name(sender.name)[0], source=PersonSource.MESSAGE)
