"""Receipts without Redis: what each agent was told, and the messages that acks may still come for."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from tests.fakes.scripted import Scripted
from wa_supervisor.domain.names import AgentId, GatewayName, StanzaId
from wa_supervisor.domain.receipts import Fate, Receipt, SentMessage, fate_of_ack


class FakeReceipts(Scripted):
    """Port `Receipts`."""

    def __init__(self) -> None:
        super().__init__()
        self.told: defaultdict[AgentId, list[Receipt]] = defaultdict(list)
        """What each agent was told, in order."""
        self.remembered: dict[tuple[GatewayName, StanzaId], Receipt] = {}
        """The messages that were sent, with the first receipt of each."""
        self._acks: dict[tuple[GatewayName, StanzaId], int] = {}

    def fates(self, agent_id: AgentId) -> list[Fate]:
        """Give only the statuses that an agent was told, in order."""
        return [receipt.status for receipt in self.told[agent_id]]

    async def sent(self, message: SentMessage, receipt: Receipt, ack: int) -> None:
        """Remember a message, and tell what is news."""
        async with self._call("sent"):
            key = message.gateway, message.stanza
            self.remembered.setdefault(key, receipt)
            if key not in self._acks or _is_news(ack, self._acks[key]):
                self._tell(key, receipt, ack)

    async def acked(self, gateway: GatewayName, stanza: StanzaId, ack: int, at: float) -> bool:
        """Tell what is news of a remembered message."""
        async with self._call("acked"):
            receipt = self.remembered.get((gateway, stanza))
            if receipt is not None and _is_news(ack, self._acks[gateway, stanza]):
                news = msgspec.structs.replace(receipt, status=fate_of_ack(ack), at=at)
                self._tell((gateway, stanza), news, ack)
            return receipt is not None

    async def receipt_of(self, gateway: GatewayName, stanza: StanzaId) -> Receipt | None:
        """Give what was told first."""
        async with self._call("receipt_of"):
            return self.remembered.get((gateway, stanza))

    async def tell(self, receipt: Receipt) -> None:
        """Tell."""
        async with self._call("tell"):
            self.told[receipt.agent_id].append(receipt)

    def _tell(self, key: tuple[GatewayName, StanzaId], receipt: Receipt, ack: int) -> None:
        self._acks[key] = ack
        self.told[receipt.agent_id].append(receipt)


def _is_news(ack: int, told: int) -> bool:
    if ack < 0:
        return told == 0
    return min(ack, 3) > min(told, 3)
