"""Chat ids: what kind of chat a whole id names, and the flags that the gateway needs with it.

The suffix alone decides. The gateway guesses from the number of digits when a flag is missing, and then a privacy id
(`@lid`) of 14 digits or fewer becomes a phone number and the answer goes to a stranger. So the flags are always
computed here and always sent.
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

_SENDABLE = re.compile(r"[0-9][0-9-]{0,63}@(?:c\.us|s\.whatsapp\.net|lid|g\.us|newsletter)", re.ASCII)
_DEVICE = re.compile(r":\d+(?=@)", re.ASCII)
_PHONE = re.compile(r"([0-9]{5,20})@(?:c\.us|s\.whatsapp\.net)", re.ASCII)


def chat_kind(chat: ChatId) -> ChatKind:
    """Say what `chat` names, from its suffix alone."""
    return _KINDS.get(chat.rpartition("@")[2], ChatKind.OTHER)


def is_sendable(chat: str) -> bool:
    """Whether a reply may go to `chat`: a person, a lid, a group or a newsletter, written as WhatsApp writes it.

    Anything else (a comma, a second number, a story) would make the gateway send to somebody else or to several.
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
    if isinstance(value, dict):
        fields = cast("dict[object, object]", value)
        return read_chat_id(fields.get("_serialized") or _joined(fields))
    if not isinstance(value, str) or len(value) > 128:
        return None
    text = _DEVICE.sub("", value.strip(), count=1)
    user, _, suffix = text.partition("@")
    return ChatId(text) if user and suffix and "@" not in suffix else None


def _joined(fields: Mapping[object, object]) -> str | None:
    user, server = fields.get("user"), fields.get("server")
    return f"{user}@{server}" if isinstance(user, str) and isinstance(server, str) else None
