"""Several daemons and one wish: a session runs where its lease is, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from tests.engine.harness import House, agent, message, record, records, reply, running
from tests.fakes.leases import FakeLeases
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.observations import SessionMoved, Trouble

pytestmark = pytest.mark.anyio

A = IntegrationId("a")
LONG = 1e6


async def taken_by_another(house: House, names: Sequence[IntegrationId] = (A,)) -> FakeLeases:
    """Let another daemon have the leases, as if this one had stood still for longer than they last."""
    assert house.leases is not None
    for name in names:
        house.leases.table.kept.pop(name, None)
    other = house.leases.beside("two")
    await other.hold(names, LONG)
    return other


async def test_a_session_runs_under_its_lease_and_says_its_number() -> None:
    async with running(records("a"), leases=FakeLeases()) as house:
        status = await house.until_state("a", State.RUNNING)
        assert status.fence == 1
        assert not status.blockers


async def test_nothing_runs_before_the_first_word_of_redis_about_its_lease() -> None:
    leases = FakeLeases()
    leases.script.hold("ask")
    async with running(records("a"), leases=leases) as house:
        await anyio.sleep(600)
        status = house.status("a")
        assert (status.state, status.reason) == (State.PENDING, "LeaseUnknown")
        assert [each.name for each in status.blockers] == ["lease"]
        assert not house.gateway.session("a-number").starts
        leases.script.release("ask")
        await house.until_state("a", State.RUNNING)


async def test_what_another_daemon_runs_is_left_alone_until_that_gives_it_back() -> None:
    leases = FakeLeases()
    other = leases.beside("two")
    async with running({}, leases=leases) as house:
        await other.hold([A], LONG)
        house.wish.put("a", record("a"))
        await house.until(lambda: "a" in house.states())
        await anyio.sleep(600)
        status = house.status("a")
        assert (status.state, status.reason) == (State.PENDING, "LeasedElsewhere")
        assert "two" in status.message
        assert not house.gateway.session("a-number").starts
        await other.release([A])
        await house.until_state("a", State.RUNNING)


async def test_a_pause_of_what_another_daemon_runs_closes_nothing() -> None:
    leases = FakeLeases()
    other = leases.beside("two")

    def open_there(house: House) -> None:
        house.gateway.session("a-number").connect()

    async with running({}, leases=leases, prepare=open_there) as house:
        await other.hold([A], LONG)
        house.wish.put("a", record("a", paused=True))
        await anyio.sleep(600)
        assert house.status("a").reason == "LeasedElsewhere"
        assert house.gateway.session("a-number").closes == 0
        await other.release([A])
        await house.gateway.until(lambda: house.gateway.session("a-number").closes == 1)


async def test_a_lost_lease_ends_the_session_and_leaves_its_browser_to_the_other() -> None:
    async with running(records("a"), leases=FakeLeases()) as house:
        await house.until_state("a", State.RUNNING)
        other = await taken_by_another(house)
        status = await house.until_state("a", State.PENDING)
        assert status.reason == "LeasedElsewhere"
        assert status.fence is None
        await anyio.sleep(600)
        assert house.gateway.session("a-number").closes == 0
        await other.release([A])
        status = await house.until_state("a", State.RUNNING)
        assert status.fence == 3
        assert house.gateway.session("a-number").starts == 1


async def test_a_lost_lease_hands_over_what_had_arrived_and_sends_nothing_more() -> None:
    async with running(records("a"), leases=FakeLeases()) as house:
        await house.until_state("a", State.RUNNING)
        house.inbox.hold("hand_over")
        await house.events.emit("received-message", message("a-number", "hello"))
        await house.inbox.until(lambda: house.inbox.calls["hand_over"] == 1)
        await taken_by_another(house)
        await house.until_state("a", State.DRAINING)
        await house.outbox.say(agent("a"), reply())
        await anyio.sleep(10)
        house.inbox.release("hand_over")
        await house.until_state("a", State.PENDING)
        assert len(house.inbox.handed_over) == 1
        assert not house.gateway.received


async def test_a_reply_goes_nowhere_when_the_lease_is_lost() -> None:
    async with running(records("a"), leases=FakeLeases()) as house:
        await house.until_state("a", State.RUNNING)
        await taken_by_another(house)
        await house.until_state("a", State.PENDING)
        await house.outbox.say(agent("a"), reply())
        await anyio.sleep(100)
        assert not house.gateway.received


async def test_a_lease_that_ran_out_and_was_taken_again_begins_the_session_anew() -> None:
    leases = FakeLeases()
    async with running(records("a"), leases=leases) as house:
        await house.until_state("a", State.RUNNING)
        del leases.table.kept[A]
        await house.until(lambda: house.status("a").fence == 2)
        await house.until_state("a", State.RUNNING)
        assert house.gateway.session("a-number").closes == 0


async def test_a_lease_that_is_lost_while_a_removed_session_is_closed_ends_the_closing() -> None:
    async with running(records("a"), leases=FakeLeases()) as house:
        await house.until_state("a", State.RUNNING)
        house.gateway.is_up = False
        await house.until_state("a", State.HELD)
        house.wish.remove("a")
        await anyio.sleep(10)
        await taken_by_another(house)
        await house.until(lambda: not house.states())
        house.gateway.is_up = True
        await anyio.sleep(600)
        assert house.gateway.session("a-number").closes == 0


async def test_while_redis_is_away_what_is_ours_stays_ours() -> None:
    leases = FakeLeases()
    async with running(records("a"), leases=leases) as house:
        await house.until_state("a", State.RUNNING)
        leases.script.fail_next("ask", times=100)
        await anyio.sleep(300)
        assert house.states()["a"] is State.RUNNING


async def test_a_stop_and_a_removal_give_the_leases_back() -> None:
    leases = FakeLeases()
    async with running(records("a", "b"), leases=leases) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        house.wish.remove("a")
        await house.until(lambda: "a" not in house.states())
        await leases.script.until(lambda: A not in leases.table.kept)
        assert await house.supervisor.drain(25.0) == ()
        assert leases.table.kept, "the last statuses are still to be written"
        await house.supervisor.give_leases_back()
        assert not leases.table.kept


async def test_what_waits_for_its_lease_ends_when_it_is_removed_and_when_the_daemon_stops() -> None:
    leases = FakeLeases()
    leases.script.hold("ask")
    async with running(records("a", "b"), leases=leases) as house:
        await house.until(lambda: house.states() == {"a": State.PENDING, "b": State.PENDING})
        house.wish.remove("a")
        await house.until(lambda: "a" not in house.states())
        leases.script.release("ask")
        await house.supervisor.drain(25.0)
        assert house.states() == {"b": State.STOPPED}


async def test_an_invalid_record_has_no_lease() -> None:
    leases = FakeLeases()
    async with running({"a": b"{", "b": record("b")}, leases=leases) as house:
        await house.until_state("b", State.RUNNING)
        assert set(leases.table.kept) == {"b"}
        house.wish.put("b", b"{")
        await house.until_state("b", State.INVALID)
        await leases.script.until(lambda: not leases.table.kept)
        assert house.gateway.session("b-number").closes == 0


async def test_a_lease_that_is_lost_while_the_gateway_is_out_of_the_configuration_is_waited_for() -> None:
    async with running(records("a", "b"), leases=FakeLeases()) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        house.wish.hold("read")
        house.supervisor.replace_gateways((), house.supervisor._defaults)
        await house.until(lambda: house.status("a").reason == "GatewayGone")
        await taken_by_another(house)
        await house.until(lambda: house.status("a").reason == "LeasedElsewhere")
        assert house.status("b").reason == "GatewayGone"


async def test_leases_are_no_reason_for_a_keeper_to_fail() -> None:
    leases = FakeLeases()
    async with running(records("a"), leases=leases) as house:
        for _ in range(5):
            await house.until_state("a", State.RUNNING)
            other = await taken_by_another(house)
            await house.until_state("a", State.PENDING)
            await other.release([A])
        assert not [each for each in house.all_told(Trouble) if each.where == "keeper"]
        assert all(each.transition.target is not State.QUARANTINED for each in house.all_told(SessionMoved))
