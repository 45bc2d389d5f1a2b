"""What agents say on `agent:{agent_id}:output`: a reply, a reply for another channel, or something unusable.

The same bytes may come from the channel (today's agents; kept by nobody) or from the stream (kept until settled).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import msgspec

from wa_supervisor.domain.chats import is_sendable, read_chat_id
from wa_supervisor.domain.names import AgentId, ChatId

MAX_REPLY_BYTES = 1_048_576
"""A text has at most 65,536 characters; anything above this is not a reply."""

MAX_TEXT = 65_536
"""Characters in one WhatsApp message."""


MAX_REPLY_ID = 200
"""Characters of an agent's own id for a reply that are repeated in receipts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """That a reply was about to be sent, by a daemon that did not live to say what became of it."""

    at: float
    """Seconds since the epoch."""
    is_named: bool
    """Whether the message was named beforehand (`stanza_for`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingReply:
    """A payload as an agent wrote it, and where it came from."""

    agent_id: AgentId
    payload: bytes = field(repr=False)
    entry: str | None
    """Id of the stream entry; `None` when it came on the channel."""
    begun: Begun | None = None
    """It was begun before, and never settled: it may have been sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A text for a chat."""

    agent_id: AgentId
    chat: ChatId
    text: str = field(repr=False)
    session: str | None
    """The session or integration that the agent asks for, if it does."""
    source: IncomingReply
    reply_id: str | None = None
    """What the agent calls the reply; receipts repeat it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotOurs:
    """For another channel (Telegram, say), or a bare ring of the bell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadReply:
    """Cannot be sent, whatever is tried."""

    reason: str
    message: str


def read_reply(incoming: IncomingReply) -> Reply | NotOurs | BadReply:
    """Read one payload. Never raises."""
    if not incoming.payload.strip():
        return NotOurs()
    if len(incoming.payload) > MAX_REPLY_BYTES:
        return BadReply(reason="TooLarge", message=f"a reply may have {MAX_REPLY_BYTES} bytes")
    try:
        decoded = msgspec.json.decode(incoming.payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return BadReply(reason="NotJson", message=f"not JSON: {error}")
    if not isinstance(decoded, dict):
        return BadReply(reason="NotAnObject", message="a reply is a JSON object")
    fields = cast("dict[str, object]", decoded)
    if fields.get("channel") not in (None, "whatsapp"):
        return NotOurs()
    return _read_fields(fields, incoming)


def _read_fields(fields: dict[str, object], incoming: IncomingReply) -> Reply | BadReply:
    chat = read_chat_id(fields.get("chat_id"))
    if chat is None or not is_sendable(chat):
        return BadReply(reason="NoChat", message="chat_id: must be one whole chat id such as 5511988887777@c.us")
    text = fields.get("response")
    if not isinstance(text, str) or not text.strip():
        return BadReply(reason="NoText", message="response: must be a text that is not empty")
    if len(text) > MAX_TEXT:
        return BadReply(reason="TextTooLong", message=f"response: at most {MAX_TEXT} characters")
    session = fields.get("session")
    if session is not None and not isinstance(session, str):
        return BadReply(reason="BadSession", message="session: must be the name of a session")
    reply_id = fields.get("reply_id")
    return Reply(
        agent_id=incoming.agent_id,
        chat=chat,
        text=text,
        session=session or None,
        source=incoming,
        reply_id=reply_id[:MAX_REPLY_ID] if isinstance(reply_id, str) else None,
    )
