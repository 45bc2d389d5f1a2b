"""Catching up: what was missed is fetched, in order, once, without overtaking, and without crushing the gateway."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.engine.harness import MAIN, House, Policies, agent, message, records, running
from wa_supervisor.domain.errors import GatewayAnswerError
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.marks import Mark
from wa_supervisor.domain.names import AgentId, ChatId, GatewayName, SessionName
from wa_supervisor.domain.observations import CaughtUp, FellBehind, MessageHandedOver, MessageLeftOut, Trouble
from wa_supervisor.engine.gap import Gap
from wa_supervisor.engine.policies import InboundPolicy

pytestmark = pytest.mark.anyio

ANNA, BRUNO = "5511900000001@c.us", "5511900000002@c.us"
SESSION = SessionName("a-number")

Kept = tuple[dict[AgentId, list[bytes]], set[str], dict[tuple[GatewayName, SessionName], dict[ChatId, Mark]], Any]


def texts(house: House, chat: str | None = None, name: str = "a") -> list[str]:
    """Give what the agent was given, oldest first."""
    payloads = [json.loads(payload) for payload in house.inbox.streams[agent(name)]]
    return [payload["text"] for payload in payloads if chat in (None, payload["chat_id"])]


def mark_of(house: House, chat: str) -> Mark | None:
    return house.inbox.marked[MAIN, SESSION].get(ChatId(chat))


def kept_of(house: House) -> Kept:
    """Give what the store has now, of messages and marks."""
    inbox = house.inbox
    return deepcopy((dict(inbox.streams), inbox.seen, dict(inbox.marked), inbox.since))


def put_back(house: House, kept: Kept) -> None:
    """Let the store have what it had then."""
    streams, seen, marked, since = deepcopy(kept)
    inbox = house.inbox
    inbox.streams.clear()
    inbox.streams.update(streams)
    inbox.marked.clear()
    inbox.marked.update(marked)
    inbox.seen, inbox.since = seen, since


async def settled(house: House, count: int = 1) -> None:
    """Wait until sessions have caught up so often, and their gaps are closed."""
    await house.until_told(CaughtUp, count)


async def live(house: House, chat: str, text: str) -> None:
    """Let a person write, and the gateway say so."""
    payload = house.gateway.writes("a-number", chat, text, at=house.wall())
    await house.events.emit("received-message", payload)


def missed(house: House, chat: str, text: str) -> None:
    """Let a person write, and the gateway keep that to itself."""
    house.gateway.writes("a-number", chat, text, at=house.wall())


async def away(house: House) -> None:
    """Lose the event connection, and wait until it is lost."""
    lost = house.connections("feed_lost")
    house.events.lose()
    await house.until(lambda: house.connections("feed_lost") > lost)


async def test_what_was_written_while_nobody_was_connected_is_fetched_in_its_order_and_marked_as_such() -> None:
    async with running(records("a")) as house:
        await settled(house)
        await live(house, ANNA, "1")
        await house.until(lambda: texts(house) == ["1"])
        await away(house)
        for text in ("2", "3", "4"):
            missed(house, ANNA, text)
        await settled(house, 2)
        assert texts(house) == ["1", "2", "3", "4"]
        flags = [json.loads(payload).get("recovered", False) for payload in house.inbox.streams[agent("a")]]
        assert flags == [False, True, True, True]
        told = house.all_told(CaughtUp)[-1]
        assert (told.cause, told.recovered, told.chats) == ("reconnected", 3, 1)
        traffic = house.status("a").traffic
        assert (traffic.recovered, traffic.messages_in, traffic.duplicates) == (3, 4, 0)


async def test_a_live_message_does_not_overtake_what_was_missed_before_it() -> None:
    async with running(records("a")) as house:
        await settled(house)
        await live(house, ANNA, "1")
        await house.until(lambda: texts(house) == ["1"])
        house.gateway.hold("messages")
        await away(house)
        missed(house, ANNA, "2")
        await house.events.until_connected()
        await live(house, ANNA, "3")
        await anyio.sleep(10)
        assert texts(house) == ["1"]
        house.gateway.release("messages")
        await settled(house, 2)
        await house.until(lambda: len(texts(house)) == 3)
        assert texts(house) == ["1", "2", "3"]


async def test_a_chat_that_missed_nothing_does_not_wait_for_one_that_did() -> None:
    async with running(records("a")) as house:
        await settled(house)
        await live(house, ANNA, "1")
        await live(house, BRUNO, "1")
        await house.until(lambda: len(texts(house)) == 2)
        house.gateway.hold("messages")
        await away(house)
        missed(house, ANNA, "2")
        await house.events.until_connected()
        await house.gateway.until(lambda: house.gateway.calls["messages"] > 0)
        await live(house, BRUNO, "2")
        await house.until(lambda: texts(house, BRUNO) == ["1", "2"])
        assert texts(house, ANNA) == ["1"]
        house.gateway.release("messages")


async def test_a_daemon_that_comes_back_reads_on_from_where_the_one_before_it_was() -> None:
    async with running(records("a")) as first:
        await settled(first)
        await live(first, ANNA, "1")
        await first.until(lambda: texts(first) == ["1"])
        gateway = first.gateway

    def prepare(house: House) -> None:
        put_back(house, kept_of(first))
        house.gateway.take_after(gateway)
        missed(house, ANNA, "2")

    async with running(records("a"), prepare=prepare) as second:
        await settled(second)
        assert texts(second) == ["1", "2"]
        assert second.all_told(CaughtUp)[-1].cause == "connected"


async def test_what_was_there_before_the_session_was_declared_is_never_fetched() -> None:
    def prepare(house: House) -> None:
        house.gateway.writes("a-number", ANNA, "long ago", at=house.wall() - 3600)

    async with running(records("a"), prepare=prepare) as house:
        await settled(house)
        await live(house, ANNA, "now")
        await house.until(lambda: texts(house) == ["now"])
        await away(house)
        await settled(house, 2)
        assert texts(house) == ["now"]


async def test_a_chat_that_nobody_knew_is_fetched_too() -> None:
    async with running(records("a")) as house:
        await settled(house)
        await away(house)
        await anyio.sleep(1)
        for number in range(120):
            missed(house, BRUNO, f"{number}")
        await settled(house, 2)
        assert texts(house) == [f"{number}" for number in range(120)]


async def test_what_is_older_than_the_horizon_is_left_out_and_counted() -> None:
    policies = Policies(inbound=InboundPolicy(horizon=600.0))
    async with running(records("a"), policies=policies) as house:
        await settled(house)
        await live(house, ANNA, "1")
        await live(house, BRUNO, "1")
        await house.until(lambda: len(texts(house)) == 2)
        house.events.refuses = True
        await away(house)
        missed(house, ANNA, "too old")
        missed(house, BRUNO, "too old as well")
        await anyio.sleep(700)
        missed(house, ANNA, "2")
        house.events.refuses = False
        await house.until(lambda: texts(house, ANNA) == ["1", "2"])
        await house.until(lambda: house.all_told(CaughtUp)[-1].too_old == 2)
        assert [told.reason for told in house.all_told(MessageLeftOut)] == ["too_old", "too_old"]
        assert texts(house, BRUNO) == ["1"]
        await away(house)
        await house.until(lambda: not house.all_told(CaughtUp)[-1].too_old)  # it is told once


async def test_chats_that_load_late_are_found_by_the_second_look_and_nothing_live_hides_them() -> None:
    async with running(records("a")) as house:
        await settled(house)
        await live(house, ANNA, "1")
        await house.until(lambda: texts(house) == ["1"])
        book = house.gateway.session("a-number").book
        book.hides = True
        await away(house)
        missed(house, ANNA, "2")
        await house.events.until_connected()
        await live(house, BRUNO, "1")
        await anyio.sleep(3)
        book.show()
        await settled(house, 2)
        assert texts(house, ANNA) == ["1", "2"]


async def test_a_chat_that_cannot_be_read_holds_up_no_other_and_is_found_again() -> None:
    async with running(records("a"), policies=Policies(inbound=InboundPolicy(routine=60))) as house:
        await settled(house)
        for chat in (ANNA, BRUNO):
            await live(house, chat, "1")
        await house.until(lambda: len(texts(house)) == 2)
        await away(house)
        missed(house, ANNA, "2")
        await anyio.lowlevel.checkpoint()
        missed(house, BRUNO, "2")
        house.gateway.unreadable.add(ChatId(ANNA))
        await settled(house, 2)
        assert texts(house, BRUNO) == ["1", "2"]
        assert texts(house, ANNA) == ["1"]
        assert any(told.where == "catch_up" for told in house.all_told(Trouble))
        house.gateway.unreadable.clear()
        await house.until(lambda: texts(house, ANNA) == ["1", "2"])
        await house.until(lambda: house.all_told(CaughtUp)[-1].cause == "routine")


async def test_a_gateway_that_cannot_list_chats_is_tried_again_and_silences_nobody() -> None:
    async with running(records("a")) as house:
        await settled(house)
        house.gateway.fail_next("chats", GatewayAnswerError("500"), times=8)
        await away(house)
        missed(house, ANNA, "1")
        await house.events.until_connected()
        await live(house, BRUNO, "1")
        await house.until(lambda: texts(house, BRUNO) == ["1"])
        await house.until(lambda: texts(house, ANNA) == ["1"])
        await settled(house, 2)
        assert house.gateway.calls["chats"] > 8


async def test_a_full_queue_is_made_good_by_catching_up() -> None:
    async with running(records("a"), policies=Policies(inbound=InboundPolicy(queue_per_session=10))) as house:
        await settled(house)
        house.inbox.hold("hand_over")
        for number in range(50):
            await live(house, ANNA, f"{number}")
        assert [told.cause for told in house.all_told(FellBehind)] == ["overflow"]
        house.inbox.release("hand_over")
        await house.until(lambda: len(texts(house)) == 50)
        assert texts(house) == [f"{number}" for number in range(50)]
        await house.until(lambda: house.all_told(CaughtUp)[-1].cause == "overflow")


async def test_a_store_that_forgot_its_last_second_gets_it_again() -> None:
    async with running(records("a")) as house:
        await settled(house)
        await live(house, ANNA, "1")
        await house.until(lambda: texts(house) == ["1"])
        before = kept_of(house)
        await live(house, ANNA, "2")
        await live(house, ANNA, "3")
        await house.until(lambda: len(texts(house)) == 3)
        put_back(house, before)
        house.supervisor.store_restarted()
        await house.until(lambda: texts(house) == ["1", "2", "3"])
        await house.until(lambda: house.all_told(CaughtUp)[-1].cause == "store")


async def test_own_messages_move_the_mark_so_that_answered_chats_are_not_read() -> None:
    async with running(records("a")) as house:
        await settled(house)
        await live(house, ANNA, "1")
        await house.events.emit(
            "received-message", house.gateway.owner_writes("a-number", ANNA, "answer", at=house.wall())
        )
        await house.until(lambda: len(texts(house)) == 1)
        await anyio.sleep(1)
        reads = house.gateway.calls["messages"]
        await away(house)
        await settled(house, 2)
        assert house.gateway.calls["messages"] == reads


async def test_a_session_whose_page_began_anew_catches_up() -> None:
    async with running(records("a")) as house:
        await settled(house)
        await live(house, ANNA, "1")
        await house.until(lambda: texts(house) == ["1"])
        house.gateway.session("a-number").end()
        missed(house, ANNA, "2")
        await house.until(lambda: texts(house) == ["1", "2"])
        assert house.status("a").state is State.RUNNING
        await house.until(lambda: house.all_told(CaughtUp)[-1].cause == "started")


async def test_fifty_sessions_that_come_back_at_once_take_turns() -> None:
    names = [f"s{number}" for number in range(50)]
    async with running(records(*names)) as house:
        await settled(house, 50)
        for name in names:
            payload = house.gateway.writes(f"{name}-number", ANNA, "1", at=house.wall())
            await house.events.emit("received-message", payload)
        await house.until(lambda: all(texts(house, name=name) == ["1"] for name in names))
        house.gateway.most_at_once.clear()
        await away(house)
        for name in names:
            house.gateway.writes(f"{name}-number", ANNA, "2", at=house.wall())
        await settled(house, 100)
        assert all(texts(house, name=name) == ["1", "2"] for name in names)
        at_once = house.gateway.most_at_once
        assert at_once["chats"] + at_once["messages"] <= 2 * 4


async def test_a_chat_that_the_history_names_otherwise_is_neither_lost_nor_doubled() -> None:
    lid = "123456789012345@lid"
    async with running(records("a")) as house:
        await settled(house)
        house.gateway.listed_as[ChatId(ANNA)] = ChatId(lid)
        await live(house, ANNA, "1")
        await house.until(lambda: texts(house) == ["1"])
        for _ in range(2):
            await away(house)
            missed(house, ANNA, "x")
            await anyio.sleep(30)
        assert len(texts(house)) == 3


async def test_a_message_of_the_wire_without_history_is_still_handed_over() -> None:
    async with running(records("a")) as house:
        await settled(house)
        await house.events.emit("received-message", message("a-number", "hello"))
        await house.until(lambda: texts(house) == ["hello"])


async def test_a_flood_of_one_session_delays_no_other_by_more_than_a_hand_over() -> None:
    async with running(records("a", "b")) as house:
        await settled(house, 2)
        house.inbox.seconds = 0.001
        await house.events.emit("received-message", message("b-number", "alone"))
        alone = (await house.until_told(MessageHandedOver))[0].latency
        for number in range(10_000):
            await live(house, ANNA, f"{number}")
            if number % 1000 == 999:
                payload = message("b-number", f"beside {number}", chat=f"55119{number:08}@c.us")
                await house.events.emit("received-message", payload)
        streams = house.inbox.streams
        await house.until(lambda: len(streams[agent("b")]) == 11)
        beside = [told.latency for told in house.all_told(MessageHandedOver) if told.integration == "b"][1:]
        assert max(beside) <= 3 * alone
        assert len(streams[agent("a")]) < 10_000  # the flood is not over yet
        await house.until(lambda: len(streams[agent("a")]) == 10_000)
        assert texts(house) == [f"{number}" for number in range(10_000)]


async def test_while_redis_is_away_memory_is_bounded_the_connection_let_go_and_nothing_lost() -> None:
    policies = Policies(inbound=InboundPolicy(queue_total=40, queue_per_session=30))
    names = ("a", "b")
    async with running(records(*names), policies=policies) as house:
        await settled(house, 2)
        house.inbox.hold("hand_over")
        for number in range(100):
            for name in names:
                payload = house.gateway.writes(f"{name}-number", ANNA, f"{number}", at=house.wall())
                await house.events.emit("received-message", payload)
        await house.until(lambda: house.connections("feed_let_go") == 1)
        assert house.backlog.count <= 41
        assert not house.events.is_listening
        assert set(house.states().values()) == {State.RUNNING}  # replies still go out
        await anyio.sleep(100)
        house.inbox.release("hand_over")
        await house.until(lambda: all(len(texts(house, name=name)) == 100 for name in names))
        for name in names:
            assert texts(house, name=name) == [f"{number}" for number in range(100)]
        assert house.events.is_listening


async def test_a_chat_that_could_not_be_read_keeps_its_mark_whatever_is_live_there() -> None:
    async with running(records("a")) as house:
        await settled(house)
        await live(house, ANNA, "1")
        await house.until(lambda: texts(house) == ["1"])
        house.gateway.unreadable.add(ChatId(ANNA))
        await away(house)
        missed(house, ANNA, "2")
        await settled(house, 2)
        await live(house, ANNA, "3")
        await house.until(lambda: texts(house) == ["1", "3"])
        house.gateway.unreadable.clear()
        await house.until(lambda: texts(house) == ["1", "3", "2"])


async def test_a_lesser_cause_does_not_stand_in_for_a_greater() -> None:
    gap = Gap("reconnected", tell_open=lambda _: None)
    gap.open("store")
    assert gap.cause == "reconnected"
    gap.open("started")
    gap.open("connected")
    assert gap.cause == "started"
    assert gap.close(gap.number)
    gap.open("overflow")
    assert gap.cause == "overflow"


async def test_what_comes_while_a_session_is_brought_up_for_the_first_time_is_for_us() -> None:
    def prepare(house: House) -> None:
        house.gateway.session("a-number").starts_in = 60.0

    async with running(records("a"), prepare=prepare) as house:
        await anyio.sleep(30)
        missed(house, ANNA, "while it starts")
        await house.until(lambda: texts(house) == ["while it starts"])


async def test_a_chat_that_moves_to_the_front_between_two_pages_hides_no_others() -> None:
    async with running(records("a"), policies=Policies(inbound=InboundPolicy(page=10))) as house:
        await settled(house)
        chats = [f"55119{number:08}@c.us" for number in range(25)]
        for chat in chats:
            await live(house, chat, "1")
            await anyio.sleep(1)
        await house.until(lambda: len(texts(house)) == 25)
        await away(house)
        for chat in chats:
            missed(house, chat, "2")
            await anyio.sleep(1)
        house.gateway.moves = [(ChatId(chats[15]), "3")]  # written when the first page has been given
        await house.until(lambda: len(texts(house)) == 51)
