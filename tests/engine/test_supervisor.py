"""The whole wish, kept: what is declared comes up, what is removed goes, and nobody pays for another's trouble."""

from __future__ import annotations

import anyio
import pytest

from tests.engine.harness import agent, message, record, records, reply, running
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.integration import Defaults
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import GatewayName, IntegrationId
from wa_supervisor.domain.observations import Abandoned, Reconciled, SessionMoved, Trouble

pytestmark = pytest.mark.anyio


async def test_a_declared_session_is_started_and_runs() -> None:
    async with running(records("a")) as house:
        status = await house.until_state("a", State.RUNNING)
        assert status.reason == "Connected"
        assert house.gateway.session("a-number").starts == 1


async def test_a_session_that_is_connected_already_is_adopted_without_a_start() -> None:
    async with running(records("a"), prepare=lambda h: h.gateway.session("a-number").connect()) as house:
        await house.until_state("a", State.RUNNING)
        assert house.gateway.session("a-number").starts == 0


async def test_removed_integration_is_closed_and_the_others_stay() -> None:
    async with running(records("a", "b")) as house:
        await house.until_state("a", State.RUNNING)
        await house.until_state("b", State.RUNNING)
        house.wish.remove("a")
        await house.until(lambda: "a" not in house.states())
        assert house.gateway.session("a-number").closes == 1
        assert house.gateway.session("a-number").has_login
        assert house.states() == {"b": State.RUNNING}
        assert house.gateway.session("b-number").closes == 0


async def test_a_bad_record_is_invalid_with_a_reason_and_harms_nobody() -> None:
    async with running({"a": b"{", "b": record("b"), "c": record("c", pausd=True)}) as house:
        await house.until_state("b", State.RUNNING)
        assert house.status("a").state is State.INVALID
        assert "pausd" in house.status("c").message


async def test_a_message_reaches_the_agent_and_the_reply_reaches_the_person() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        await house.events.emit("received-message", message("a-number", "hello"))
        await house.until(lambda: house.status("a").traffic.messages_in == 1)
        assert len(house.inbox.streams[agent("a")]) == 1
        await house.outbox.say(agent("a"), reply())
        await house.until(lambda: house.status("a").traffic.messages_out == 1)
        (got,) = house.gateway.received
        assert (got.session, got.chat, got.text) == ("a-number", "5511900000077@c.us", "hello back")
        with anyio.fail_after(60):
            while house.gateway.typing:  # noqa: ASYNC110  # the fake has no event for it
                await anyio.lowlevel.checkpoint()


async def test_a_change_is_followed_at_the_resync_even_if_no_notification_comes() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.wish.records["b"] = record("b")  # nobody rings
        await house.until_state("b", State.RUNNING)


async def test_a_burst_of_notifications_is_one_comparison() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        rounds = len(house.all_told(Reconciled))
        for _ in range(50):
            house.wish.ring()
        await anyio.sleep(1)
        assert len(house.all_told(Reconciled)) <= rounds + 2


async def test_while_the_wish_cannot_be_read_what_runs_goes_on() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.wish.records = {}
        house.wish.fail_next("read", StoreUnavailableError("Redis is away"), times=10)
        house.wish.ring()
        await house.until(lambda: sum(1 for r in house.all_told(Reconciled) if r.error) == 10)
        assert house.gateway.session("a-number").closes == 0
        await house.until(lambda: not house.states())


async def test_a_lost_listening_is_taken_up_again() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        for _ in range(3):
            house.outbox.break_off("listen")
            house.commands.break_off("listen")
            house.wish.break_off("watch")
            await anyio.sleep(30)
        await house.outbox.say(agent("a"), reply(), on="channel")
        await house.until(lambda: house.status("a").traffic.messages_out == 1)
        house.commands.issue("restart", IntegrationId("a"))
        await house.until(lambda: house.status("a").last_command is not None)
        house.wish.put("b", record("b"))
        await house.until_state("b", State.RUNNING)


async def test_a_session_that_another_integration_holds_stays_with_its_holder() -> None:
    async with running({"b": record("b", session="x")}) as house:
        await house.until_state("b", State.RUNNING)
        house.wish.put("a", record("a", session="x"))
        status = await house.until_state("a", State.INVALID)
        assert status.reason == "SessionTaken"
        assert house.status("b").state is State.RUNNING
        house.wish.remove("b")
        await house.until_state("a", State.RUNNING)


async def test_an_integration_that_is_removed_and_declared_again_at_once_has_one_incarnation() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.gateway.hold("close")
        house.wish.remove("a")
        await house.gateway.until(lambda: house.gateway.calls["close"] == 1)
        house.wish.put("a", record("a"))
        await anyio.sleep(10)
        assert house.gateway.session("a-number").starts == 1
        house.gateway.release("close")
        await house.until_state("a", State.RUNNING)
        assert house.gateway.session("a-number").starts == 2


async def test_a_gateway_that_hangs_on_close_does_not_keep_a_removed_integration_for_ever() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.gateway.hold("close")
        house.wish.remove("a")
        await house.until(lambda: not house.states())
        assert any(each.where == "close" for each in house.all_told(Trouble))


async def test_a_restart_of_what_does_not_run_is_refused_with_the_reason() -> None:
    async with running({"a": record("a", paused=True)}) as house:
        await house.until_state("a", State.PAUSED)
        await house.commands.until(lambda: house.commands.listening("listen") == 1)
        house.commands.issue("restart", IntegrationId("a"))
        await house.until(lambda: house.status("a").last_command is not None)
        result = house.status("a").last_command
        assert result is not None
        assert not result.accepted
        assert "paused" in result.message


async def test_a_gateway_that_changed_takes_only_its_own_sessions_along() -> None:
    wish = {"a": record("a", gateway="one"), "b": record("b", gateway="two")}
    async with running(wish, gateways=("one", "two")) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        one, two = GatewayName("one"), GatewayName("two")
        house.rooms[one] = house.make_room(one)
        house.supervisor.replace_gateways(tuple(house.rooms.values()), Defaults(gateways=frozenset({one, two})))
        await house.until(lambda: house.status("a").state is not State.RUNNING)
        await house.until_state("a", State.RUNNING)
        assert house.gateways[one].session("a-number").starts == 1  # adopted by the new room
        moves = [each.transition.target for each in house.all_told(SessionMoved) if each.integration == "b"]
        assert State.DRAINING not in moves


async def test_a_gateway_that_is_taken_out_makes_its_integrations_invalid() -> None:
    wish = {"a": record("a", gateway="one"), "b": record("b", gateway="two")}
    async with running(wish, gateways=("one", "two")) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        two = GatewayName("two")
        house.supervisor.replace_gateways((house.rooms[two],), Defaults(gateways=frozenset({two})))
        status = await house.until_state("a", State.INVALID)
        assert status.reason == "UnknownGateway"
        assert house.status("b").state is State.RUNNING


async def test_a_stop_finishes_what_is_in_flight_and_names_what_it_cannot() -> None:
    async with running(records("a", "b")) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        house.inbox.hold("hand_over")
        await house.events.emit("received-message", message("a-number", "hello"))
        await house.inbox.until(lambda: house.inbox.calls["hand_over"] == 1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(house.supervisor.drain, 100.0)
            await house.until_state("a", State.DRAINING)
            house.inbox.release("hand_over")
        assert len(house.inbox.streams[agent("a")]) == 1
        assert not house.all_told(Abandoned)


async def test_a_stop_that_cannot_finish_ends_in_time_and_says_so() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        house.inbox.hold("hand_over")
        await house.events.emit("received-message", message("a-number", "hello"))
        await house.inbox.until(lambda: house.inbox.calls["hand_over"] == 1)
        began = anyio.current_time()
        await house.supervisor.drain(100.0)
        assert anyio.current_time() - began <= house.policies.supervisor.drain_timeout + 1
        assert [(each.what, each.count) for each in house.all_told(Abandoned)] == [("messages_in", 1)]
