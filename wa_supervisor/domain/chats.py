"""Chat ids: what kind of chat a whole id names, and the flags that the gateway needs with it.

The suffix alone decides. The gateway guesses from the number of digits when a flag is missing, and then a privacy id
(`@lid`) of 14 digits or fewer becomes a phone number and the answer goes to a stranger. So the flags are always
computed here and always sent.

One chat has one spelling: `s.whatsapp.net`, which some libraries write, becomes `c.us`, and a device number is dropped.
A privacy id and a number stay two chats, because nobody can tell from the ids alone that they are one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import cast

from wa_supervisor.domain.names import ChatId


class ChatKind(StrEnum):
    """What a chat id names."""

    PERSON = "person"
    LID = "lid"
    GROUP = "group"
    NEWSLETTER = "newsletter"
    BROADCAST = "broadcast"
    OTHER = "other"


_KINDS: Mapping[str, ChatKind] = {
    "c.us": ChatKind.PERSON,
    "s.whatsapp.net": ChatKind.PERSON,
    "lid": ChatKind.LID,
    "g.us": ChatKind.GROUP,
    "newsletter": ChatKind.NEWSLETTER,
    "broadcast": ChatKind.BROADCAST,
}

_CHAT_ID = re.compile(r"([A-Za-z0-9.+_-]{1,64})(?::[0-9]{1,5})?@([a-z0-9.-]{1,40})")
_SPELLINGS: Mapping[str, str] = {"s.whatsapp.net": "c.us"}
_SENDABLE = re.compile(
    r"[0-9]{1,14}@(?:c\.us|s\.whatsapp\.net)|[0-9]{1,40}@(?:lid|newsletter)|[0-9]{1,40}(?:-[0-9]{1,20})?@g\.us"
)
_PHONE = re.compile(r"([0-9]{5,15})@(?:c\.us|s\.whatsapp\.net)")


def chat_kind(chat: ChatId) -> ChatKind:
    """Say what `chat` names, from its suffix alone."""
    return _KINDS.get(chat.partition("@")[2], ChatKind.OTHER)


def is_sendable(chat: str) -> bool:
    """Whether a reply may go to `chat`: a person, a lid, a group or a newsletter, written as WhatsApp writes it.

    Anything else (a comma, a second number, a story) would make the gateway send to somebody else or to several. So
    would a number of more than 14 digits: wppconnect-server 2.10.4 (`contactToArray`) takes it for a lid.
    """
    return _SENDABLE.fullmatch(chat) is not None


def send_flags(chat: ChatId) -> dict[str, bool]:
    """Give `isGroup`, `isLid` and `isNewsletter` for a call that sends to `chat`."""
    kind = chat_kind(chat)
    return {
        "isGroup": kind is ChatKind.GROUP,
        "isLid": kind is ChatKind.LID,
        "isNewsletter": kind is ChatKind.NEWSLETTER,
    }


def phone_of(chat: str) -> str | None:
    """Give the digits of a phone number if `chat` is one; a lid is never one, however many digits it has."""
    match = _PHONE.fullmatch(chat)
    return match.group(1) if match else None


def read_chat_id(value: object) -> ChatId | None:
    """Read a chat id that may be a string or an object `{server, user, _serialized}`, without the device suffix."""
    text = _written_out(cast("dict[str, object]", value)) if isinstance(value, dict) else value
    if not isinstance(text, str):
        return None
    match = _CHAT_ID.fullmatch(text.strip())
    return ChatId(f"{match[1]}@{_SPELLINGS.get(match[2], match[2])}") if match else None


def _written_out(fields: Mapping[str, object]) -> object:
    # Strings only, and never `read_chat_id` again: a payload may nest objects deeper than Python recurses.
    user, server = fields.get("user"), fields.get("server")
    joined = f"{user}@{server}" if isinstance(user, str) and isinstance(server, str) else None
    whole = fields.get("_serialized")
    return whole if isinstance(whole, str) and whole else joined
