"""What a gateway says about its sessions, as values.

Source: wppconnect-server 2.10.4. Its `status` is a memory of the last event, not a fact: `CONNECTED` may stand over a
crashed browser, `INITIALIZING` may stand for ever. The decisions that this calls for are taken elsewhere; here it is
only read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from wa_supervisor.domain.names import SessionName


class GatewayStatus(StrEnum):
    """The states that a gateway reports; a word we do not know reads as `UNKNOWN`."""

    CLOSED = "CLOSED"
    INITIALIZING = "INITIALIZING"
    QRCODE = "QRCODE"
    PHONECODE = "PHONECODE"
    CONNECTED = "CONNECTED"
    UNKNOWN = "UNKNOWN"

    @classmethod
    def read(cls, value: object) -> GatewayStatus:
        """Read a reported status; `null` and no status at all mean that the session never started."""
        if value is None:
            return cls.CLOSED
        try:
            return cls(value.upper()) if isinstance(value, str) else cls.UNKNOWN
        except ValueError:
            return cls.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """One answer of `status-session`."""

    status: GatewayStatus
    url_code: str | None = field(default=None, repr=False)
    """The text behind the QR code, while `status` is `QRCODE`. Whoever has it can take the number over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayHealth:
    """One answer of `healthz`."""

    uptime: float
    """Seconds since the gateway started; smaller than before means that it restarted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """The proxy that a session's browser uses. The gateway leaks one session's into later ones that have none."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAccess:
    """What every call for one session needs: its name at the gateway, and its token if the operator gave one."""

    session: SessionName
    token: str | None = field(default=None, repr=False)
    """Without one, the gateway's secret is asked for a fresh token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """The whole body of `start-session`: it *replaces* what the gateway stored, so it is always given in full."""

    phone: str | None = None
    """Digits of the number to log in by pairing code instead of QR."""
    proxy: Proxy | None = None
