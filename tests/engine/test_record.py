"""The record of one integration: what keeps it from running, and who may still write into it."""

from __future__ import annotations

import anyio
import pytest

from tests.engine.harness import Witness, integration, wall
from wa_supervisor.domain.lifecycle import Cause, State
from wa_supervisor.domain.observations import SessionMoved
from wa_supervisor.engine.record import Record

pytestmark = pytest.mark.anyio


class Page(Witness):
    """A record, and what it told."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0
        self.record = Record(integration("a"), wall=wall, observe=self.observe, changed=self._count)

    def _count(self, _: object) -> None:
        self.changes += 1


async def test_blockers_have_names_and_stand_oldest_first() -> None:
    record = Page().record
    record.block("gate", "gateway main is away")
    await anyio.sleep(10)
    record.block("operator", "paused", wall() + 60)
    record.block("gate", "gateway main is still away")
    blockers = record.status().blockers
    assert [(each.name, each.message) for each in blockers] == [
        ("gate", "gateway main is still away"),
        ("operator", "paused"),
    ]
    assert blockers[1].since - blockers[0].since == pytest.approx(10)
    assert blockers[1].until == pytest.approx(wall() + 60)
    record.unblock("gate")
    assert [each.name for each in record.blockers] == ["operator"]


async def test_only_what_changes_is_told() -> None:
    page = Page()
    page.record.block("gate", "away")
    page.record.notice("held back")
    before = page.changes
    page.record.block("gate", "away")
    page.record.unblock("lease")
    page.record.notice("held back")
    assert page.changes == before
    page.record.unblock("gate")
    assert page.changes == before + 1


async def test_a_notice_stands_beside_every_message_until_it_is_taken_away() -> None:
    record = Page().record
    record.notice("held back")
    record.move(Cause.START, "Starting", "the browser starts")
    assert record.status().message == "the browser starts; held back"
    record.notice("")
    assert record.status().message == "the browser starts"


async def test_who_holds_a_record_that_was_handed_on_writes_into_nothing() -> None:
    page = Page()
    old = page.record
    old.move(Cause.START, "Starting", "starts")
    old.move(Cause.CONNECTED, "Connected", "connected")
    old.traffic.messages_in = 7
    new = old.hand_on()
    assert not old.serving.is_on
    told = len(page.all_told(SessionMoved))
    old.move(Cause.GIVE_UP, "CutOff", "cut off")
    old.block("gate", "away")
    assert new.state is State.RUNNING
    assert not new.blockers
    assert len(page.all_told(SessionMoved)) == told
    new.move(Cause.DRAIN, "Draining", "draining")
    assert new.status().traffic.messages_in == 7
    assert [each.target for each in new.status().transitions] == [State.STARTING, State.RUNNING, State.DRAINING]
    assert len(old.status().transitions) == 2
