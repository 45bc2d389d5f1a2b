"""What a gateway reports on Socket.IO, by one table of event names.

The gateway sends every session's events to every client, some without saying whose they are. Those are attributed by
what is known (the id of a message that we sent) or counted and dropped, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import cast

from wa_supervisor.domain.message_ids import read_message_id
from wa_supervisor.domain.messages import InboundMessage, LeftOut, OwnMessage, read_message, read_session_name
from wa_supervisor.domain.names import GatewayName, SessionName, StanzaId


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginOffered:
    """A QR or pairing code is on offer. Without a session (after a close and start) those that start must poll."""

    session: SessionName | None
    kind: str
    data: str = field(repr=False)
    phone: str | None = field(default=None, repr=False)
    """Digits of the number that a pairing code is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionNudged:
    """Something happened to a session: look at it now. Without a session: look at all."""

    session: SessionName | None
    event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AckSeen:
    """WhatsApp's word on one message: -1 error, 0 pending, 1 sent, 2 delivered, 3 read, 4 played."""

    stanza: StanzaId
    ack: int
    is_own: bool
    """Whether it is about a message that the session sent; else it is one that it received."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """An event that nobody here needs, or cannot be read."""

    event: str


GatewayEvent = InboundMessage | OwnMessage | LeftOut | LoginOffered | SessionNudged | AckSeen | Ignored


def read_event(name: str, payload: object, gateway: GatewayName) -> GatewayEvent:
    """Read one event. Never raises: what cannot be read is `Ignored` or `LeftOut`."""
    reader = _READERS.get(name)
    return reader(name, payload, gateway) if reader else Ignored(event=name[:40])


def _message(name: str, payload: object, gateway: GatewayName) -> GatewayEvent:
    del name
    return read_message(payload, gateway)


def _login(name: str, payload: object, gateway: GatewayName) -> GatewayEvent:
    del gateway
    fields = cast("dict[str, object]", payload) if isinstance(payload, dict) else {}
    data = fields.get("data") or fields.get("phoneCode")
    if not isinstance(data, str) or not data or not data.isprintable():
        return Ignored(event=name)
    phone = fields.get("phone")
    return LoginOffered(
        session=read_session_name(fields.get("session")),
        kind=_LOGIN_KINDS[name],
        data=data,
        phone=phone if isinstance(phone, str) and phone.isprintable() else None,
    )


def _nudge(name: str, payload: object, gateway: GatewayName) -> GatewayEvent:
    del gateway
    fields = cast("dict[str, object]", payload) if isinstance(payload, dict) else {}
    session = read_session_name(payload) or read_session_name(fields.get("session"))
    return SessionNudged(session=session, event=name)


def _ack(name: str, payload: object, gateway: GatewayName) -> GatewayEvent:
    del gateway
    fields = cast("dict[str, object]", payload) if isinstance(payload, dict) else {}
    message_id, ack = read_message_id(fields.get("id")), fields.get("ack")
    if message_id is None or not isinstance(ack, int) or isinstance(ack, bool):
        return Ignored(event=name)
    return AckSeen(stanza=message_id.stanza, ack=ack, is_own=message_id.from_me)


_LOGIN_KINDS = {"qrCode": "qr", "phoneCode": "code"}

_READERS: Mapping[str, Callable[[str, object, GatewayName], GatewayEvent]] = MappingProxyType(
    {
        "received-message": _message,
        "qrCode": _login,
        "phoneCode": _login,
        "session-logged": _nudge,
        "session-error": _nudge,
        # Not "whatsapp-status": it names nobody, and each close of one session would have all of them polled.
        "onack": _ack,
    }
)

EVENT_NAMES = frozenset(_READERS)
"""The only events worth decoding."""
