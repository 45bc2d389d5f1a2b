"""Where everybody reads how things are, without Redis: dictionaries that a test can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.fakes.scripted import Scripted
from wa_supervisor.domain.names import AgentId, IntegrationId
from wa_supervisor.domain.status import DaemonStatus, LoginOffer, SessionStatus


class FakeStatusBoard(Scripted):
    """Port `StatusBoard`."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: dict[IntegrationId, SessionStatus] = {}
        self.hub: dict[AgentId, dict[str, str]] = {}
        self.hub_of_others: dict[AgentId, dict[str, str]] = {}
        """Hub fields that somebody else wrote; never touched."""
        self.published: list[SessionStatus] = []
        """Every status that was ever written, oldest first."""
        self.daemons: dict[str, DaemonStatus] = {}
        self.announced_for: dict[str, float] = {}
        """Seconds for which each daemon said that it is alive."""
        self.offers: dict[IntegrationId, LoginOffer] = {}

    async def publish(self, statuses: Sequence[SessionStatus], hub: Mapping[AgentId, Mapping[str, str]]) -> None:
        """Write these."""
        async with self._call("publish"):
            self.statuses.update({status.id: status for status in statuses})
            self.published += statuses
            for agent_id, fields in hub.items():
                self.hub[agent_id] = {**self.hub.get(agent_id, {}), **fields}

    async def keep_only(self, ids: frozenset[IntegrationId], agents: frozenset[AgentId]) -> None:
        """Remove the others."""
        async with self._call("keep_only"):
            self.statuses = {name: status for name, status in self.statuses.items() if name in ids}
            self.offers = {name: offer for name, offer in self.offers.items() if name in ids}
            self.hub = {name: fields for name, fields in self.hub.items() if name in agents}

    async def announce(self, daemon: DaemonStatus, ttl: float) -> None:
        """Keep the announcement."""
        async with self._call("announce"):
            self.daemons[daemon.id] = daemon
            self.announced_for[daemon.id] = ttl

    async def farewell(self, daemon_id: str) -> None:
        """Forget the announcement."""
        async with self._call("farewell"):
            self.daemons.pop(daemon_id, None)
            self.announced_for.pop(daemon_id, None)

    async def offer_login(self, integration_id: IntegrationId, offer: LoginOffer | None) -> None:
        """Keep or forget the offer."""
        async with self._call("offer_login"):
            if offer is None:
                self.offers.pop(integration_id, None)
            else:
                self.offers[integration_id] = offer
