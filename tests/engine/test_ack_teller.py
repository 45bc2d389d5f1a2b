"""Acks reach the agents' receipts: once each, whatever is away, and without holding up the events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.engine.harness import MAIN, Witness, agent, wall
from tests.fakes.receipts import FakeReceipts
from wa_supervisor.domain.gateway_events import AckSeen
from wa_supervisor.domain.names import StanzaId
from wa_supervisor.domain.observations import AckTold, Trouble
from wa_supervisor.domain.receipts import Fate, Receipt, SentMessage
from wa_supervisor.engine.ack_teller import MOST_WAITING, AckTeller

pytestmark = pytest.mark.anyio

ONE = StanzaId("3EB0A1")


class Room:
    """A teller among fakes, and one message that was sent."""

    def __init__(self) -> None:
        self.receipts, self.witness = FakeReceipts(), Witness()
        self.teller = AckTeller(MAIN, self.receipts, wall=wall, observe=self.witness.observe)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        receipt = Receipt(agent_id=agent("a"), status=Fate.SENT, at=0.0)
        await self.receipts.sent(SentMessage(gateway=MAIN, stanza=ONE), receipt, 1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.teller.run)
            yield
            tasks.cancel_scope.cancel()

    def see(self, ack: int, stanza: StanzaId = ONE) -> None:
        self.teller.take(AckSeen(stanza=stanza, ack=ack, is_own=True))

    @property
    def fates(self) -> list[Fate]:
        return self.receipts.fates(agent("a"))


async def test_each_ack_that_says_more_is_told_and_others_are_not() -> None:
    room = Room()
    async with room.running():
        for ack in (1, 2, 1, 3, 2, 4):
            room.see(ack)
            await anyio.sleep(1)
    assert room.fates == [Fate.SENT, Fate.DELIVERED, Fate.READ]


async def test_acks_of_messages_that_are_nobodys_are_not_told() -> None:
    room = Room()
    async with room.running():
        room.see(3, StanzaId("somebody else's"))
        await room.receipts.until(lambda: room.receipts.calls["acked"] == 1)
        await anyio.sleep(1)
    assert not room.witness.all_told(AckTold)
    assert room.fates == [Fate.SENT]


async def test_while_the_store_is_away_the_newest_word_on_each_message_is_kept_within_a_bound() -> None:
    room = Room()
    room.receipts.fail_next("acked", times=30)
    async with room.running():
        for number in range(2 * MOST_WAITING):
            room.see(2, StanzaId(f"{number}"))
        assert repr(room.teller) == f"<AckTeller main, {MOST_WAITING} wait>"
        room.see(2)
        room.see(3)
        await room.receipts.until(lambda: Fate.READ in room.fates)
    assert room.fates == [Fate.SENT, Fate.READ]
    assert not room.witness.all_told(Trouble)
