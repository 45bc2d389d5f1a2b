"""Message ids: `fromMe_chat_STANZA[_participant][_in|_out]`, as a string or as an object with `_serialized`.

The stanza is the sender's choice and may have any length and an underscore in it; what follows it is a participant only
if it looks like a chat id. `_in` and `_out` (wppconnect-server's own example of an id has it) are no part of it.

Chat and participant may be written as a number in one place and as a lid in another for the *same* message, so a
message is known by its session, its stanza and whose it is; in a group also by the chat, because two members' phones
may choose the same stanza.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import cast

from wa_supervisor.domain.chats import ChatKind, chat_kind, read_chat_id
from wa_supervisor.domain.names import ChatId, GatewayName, SessionName, StanzaId


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageId:
    """The parts of a serialised id."""

    from_me: bool
    chat: ChatId | None
    stanza: StanzaId
    participant: ChatId | None
    given: str = field(default="", compare=False, repr=False)
    """The string that it was read from: the gateway finds a message only under its exact spelling."""

    @property
    def serialized(self) -> str:
        """The id as the gateway's other calls want it."""
        if self.given:
            return self.given
        parts = [
            "true" if self.from_me else "false",
            self.chat or "",
            self.stanza,
            *filter(None, [self.participant]),
        ]
        return "_".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What makes a message the same message, however its chat is written."""

    gateway: GatewayName
    session: SessionName
    stanza: StanzaId
    from_me: bool
    group: ChatId | None

    @property
    def key(self) -> str:
        """The identity as one string, for a key of a store."""
        mine = "1" if self.from_me else "0"
        # The stanza comes last: a sender chooses it, and nothing after it can be forged.
        return ":".join((self.gateway, self.session, mine, self.group or "", self.stanza))


def read_message_id(value: object) -> MessageId | None:
    """Read an id that is a string, or an object with `_serialized` or with `fromMe`, `remote` and `id`."""
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return _from_string(fields.get("_serialized")) or _from_fields(fields)
    return _from_string(value)


def stanza_of(value: object) -> StanzaId | None:
    """Give only the stanza of an id."""
    found = read_message_id(value)
    return found.stanza if found else None


def identity_of(message: MessageId, *, gateway: GatewayName, session: SessionName, chat: ChatId) -> Identity:
    """Give the identity of a message that `session` at `gateway` received in `chat`."""
    group = chat if chat_kind(chat) is ChatKind.GROUP else None
    return Identity(gateway=gateway, session=session, stanza=message.stanza, from_me=message.from_me, group=group)


_SERIALIZED = re.compile(r"(true|false)_([^@_]*(?:@[^@_]*)?)_(.+?)(?:_([^@_]+@[^@_]+))?(?:_(?:in|out))?")


def read_stanza(value: object) -> StanzaId | None:
    """Read a bare stanza: 1 to 256 printable characters, so that it can stand in any key and any JSON."""
    return StanzaId(value) if isinstance(value, str) and 0 < len(value) <= 256 and value.isprintable() else None


def _from_string(value: object) -> MessageId | None:
    if not isinstance(value, str) or len(value) > 512 or not value.isprintable():
        return None
    match = _SERIALIZED.fullmatch(value)
    stanza = read_stanza(match[3]) if match else None
    if match is None or stanza is None:
        return None
    return MessageId(
        from_me=match[1] == "true",
        chat=read_chat_id(match[2]),
        stanza=stanza,
        participant=read_chat_id(match[4]),
        given=value,
    )


def _from_fields(fields: dict[str, object]) -> MessageId | None:
    stanza = read_stanza(fields.get("id"))
    if stanza is None:
        return None
    return MessageId(
        from_me=fields.get("fromMe") is True,
        chat=read_chat_id(fields.get("remote")),
        stanza=stanza,
        participant=read_chat_id(fields.get("participant")),
    )
