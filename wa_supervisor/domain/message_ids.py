"""Message ids: `fromMe_chat_STANZA[_participant]`, as a string or as an object with `_serialized`.

Chat and participant may be written as a number in one place and as a lid in another for the *same* message, so a
message is known by its session, its stanza and whose it is; in a group also by the chat, because two members' phones
may choose the same stanza.
"""

from __future__ import annotations

from dataclasses import dataclass
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

    @property
    def serialized(self) -> str:
        """The id as the gateway's other calls want it."""
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
        return ":".join(filter(None, [self.gateway, self.session, self.stanza, mine, self.group]))


def read_message_id(value: object) -> MessageId | None:
    """Read an id that is a string, or an object with `_serialized` or with `fromMe`, `remote` and `id`."""
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return read_message_id(fields.get("_serialized")) or _from_fields(fields)
    if not isinstance(value, str) or len(value) > 512:
        return None
    parts = value.split("_")
    if len(parts) not in {3, 4} or parts[0] not in {"true", "false"} or not parts[2]:
        return None
    participant = read_chat_id(parts[3]) if len(parts) == 4 else None
    return MessageId(
        from_me=parts[0] == "true",
        chat=read_chat_id(parts[1]),
        stanza=StanzaId(parts[2]),
        participant=participant,
    )


def stanza_of(value: object) -> StanzaId | None:
    """Give only the stanza of an id."""
    found = read_message_id(value)
    return found.stanza if found else None


def identity_of(message: MessageId, *, gateway: GatewayName, session: SessionName, chat: ChatId) -> Identity:
    """Give the identity of a message that `session` at `gateway` received in `chat`."""
    group = chat if chat_kind(chat) is ChatKind.GROUP else None
    return Identity(gateway=gateway, session=session, stanza=message.stanza, from_me=message.from_me, group=group)


def _from_fields(fields: dict[str, object]) -> MessageId | None:
    stanza = fields.get("id")
    if not isinstance(stanza, str) or not stanza or len(stanza) > 256:
        return None
    return MessageId(
        from_me=fields.get("fromMe") is True,
        chat=read_chat_id(fields.get("remote")),
        stanza=StanzaId(stanza),
        participant=read_chat_id(fields.get("participant")),
    )
