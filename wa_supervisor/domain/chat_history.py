"""What a gateway remembers of a session's chats: rows of `list-chats`, and messages of `get-messages`.

Source: wppconnect-server 2.10.4. Such answers name no session; ids may be spelled otherwise than in events (a privacy
id for a number, objects for strings). Nothing raises: what cannot be read is left out, or `Found` without a place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

from wa_supervisor.domain.chats import read_chat_id
from wa_supervisor.domain.marks import Place
from wa_supervisor.domain.message_ids import MessageId, read_message_id
from wa_supervisor.domain.messages import InboundMessage, LeftOut, OwnMessage, read_message
from wa_supervisor.domain.names import ChatId, GatewayName, SessionName


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRow:
    """One chat of a session."""

    chat: ChatId
    at: int
    """Seconds since the epoch of the last activity; 0 when unknown."""
    last: MessageId | None
    """The last message, own ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One message of a chat's history, own ones and those for nobody included."""

    message: InboundMessage | OwnMessage | LeftOut = field(repr=False)

    @property
    def place(self) -> Place | None:
        """Where it stands; `None` if it says too little of itself."""
        return self.message.place


def read_chat_row(row: object) -> ChatRow | None:
    """Read one row of `list-chats`; `None` if it names no chat."""
    if not isinstance(row, dict):
        return None
    fields = cast("dict[str, object]", row)
    chat = read_chat_id(fields.get("id"))
    if chat is None:
        return None
    at = fields.get("t")
    is_time = isinstance(at, int | float) and not isinstance(at, bool) and 0 < at < 1e11
    return ChatRow(
        chat=chat, at=int(cast("float", at)) if is_time else 0, last=read_message_id(fields.get("lastReceivedKey"))
    )


def read_found(row: object, gateway: GatewayName, session: SessionName) -> Found:
    """Read one message of `get-messages`, which does not name the session."""
    return Found(message=read_message({"response": row, "session": session}, gateway, session=session))


def oldest_first(found: Sequence[Found]) -> list[Found]:
    """Give one page of a chat in the order in which its messages came.

    The gateway lists them so, whether those before or after a message were asked for; only a page whose times fall from
    one end to the other is turned round. It is not sorted by time: a message that came late has an early one, and would
    go before others that were handled already, so that it counted as handled itself.
    """
    times = [each.place.at for each in found if each.place is not None and each.place.at]
    steps = [later - earlier for earlier, later in pairwise(times)]
    falls = sum(step < 0 for step in steps)  # one alone is a latecomer
    return list(found[::-1]) if falls > 1 and not any(step > 0 for step in steps) else list(found)
