"""Marks: up to where a chat of a session was handled.

A mark is the last message of a chat before which nothing is missing. Catching up begins there. It only ever moves
forward, and not past a gap: while messages may be missing, what is handed over leaves it where it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from wa_supervisor.domain.message_ids import MessageId
from wa_supervisor.domain.names import ChatId


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The last message that was handled in a chat."""

    chat: ChatId
    message_id: str
    """Serialised, as the gateway spelled it."""
    at: int
    """Seconds since the epoch by WhatsApp's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a message stands, whatever it is."""

    chat: ChatId
    id: MessageId
    at: int
    """Seconds since the epoch by WhatsApp's clock; 0 when it did not say."""

    @property
    def mark(self) -> Mark:
        """The mark that is set when it and everything before it is handled."""
        return Mark(chat=self.chat, message_id=self.id.serialized, at=self.at)
