"""What became of a reply, as its agent may learn it: one entry on `agent:{agent_id}:receipts` for each step.

WhatsApp's acks arrive in any order and more than once; a receipt is only told when it says more than the last one.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from wa_supervisor.domain.names import AgentId, ChatId, GatewayName, IntegrationId, SessionName, StanzaId


class Fate(StrEnum):
    """How far a message has come."""

    PENDING = "pending"
    """The gateway took it; WhatsApp's servers have not confirmed it yet."""
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    """Read, or played."""
    FAILED = "failed"
    """It will not arrive: a dead letter, or WhatsApp reported an error."""
    UNKNOWN = "unknown"
    """A dead letter that may have arrived all the same."""


_FATES = {0: Fate.PENDING, 1: Fate.SENT, 2: Fate.DELIVERED, 3: Fate.READ, 4: Fate.READ}


def fate_of_ack(ack: int) -> Fate:
    """Read WhatsApp's ack: -1 error, 0 pending, 1 sent, 2 delivered, 3 read, 4 played; any other high one is read."""
    return Fate.FAILED if ack < 0 else _FATES.get(ack, Fate.READ)


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one reply; the JSON of the field `receipt` of a stream entry."""

    agent_id: AgentId
    status: Fate
    at: float
    """Seconds since the epoch."""
    chat_id: ChatId | None = None
    reply_id: str | None = None
    """What the agent gave the reply as `reply_id`, if it did."""
    entry: str | None = None
    """Id of the entry of the output stream; none for a reply from the channel."""
    message_id: str | None = None
    """WhatsApp's id, once there is one; it stays the same in later receipts."""
    session: SessionName | None = None
    integration_id: IntegrationId | None = None
    reason: str | None = None
    """Of `failed` and `unknown`: the dead letter's reason."""
    protocol: int = 1


class SentMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was sent for a reply, by which an ack finds its agent."""

    gateway: GatewayName
    stanza: StanzaId
