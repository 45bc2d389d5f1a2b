"""Whether a record can be followed, judged before it is written as the daemon will judge it.

The gateways are those of the configuration that the command reads, which need not be the daemon's: without any, a
record is taken to name a gateway that exists, and a warning says that this could not be checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wa_supervisor.cli.failing import CommandError
from wa_supervisor.cli.sessions import texts_of
from wa_supervisor.domain.integration import Defaults, InvalidIntegration, read_integration
from wa_supervisor.domain.names import GatewayName, SessionName
from wa_supervisor.domain.wish import read_wish

if TYPE_CHECKING:
    from wa_supervisor.config import Settings

_DAEMONS_DEFAULT = GatewayName("(the daemon's default)")
"""Stands for the gateway of a record that names none, while no gateway is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Knows what the configuration says about records."""

    gateways: frozenset[GatewayName]
    default_gateway: GatewayName | None
    default_session: SessionName | None

    def refuse(self, name: str, record: bytes, wishes: Mapping[str, bytes]) -> str | None:
        """Raise `CommandError` for a record that could not be followed; else give what is worth a warning."""
        defaults = self._defaults({**wishes, name: record})
        read = read_integration(name, record, defaults)
        if isinstance(read, InvalidIntegration):
            raise CommandError(f"{name}: {read.message}")
        others = read_wish({other: each for other, each in wishes.items() if other != name}, defaults, {})
        for other in others.integrations.values():
            if other.claim == read.claim:
                raise CommandError(
                    f"{name}: session {read.session!r} at gateway {read.gateway!r} already belongs to {other.id!r}; "
                    "give another --session, or remove that one first"
                )
        if self.gateways:
            return None
        return f"no gateway is configured here, so nobody checked that the daemon knows gateway {read.gateway!r}"

    def _defaults(self, records: Mapping[str, bytes]) -> Defaults:
        named = (texts_of(record).get("gateway") for record in records.values())
        known = self.gateways or frozenset({_DAEMONS_DEFAULT, *(GatewayName(name) for name in named if name)})
        gateway = self.default_gateway if self.gateways else _DAEMONS_DEFAULT
        return Defaults(gateways=known, gateway=gateway, session=self.default_session)


def judge_of(settings: Settings) -> Judge:
    """Take from settings what they say about records."""
    return Judge(
        gateways=frozenset(GatewayName(name) for name in settings.gateways),
        default_gateway=settings.default_gateway,
        default_session=SessionName(settings.wish.default_session) if settings.wish.default_session else None,
    )
