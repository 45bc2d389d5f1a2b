"""What could not be delivered, kept for the operator with its reason; and whether it may be delivered once more."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.replies import BadReply, IncomingReply, NotOurs, Reply, read_reply

LONGEST_PAYLOAD = 65_536
"""Characters of a payload that a letter keeps; one that has so many may have had more."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One payload that was not delivered, or of which nobody knows whether it was."""

    at: float
    direction: str
    """`out` (a reply to a person) or `in` (a message to an agent)."""
    reason: str
    message: str
    is_unknown: bool
    """Whether it may have been delivered all the same: a replay could repeat it."""
    attempts: int
    agent_id: AgentId | None
    integration_id: IntegrationId | None = None
    session: SessionName | None = None
    gateway: GatewayName | None = None
    chat_id: str | None = None
    payload: str = ""
    """As it came, cut at 65,536 characters."""

    def __repr__(self) -> str:
        """Say what it is about, not what a person was to read."""
        return f"DeadLetter(direction={self.direction!r}, reason={self.reason!r}, integration={self.integration_id!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A reply as it goes into its agent's output stream once more."""

    agent_id: AgentId
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoReplay:
    """It cannot be replayed, or must not be by accident."""

    message: str
    """Why, as the end of a sentence that begins with the letter."""


def replay_of(letter: DeadLetter, *, even_if_sent: bool = False) -> Replay | NoReplay:
    """Give what a replay would say, or why there is none. Never raises.

    A reply that was about to leave by one integration leaves by that one again, unless it names a session itself. One
    that a daemon could not read, or would not care for, is refused: it would die again, or vanish without a word.
    """
    if letter.direction != "out" or letter.agent_id is None:
        return NoReplay(message="is no reply of an agent, and only those can be replayed")
    if letter.is_unknown and not even_if_sent:
        return NoReplay(message="may have been sent all the same; --even-if-sent replays it, at the risk of twice")
    if len(letter.payload) >= LONGEST_PAYLOAD:
        return NoReplay(message=f"was cut at {LONGEST_PAYLOAD:,} characters, so what is left is not the reply")
    if letter.reason == "NotJson":  # bytes that are no text were replaced in the letter: now it might read as JSON
        return NoReplay(message="was not JSON as it came")
    incoming = IncomingReply(agent_id=letter.agent_id, payload=_encoded(letter.payload), entry=None)
    match read_reply(incoming):
        case BadReply(message=message):
            return NoReplay(message=f"cannot be sent, whatever is tried: {message}")
        case NotOurs():
            return NoReplay(message="is no reply on WhatsApp: no daemon would take it up")
        case reply:
            return Replay(agent_id=letter.agent_id, payload=_addressed(reply, letter.integration_id))


def _addressed(reply: Reply, integration_id: IntegrationId | None) -> bytes:
    payload = reply.source.payload
    if reply.session is not None or integration_id is None:
        return payload
    # Raw, so that every other field stays as the agent wrote it, numbers of any size among them.
    fields = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    fields["session"] = msgspec.Raw(msgspec.json.encode(integration_id))
    return msgspec.json.encode(fields)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
