"""Sending: what became of one call, decided from the gateway's answer alone.

Source: wppconnect-server 2.10.4. Success is 201 with a non-empty `response` whose `ack` is 1 or more, there or later in
`onack`. Three outcomes, and everything after depends on telling them apart: `Sent`; `NotSent`, which may be repeated
without harm; `Unknown`, which must never be repeated blindly, because a person would get the message twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from wa_supervisor.domain.message_ids import stanza_of
from wa_supervisor.domain.names import AgentId, StanzaId


class Repeat(StrEnum):
    """When something that was not sent may be tried again."""

    LATER = "later"
    """After a backoff: the obstacle may pass by itself."""
    WHEN_CONNECTED = "when_connected"
    """Once the session is connected again."""
    NEVER = "never"
    """It would be refused again: a dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The gateway took the message; WhatsApp's servers have it once an `ack` of 1 or more was seen."""

    stanzas: tuple[StanzaId, ...]
    acknowledged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """Certainly not sent."""

    reason: str
    """CamelCase word for a label."""
    message: str
    repeat: Repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Nobody can tell from the answer whether it was sent."""

    reason: str
    message: str
    has_ended: bool = False
    """Whether the call certainly has ended at the gateway, so that what was not sent by now will not be."""


SendOutcome = Sent | NotSent | Unknown


def stanza_for(agent: AgentId, entry: str) -> StanzaId:
    """Name the message for an agent's reply: always the same for the same entry, and of WhatsApp's own looks.

    So whoever finds an entry that was begun knows which message to look for. `entry` is unique among the agent's.
    """
    digest = hashlib.sha256(f"{agent}\0{entry}".encode("utf-8", "surrogatepass")).hexdigest()
    return StanzaId(f"3EB0{digest[:18].upper()}")


def outcome_of_answer(status: int, body: object) -> SendOutcome:
    """Decide what became of a send from its HTTP status and decoded JSON body (anything else than JSON: `None`)."""
    fields = cast("dict[str, object]", body) if isinstance(body, dict) else {}
    if status in {200, 201}:
        return _outcome_of_success(fields)
    message = _text(fields.get("message")) or f"the gateway answered {status}"
    if status == 404 and "disconnected" in {_text(fields.get(key)).casefold() for key in ("status", "message")}:
        return NotSent(reason="Disconnected", message=message, repeat=Repeat.WHEN_CONNECTED)
    if status in {401, 413, 414, 431}:
        return NotSent(reason=f"Http{status}", message=message, repeat=Repeat.NEVER)
    if status == 429:
        return NotSent(reason="TooManyRequests", message=message, repeat=Repeat.LATER)
    # 400 "o numero nao existe" is no proof: with one phone the gateway sends all the same. 500 and the rest neither.
    # 502, 503 and 504 may be a proxy's: behind it the call may go on.
    return Unknown(reason=f"Http{status}", message=message, has_ended=status not in {502, 503, 504})


def _outcome_of_success(fields: dict[str, object]) -> SendOutcome:
    sent = fields.get("response")
    if sent in ([], {}):
        return NotSent(
            reason="NothingSent", message="the gateway answered success and sent nothing", repeat=Repeat.NEVER
        )
    rows = cast("Sequence[object]", sent) if isinstance(sent, list) else [sent]
    models = [cast("dict[str, object]", row) for row in rows if isinstance(row, dict)]
    if not models:
        return Unknown(reason="UnreadableAnswer", message="the gateway's success names no message", has_ended=True)
    acks = [_ack(model.get("ack")) for model in models]
    if any(ack is not None and ack < 0 for ack in acks):
        return Unknown(reason="AckError", message="WhatsApp reported an error for the message", has_ended=True)
    stanzas = tuple(stanza for model in models if (stanza := stanza_of(model.get("id"))))
    acknowledged = all(ack is not None and ack >= 1 for ack in acks)
    if not stanzas and not acknowledged:
        return Unknown(
            reason="UnreadableAnswer", message="the gateway's success names no message to wait for", has_ended=True
        )
    return Sent(stanzas=stanzas, acknowledged=acknowledged)


def _ack(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: object) -> str:
    return value[:200] if isinstance(value, str) else ""
