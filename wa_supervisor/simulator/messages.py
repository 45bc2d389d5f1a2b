"""A message as the simulated WhatsApp keeps it, and the shapes in which the gateway shows it.

`Message` is small, because a chat keeps thousands; the forty-odd fields of a payload are built when somebody looks. The
shapes follow recorded payloads of wppconnect-server 2.10.4: field names, order, nulls and oddities included (`duration`
is text, media carries its whole file in `body`, a thumbnail may be there instead).
"""

from __future__ import annotations

from typing import Any

import msgspec

from wa_supervisor.simulator.ids import message_key, serialized, wid

TEXT_ROUTES = frozenset({"send-message", "send-reply"})
"""The calls that answer with the whole message; the others answer with its id and ack only."""

_MEDIA_DATA = {
    "type": "unknown",
    "mediaStage": "INIT",
    "animationDuration": 0,
    "animatedAsNewMsg": False,
    "isViewOnce": False,
    "_swStreamingSupported": False,
    "_listeningToSwSupport": False,
    "isVcardOverMmsDocument": False,
}


class Media(msgspec.Struct, kw_only=True, frozen=True):
    """A file that came with a message."""

    base64: str
    mimetype: str
    size: int
    """Bytes; what `body` has is compared with it to tell a file from a thumbnail."""
    filename: str | None = None
    caption: str | None = None
    seconds: int | None = None
    decryptable: bool = True
    """False: the server cannot decrypt it; `body` is empty, and download-media answers 400."""


class Message(msgspec.Struct, kw_only=True, gc=False):
    """One message of one session; `ack`, `text` and `kind` change as it is read, edited and decrypted."""

    seq: int
    """Order of arrival at WhatsApp, unique and rising within the gateway."""
    stanza: str
    chat: str
    sender: str
    name: str
    """What the sender calls himself (`pushname`)."""
    own: str
    """Id of the session's own account."""
    from_me: bool
    kind: str
    text: str
    t: int
    """Unix time, seconds."""
    ack: int = 1
    author: str = ""
    """Who wrote it, where that is not the chat: groups and stories."""
    phone: str | None = None
    """The phone number behind a lid, if WhatsApp knows it."""
    media: Media | None = None
    extra: dict[str, Any] | None = None
    """Fields of this kind of message, or of this message alone; they win over all others."""

    @property
    def id(self) -> str:
        """`fromMe_chat_STANZA[_participant]`."""
        return serialized(from_me=self.from_me, chat=self.chat, stanza=self.stanza, participant=self.author)


def key(message: Message) -> dict[str, Any]:
    """The message's id in its object form."""
    return message_key(from_me=message.from_me, chat=message.chat, stanza=message.stanza, participant=message.author)


def sender_model(message: Message) -> dict[str, Any]:
    """`sender` of a message: the contact who wrote it."""
    model = {
        "id": message.sender,
        "pushname": message.name,
        "type": "in",
        "isBusiness": False,
        "isEnterprise": False,
        "isSmb": False,
        "isContactSyncCompleted": 1,
        "textStatusLastUpdateTime": -1,
        "formattedName": message.name,
        "isMe": message.from_me,
        "isMyContact": False,
        "isPSA": False,
        "isUser": True,
        "isWAContact": True,
        "profilePicThumbObj": {},
        "msgs": None,
    }
    if message.phone is not None:
        model["phoneNumber"] = message.phone
    return model


def event_model(message: Message, *, session: str | None = None, inline_media: bool = True) -> dict[str, Any]:
    """The message as `received-message` carries it in `response`; without `session` as HTTP answers have it."""
    model = _envelope(message)
    model["chatId"] = message.chat
    model["fromMe"] = message.from_me
    model["sender"] = sender_model(message)
    model["timestamp"] = message.t
    model["isGroupMsg"] = message.chat.endswith("@g.us")
    model["mediaData"] = {}
    if message.author:
        model["author"] = message.author
    model["body"] = message.text
    model["content"] = message.text
    if message.media is not None:
        model |= _media_fields(message.media, message.t, inline=inline_media)
    if message.extra:
        model |= message.extra
    if session is not None:
        model["session"] = session
    return model


def http_model(message: Message, *, wids_as_objects: bool) -> dict[str, Any]:
    """The message as get-messages and its like have it: no `session`, `chatId` and `sender.id` perhaps objects."""
    model = event_model(message)
    if wids_as_objects:
        model["chatId"] = wid(model["chatId"])
        model["sender"]["id"] = wid(model["sender"]["id"])
    return model


def with_wid_objects(model: dict[str, Any]) -> dict[str, Any]:
    """The same payload with `chatId` and `sender.id` as objects, as some versions emit them."""
    return model | {"chatId": wid(model["chatId"]), "sender": model["sender"] | {"id": wid(model["sender"]["id"])}}


def ack_model(message: Message, ack: int) -> dict[str, Any]:
    """What `onack` carries: the message model with an object for `id`, and no session."""
    model = _envelope(message)
    model["id"] = key(message)
    model["ack"] = ack
    model["body"] = message.text
    return model


def sent_model(message: Message, route: str) -> dict[str, Any]:
    """One element of a send call's `response`."""
    if route in TEXT_ROUTES:
        return event_model(message)
    return {
        "ack": message.ack,
        "id": message.id,
        "sendMsgResult": {"messageSendResult": "OK" if message.ack > 0 else "ERROR_UNKNOWN"},
    }


def reaction_model(message: Message, *, stanza: str, text: str, from_me: bool) -> dict[str, Any]:
    """What `onreactionmessage` carries: milliseconds, no sender, empty text for a reaction taken back."""
    return {
        "id": message_key(from_me=from_me, chat=message.chat, stanza=stanza),
        "msgId": key(message),
        "reactionText": text,
        "read": False,
        "orphan": 0,
        "timestamp": message.t * 1000,
    }


def _envelope(message: Message) -> dict[str, Any]:
    to_group = message.chat.endswith("@g.us")
    return {
        "id": message.id,
        "viewed": False,
        "type": message.kind,
        "t": message.t,
        "clientReceivedTsMillis": message.t * 1000 + 350,
        "notifyName": message.name,
        "from": message.own if message.from_me and not to_group else message.chat,
        "to": message.chat if message.from_me else message.own,
        "ack": message.ack,
        "invis": False,
        "isNewMsg": True,
        "star": False,
        "kicNotified": False,
        "recvFresh": True,
        "isFromTemplate": False,
        "isForwarded": False,
        "hasReaction": False,
        "mentionedJidList": [],
        "groupMentions": [],
        "viewMode": "VISIBLE",
        "latestEditMsgKey": None,
        "latestEditSenderTimestampMs": None,
        "isVcardOverMmsDocument": False,
        "isMdHistoryMsg": False,
        "lastPlaybackProgress": 0,
    }


def _media_fields(media: Media, t: int, *, inline: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "mediaData": _MEDIA_DATA,
        "body": media.base64 if inline and media.decryptable else "",
        "content": "",
        "mimetype": media.mimetype,
        "size": media.size,
        "deprecatedMms3Url": "https://mmg.whatsapp.net/v/SIMULATED.enc?mms3=true",
        "directPath": "/v/SIMULATED.enc",
        "filehash": "8GdmRtuFd4f5f3wR2Q4nZXZ4eo9W6OITIYbaJMkXAYA=",
        "encFilehash": "JtrxUNwRrpqyc02CM8l6AAiKjl9LImG5NP+aKzoXDmI=",
        "mediaKey": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "mediaKeyTimestamp": t - 1,
        "isViewOnce": False,
    }
    if media.filename is not None:
        fields["filename"] = media.filename
    if media.caption is not None:
        fields["caption"] = media.caption
    if media.seconds is not None:
        fields["duration"] = str(media.seconds)
    return fields
