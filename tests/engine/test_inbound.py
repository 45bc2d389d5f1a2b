"""In: every message reaches the agent once, in its chat's order, whatever is away meanwhile."""

from __future__ import annotations

import json
from dataclasses import replace

import anyio
import pytest

from tests.engine.harness import MAIN, Carriage, Policies, agent, arrived, cancel_after, message, records, running
from wa_supervisor.domain.errors import PermanentError, StoreUnavailableError
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import ChatId, IntegrationId
from wa_supervisor.domain.observations import (
    Abandoned,
    CaughtUp,
    DuplicateDropped,
    FellBehind,
    MessageHandedOver,
    MessageLeftOut,
    Observation,
    Trouble,
)
from wa_supervisor.engine.gap import LONGEST_HOLD
from wa_supervisor.engine.people import PeoplePolicy
from wa_supervisor.engine.policies import InboundPolicy, SupervisorPolicy

pytestmark = pytest.mark.anyio

ANNA, BRUNO = "5511900000001@c.us", "5511900000002@c.us"


def texts(carriage: Carriage, chat: str | None = None) -> list[str]:
    """Give what the agent was given, oldest first."""
    payloads = [json.loads(payload) for payload in carriage.inbox.streams[agent("a")]]
    return [payload["text"] for payload in payloads if chat in (None, payload["chat_id"])]


async def test_a_message_is_handed_over_with_who_wrote_it_and_counted() -> None:
    carriage = Carriage()
    carriage.inbox.listeners[agent("a")] = 2
    async with carriage.running():
        carriage.inbound.take(arrived("hello", chat=ANNA, stanza="3EB0AA"))
        (told,) = await carriage.until_told(MessageHandedOver)
        assert (told.integration, told.gateway, told.listeners) == ("a", MAIN, 2)
    (payload,) = [json.loads(payload) for payload in carriage.inbox.streams[agent("a")]]
    assert (payload["text"], payload["chat_id"], payload["session"]) == ("hello", ANNA, "a-number")
    assert payload["user_data"]["first_name"] == "Anna"
    assert payload["user_data"]["is_authenticated"]
    traffic = carriage.record.traffic
    assert (traffic.messages_in, traffic.duplicates) == (1, 0)
    assert traffic.last_in_at is not None


async def test_a_chat_is_in_order_and_a_slow_one_delays_no_other() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.inbound.take(arrived("0", chat=BRUNO))
        await carriage.until_told(MessageHandedOver)
        carriage.people.hold("get_or_create")  # Bruno is remembered, Anna has to be looked up
        for number in (1, 2, 3):
            carriage.inbound.take(arrived(f"{number}", chat=ANNA))
            carriage.inbound.take(arrived(f"{number}", chat=BRUNO))
        await carriage.until_told(MessageHandedOver, 4)
        assert texts(carriage, ANNA) == []
        assert texts(carriage, BRUNO) == ["0", "1", "2", "3"]
        carriage.people.release("get_or_create")
        await carriage.inbound.wait_empty()
    assert texts(carriage, ANNA) == ["1", "2", "3"]


async def test_the_latency_is_counted_from_the_arrival() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.inbox.hold("hand_over")
        carriage.inbound.take(arrived("hello"))
        await anyio.sleep(7)
        carriage.inbox.release("hand_over")
        (told,) = await carriage.until_told(MessageHandedOver)
        assert told.latency == pytest.approx(7)


async def test_a_message_waits_for_redis_as_long_as_it_takes_and_that_is_told_once() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.inbox.fail_next("hand_over", StoreUnavailableError("away"), times=50)
        began = anyio.current_time()
        carriage.inbound.take(arrived("hello"))
        await carriage.until_told(MessageHandedOver)
        assert 30 < anyio.current_time() - began < 50 * carriage.policies.inbound.retry_max
    assert texts(carriage) == ["hello"]
    (trouble,) = carriage.all_told(Trouble)
    assert trouble.where == "hand_over"
    assert "waits for Redis" in trouble.message


async def test_an_answer_that_was_lost_does_not_double_the_message() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.inbox.fail_next("hand_over", StoreUnavailableError("lost"), after_effect=True)
        carriage.inbound.take(arrived("hello"))
        await carriage.until_told(DuplicateDropped)
    assert texts(carriage) == ["hello"]


async def test_a_message_that_comes_again_is_dropped_and_counted() -> None:
    carriage = Carriage()
    async with carriage.running():
        for _ in range(3):
            carriage.inbound.take(arrived("hello", stanza="3EB0AA"))
        await carriage.until_told(DuplicateDropped, 2)
        assert carriage.record.traffic.duplicates == 2
        assert carriage.record.traffic.messages_in == 1
        calls = carriage.gateway.calls["set_typing"]
        carriage.inbound.take(arrived("hello", stanza="3EB0AA"))
        await carriage.until_told(DuplicateDropped, 3)
        assert carriage.gateway.calls["set_typing"] == calls
    assert texts(carriage) == ["hello"]


async def test_while_the_people_database_is_away_messages_go_on_as_not_authenticated() -> None:
    carriage = Carriage(Policies(people=PeoplePolicy(pause=10)))
    carriage.people.fail_next("get_or_create", StoreUnavailableError("away"), times=1000)
    async with carriage.running():
        for number in range(10):
            carriage.inbound.take(arrived(f"{number}", chat=f"55119{number:08}@c.us"))
        await carriage.until_told(MessageHandedOver, 10)
    payloads = [json.loads(payload) for payload in carriage.inbox.streams[agent("a")]]
    assert len(payloads) == 10
    assert not any(payload["user_data"]["is_authenticated"] for payload in payloads)
    assert [trouble.where for trouble in carriage.all_told(Trouble)] == ["people_away"]


async def test_what_cannot_be_repeated_is_told_and_its_lane_goes_on() -> None:
    carriage = Carriage()
    carriage.inbox.fail_next("hand_over", PermanentError("this agent's key is of a wrong type"))
    async with carriage.running():
        carriage.inbound.take(arrived("1"))
        carriage.inbound.take(arrived("2"))
        await carriage.until_told(MessageHandedOver)
    assert texts(carriage) == ["2"]
    (trouble,) = carriage.all_told(Trouble)
    assert trouble.message == "a message was not handed over"
    assert not carriage.all_told(Abandoned)


async def test_a_bug_in_the_way_is_told_and_tried_again() -> None:
    carriage = Carriage()
    carriage.inbox.fail_next("hand_over", RuntimeError("a bug"), times=3)
    async with carriage.running():
        carriage.inbound.take(arrived("hello"))
        await carriage.until_told(MessageHandedOver)
    assert [str(trouble.error) for trouble in carriage.all_told(Trouble)] == ["a bug"]


async def test_what_finds_no_room_opens_the_gap_and_keeps_nobody_waiting() -> None:
    carriage = Carriage(Policies(inbound=InboundPolicy(queue_per_session=5)))
    async with carriage.running():
        carriage.inbox.hold("hand_over")
        for number in range(5):
            carriage.inbound.take(arrived(f"{number}"))
        assert not carriage.gap.is_open
        carriage.inbound.take(arrived("too many"))
        assert (carriage.gap.is_open, carriage.gap.cause) == (True, "overflow")
        assert [told.cause for told in carriage.all_told(FellBehind)] == ["overflow"]
        carriage.inbox.release("hand_over")
        await carriage.inbound.wait_empty()
    assert texts(carriage) == ["0", "1", "2", "3", "4"]
    # What came before the gap moves the mark, so that catching up begins after it.
    assert [handover.mark is not None for handover in carriage.inbox.handed_over] == [True] * 5


async def test_what_a_stop_leaves_behind_is_counted() -> None:
    carriage = Carriage(Policies(inbound=InboundPolicy(queue_per_session=3)))
    async with carriage.running():
        carriage.inbox.hold("hand_over")
        for number in range(3):
            carriage.inbound.take(arrived(f"{number}", chat=f"55119{number:08}@c.us"))
        await carriage.inbox.until(lambda: carriage.inbox.calls["hand_over"] == 3)
    carriage.inbound.take(arrived("too late"))
    assert sum(told.count for told in carriage.all_told(Abandoned)) == 4
    assert texts(carriage) == []
    assert carriage.backlog.count == 0


async def test_while_the_gap_is_open_live_messages_wait_and_move_no_mark() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.gap.open("reconnected")
        carriage.inbound.take(arrived("1", chat=ANNA))
        carriage.inbound.take(arrived("1", chat=BRUNO))
        await anyio.sleep(LONGEST_HOLD / 2)
        assert texts(carriage) == []
        carriage.gap.free(ChatId(BRUNO), carriage.gap.number)
        await carriage.until_told(MessageHandedOver)
        assert texts(carriage, BRUNO) == ["1"]
        assert texts(carriage, ANNA) == []
        assert carriage.gap.close(carriage.gap.number)
        await carriage.until_told(MessageHandedOver, 2)
        carriage.inbound.take(arrived("2", chat=ANNA))
        await carriage.until_told(MessageHandedOver, 3)
    assert texts(carriage, ANNA) == ["1", "2"]
    assert [handover.mark is not None for handover in carriage.inbox.handed_over] == [False, False, True]


async def test_nobody_waits_for_ever_for_what_may_be_missing() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.gap.open("reconnected")
        began = anyio.current_time()
        carriage.inbound.take(arrived("hello"))
        await carriage.until_told(MessageHandedOver)
        assert anyio.current_time() - began == pytest.approx(LONGEST_HOLD)


async def test_a_store_that_began_anew_has_nothing_waiting_move_a_mark() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.inbox.hold("hand_over")
        carriage.inbound.take(arrived("1"))
        carriage.inbound.take(arrived("2"))
        await carriage.inbox.until(lambda: carriage.inbox.calls["hand_over"] == 1)
        carriage.inbox.fail_next("hand_over")
        carriage.inbound.store_restarted()
        carriage.inbox.release("hand_over")
        await carriage.inbound.wait_empty()
    assert texts(carriage) == ["1", "2"]
    assert [handover.mark for handover in carriage.inbox.handed_over] == [None, None]


async def test_a_message_that_waits_to_be_decrypted_keeps_the_mark_before_it() -> None:
    carriage = Carriage(Policies(inbound=InboundPolicy(undecrypted=100)))
    hidden, later, readable = (arrived(text, stanza=stanza) for text, stanza in (("?", "S1"), ("2", "S2"), ("1", "S1")))
    async with carriage.running():
        carriage.inbound.pass_by(hidden.place, is_undecrypted=True)
        carriage.inbound.take(later)
        await carriage.until_told(MessageHandedOver)
        carriage.inbound.take(readable)
        await carriage.until_told(MessageHandedOver, 2)
        carriage.inbound.pass_by(arrived("?", stanza="S3").place, is_undecrypted=True)
        await anyio.sleep(101)
        carriage.inbound.take(arrived("4"))
        await carriage.until_told(MessageHandedOver, 3)
    assert [handover.mark is not None for handover in carriage.inbox.handed_over] == [False, True, True]


async def test_what_waited_in_memory_for_longer_than_is_remembered_is_left_out_and_counted() -> None:
    carriage = Carriage(Policies(inbound=InboundPolicy(horizon=50)))
    async with carriage.running():
        carriage.inbox.fail_next("hand_over", times=2)
        carriage.inbox.hold("hand_over")
        carriage.inbound.take(arrived("1"))
        carriage.inbound.take(arrived("2"))
        await anyio.sleep(51)
        carriage.inbox.release("hand_over")
        await carriage.inbound.wait_empty()
        assert [told.reason for told in carriage.all_told(MessageLeftOut)] == ["too_old"]
    assert texts(carriage) == ["1"]


@pytest.mark.parametrize("turns", range(30))
async def test_wherever_the_end_comes_every_message_is_handed_over_or_told(turns: int) -> None:
    carriage = Carriage()
    came = [arrived(f"{number}", chat=chat) for number in range(3) for chat in (ANNA, BRUNO)]

    async def live() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(carriage.run)
            for one in came:
                carriage.inbound.take(one)

    await cancel_after(turns, live)
    abandoned = sum(told.count for told in carriage.all_told(Abandoned))
    handed_over = len(carriage.inbox.handed_over)
    assert handed_over <= len(came) <= handed_over + abandoned
    # What was handed over at the very end may be told as abandoned; coming again does not double it.
    next_daemon = Carriage()
    next_daemon.inbox.seen, next_daemon.inbox.streams = carriage.inbox.seen, carriage.inbox.streams
    async with next_daemon.running():
        for one in came:
            next_daemon.inbound.take(one)
        await next_daemon.inbound.wait_empty()
    for chat in (ANNA, BRUNO):
        assert texts(next_daemon, chat) == ["0", "1", "2"]


async def test_a_record_without_typing_is_followed() -> None:
    carriage = Carriage()
    carriage.inbound.integration = replace(carriage.integration, typing=False)
    async with carriage.running():
        carriage.inbound.take(arrived("hello"))
        await carriage.until_told(MessageHandedOver)
        await anyio.sleep(10)
        assert carriage.gateway.calls["set_typing"] == 0
        assert not carriage.inbox.typing[IntegrationId("a")]


async def test_a_session_whose_queue_is_full_does_not_stop_the_others_of_its_gateway() -> None:
    policies = Policies(inbound=InboundPolicy(queue_per_session=2), supervisor=SupervisorPolicy(drain_timeout=5.0))
    async with running(records("a", "b"), policies=policies) as house:
        await house.until(lambda: set(house.states().values()) == {State.RUNNING})
        await house.until_told(CaughtUp, 2)
        house.inbox.hold("hand_over")
        for number in range(5):
            await house.events.emit("received-message", message("a-number", f"{number}"))
        await house.events.emit("received-message", message("b-number", "hello"))
        await house.inbox.until(lambda: house.inbox.calls["hand_over"] == 2)
        house.inbox.release("hand_over")
        await house.until(lambda: house.status("b").traffic.messages_in == 1)


async def test_what_is_not_for_the_agent_is_counted_and_proves_the_session_alive() -> None:
    def of_house(told: list[Observation]) -> list[str]:
        return [each.reason for each in told if isinstance(each, MessageLeftOut)]

    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        for text in ("", "hello"):
            payload = message("a-number", text)
            await house.events.emit("received-message", payload)
        await house.until(lambda: house.status("a").traffic.messages_in == 1)
        assert house.status("a").traffic.left_out == 1
        assert of_house(house.told) == ["no_text"]
