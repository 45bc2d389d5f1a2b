"""A gateway's message payload becomes ours, or a named reason for leaving it out. Never an exception.

Source: wppconnect-server 2.10.4, `received-message`. Any field may be absent, null or of another type, and types that
nobody has seen arrive every year, so nothing is trusted and nothing raises. What is left out is left out under a name
that is counted, so that "it did not arrive" always has an answer.

A message that could not be decrypted comes first as `ciphertext` and again, same id, once it can be read: the first is
left out *without* being remembered as seen, so the second is not taken for a repetition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast

from wa_supervisor.domain.chats import ChatKind, chat_kind, phone_of, read_chat_id
from wa_supervisor.domain.marks import Place
from wa_supervisor.domain.message_ids import Identity, MessageId, identity_of, read_message_id, read_stanza
from wa_supervisor.domain.names import ChatId, GatewayName, SessionName, StanzaId

MAX_TEXT = 65_536
"""Characters; WhatsApp's own limit."""


class LeftOutReason(StrEnum):
    """Why a payload does not become a message for the agent."""

    NOT_AN_OBJECT = "not_an_object"
    NO_SESSION = "no_session"
    NO_MESSAGE_ID = "no_message_id"
    NO_CHAT = "no_chat"
    NO_SENDER = "no_sender"
    OWN_MESSAGE = "own_message"
    STORY = "story"
    NEWSLETTER = "newsletter"
    UNKNOWN_CHAT_KIND = "unknown_chat_kind"
    AWAITING_DECRYPTION = "awaiting_decryption"
    NO_TEXT = "no_text"
    MEDIA_WITHOUT_TEXT = "media_without_text"
    UNSUPPORTED_TYPE = "unsupported_type"
    TEXT_TOO_LONG = "text_too_long"
    UNKNOWN_SESSION = "unknown_session"
    TOO_OLD = "too_old"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A payload that is not for the agent."""

    reason: LeftOutReason
    session: SessionName | None = None
    detail: str = ""
    """The message type or the like; never a text or a number of a person."""
    place: Place | None = field(default=None, repr=False)
    """Where it stands in its chat, if it says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who wrote."""

    id: ChatId
    """Whole id with its suffix: a number or a lid."""
    phone: str | None
    """Digits, where WhatsApp gives a number; a lid is none."""
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMessage:
    """A text that a person wrote to a session."""

    identity: Identity
    message_id: str
    """The serialised id, which the gateway's other calls want."""
    chat: ChatId
    sender: Sender
    text: str = field(repr=False)
    type: str
    sent_at: int
    """Seconds since the epoch by WhatsApp's clock; 0 when it did not say."""
    quoted: str | None
    place: Place = field(repr=False)
    """Where it stands in its chat."""

    @property
    def session(self) -> SessionName:
        """The session that received it."""
        return self.identity.session


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMessage:
    """A message of the session's own account: sent by us, by the phone, or by another device."""

    session: SessionName
    place: Place
    text: str = field(repr=False)
    ack: int
    """WhatsApp's word on it when it was shown; 0 when it said none."""

    @property
    def stanza(self) -> StanzaId:
        """WhatsApp's id of it."""
        return self.place.id.stanza


_TEXT_TYPES = frozenset({"chat", "buttons_response", "list_response", "template_button_reply"})
_MEDIA_TYPES = frozenset({"image", "video", "document", "audio", "ptt", "ptv", "sticker"})


def read_message(
    payload: object, gateway: GatewayName, *, session: SessionName | None = None
) -> InboundMessage | OwnMessage | LeftOut:
    """Read the payload of one `received-message` event that came from `gateway`; `session` if it need not name it."""
    envelope = _object(payload)
    if envelope is None:
        return LeftOut(reason=LeftOutReason.NOT_AN_OBJECT, session=session)
    fields = _object(envelope.get("response"))
    if fields is None:
        return LeftOut(reason=LeftOutReason.NOT_AN_OBJECT, session=session)
    session = session or read_session_name(fields.get("session") or envelope.get("session"))
    if session is None:
        return LeftOut(reason=LeftOutReason.NO_SESSION)
    return _read_fields(fields, session, gateway)


def read_session_name(value: object) -> SessionName | None:
    """Read the session that an event names; whether it is one of ours is not known here."""
    return SessionName(value) if isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable() else None


def _read_fields(
    fields: dict[str, object], session: SessionName, gateway: GatewayName
) -> InboundMessage | OwnMessage | LeftOut:
    message_id = read_message_id(fields.get("id"))
    if message_id is None:
        return LeftOut(reason=LeftOutReason.NO_MESSAGE_ID, session=session)
    chat = _chat_of(fields, message_id)
    if chat is None:
        return LeftOut(reason=LeftOutReason.NO_CHAT, session=session)
    place = Place(chat=chat, id=message_id, at=_seconds(fields.get("t")) or _seconds(fields.get("timestamp")))
    kind = _word(fields.get("type"))
    text = _text_of(fields, kind)
    refusal = _refusal_of_chat(chat)
    if refusal is None and (message_id.from_me or fields.get("fromMe") is True):
        return OwnMessage(session=session, place=place, text=text, ack=_ack(fields.get("ack")))
    refusal = refusal or _refusal_of_content(kind, text)
    if refusal is not None:
        return LeftOut(reason=refusal, session=session, detail=kind, place=place)
    sender = _sender_of(fields, message_id, chat)
    if sender is None:
        return LeftOut(reason=LeftOutReason.NO_SENDER, session=session, detail=kind, place=place)
    return InboundMessage(
        identity=identity_of(message_id, gateway=gateway, session=session, chat=chat),
        message_id=message_id.serialized,
        chat=chat,
        sender=sender,
        text=text,
        type=kind,
        sent_at=place.at,
        quoted=read_stanza(fields.get("quotedStanzaID")),
        place=place,
    )


def _refusal_of_chat(chat: ChatId) -> LeftOutReason | None:
    match chat_kind(chat):
        case ChatKind.BROADCAST:
            return LeftOutReason.STORY
        case ChatKind.NEWSLETTER:
            return LeftOutReason.NEWSLETTER
        case ChatKind.OTHER:
            return LeftOutReason.UNKNOWN_CHAT_KIND
        case _:
            return None


def _refusal_of_content(kind: str, text: str) -> LeftOutReason | None:
    if kind == "ciphertext":
        return LeftOutReason.AWAITING_DECRYPTION
    if kind not in _TEXT_TYPES | _MEDIA_TYPES:
        return LeftOutReason.UNSUPPORTED_TYPE
    if not text:
        return LeftOutReason.MEDIA_WITHOUT_TEXT if kind in _MEDIA_TYPES else LeftOutReason.NO_TEXT
    return LeftOutReason.TEXT_TOO_LONG if len(text) > MAX_TEXT else None


def _chat_of(fields: dict[str, object], message_id: MessageId) -> ChatId | None:
    mine = message_id.from_me or fields.get("fromMe") is True
    other_side = fields.get("to") if mine else fields.get("from")
    return read_chat_id(fields.get("chatId")) or message_id.chat or read_chat_id(other_side)


def _sender_of(fields: dict[str, object], message_id: MessageId, chat: ChatId) -> Sender | None:
    about = _object(fields.get("sender")) or {}
    candidates: list[object] = [about.get("id"), fields.get("author"), message_id.participant]
    if chat_kind(chat) is not ChatKind.GROUP:
        candidates += [fields.get("from"), chat]
    found = (read_chat_id(value) for value in candidates)
    sender = next((who for who in found if who and chat_kind(who) in {ChatKind.PERSON, ChatKind.LID}), None)
    if sender is None:
        return None
    number = read_chat_id(about.get("phoneNumber"))
    phone = phone_of(sender) or (phone_of(number) if number else None)
    return Sender(id=sender, phone=phone, name=_name_of(fields, about))


def _name_of(fields: dict[str, object], about: dict[str, object]) -> str:
    for value in (about.get("pushname"), fields.get("notifyName"), about.get("name")):
        name = _clean(value[:200]).strip() if isinstance(value, str) else ""
        if name:
            return name
    return ""


def _text_of(fields: dict[str, object], kind: str) -> str:
    if kind in _MEDIA_TYPES:
        caption = fields.get("caption")
        if not isinstance(caption, str) or caption == fields.get("filename"):
            return ""
        return "" if fields.get("isCaptionByUser") is False else _clean(caption)
    for value in (fields.get("body"), fields.get("content")):
        if isinstance(value, str) and value:
            return _clean(value)
    return ""


def _clean(text: str) -> str:
    # PostgreSQL refuses NUL, JSON for agents must be valid UTF-8 and lone surrogates are not.
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def _object(value: object) -> dict[str, object] | None:
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _word(value: object) -> str:
    return value[:40] if isinstance(value, str) and value.isascii() and value.isprintable() else "none"


def _seconds(value: object) -> int:
    if isinstance(value, str) and len(value) <= 11 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 < value < 1e11 else 0


def _ack(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
