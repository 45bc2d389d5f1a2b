"""The history is written in order and once, goes on through Redis' absence, and says where something is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.engine.harness import MAIN, Witness, cancel_after, wall
from tests.fakes.event_log import FakeEventLog
from wa_supervisor.domain.gathering import QUIET
from wa_supervisor.domain.names import AgentId, IntegrationId
from wa_supervisor.domain.observations import (
    Abandoned,
    AgentWaiting,
    DuplicateDropped,
    EventsDropped,
    GatewayChanged,
    MessagesDropped,
    Observation,
    ReplyDead,
    Trouble,
)
from wa_supervisor.engine.chronicle import BATCH, GATHER, Chronicle

pytestmark = pytest.mark.anyio

FOR_EVER = 1_000_000


class Desk(Witness):
    """A chronicle on a fake stream."""

    def __init__(self, kept: int = 1000) -> None:
        super().__init__()
        self.log = FakeEventLog()
        self.chronicle = Chronicle(
            self.log, daemon="d1", wall=wall, kept=kept, retry_initial=0.5, retry_max=5.0, observe=self.observe
        )

    def happen(self, *numbers: int) -> None:
        """Have something happen, once for each number."""
        for number in numbers:
            self.chronicle.note(GatewayChanged(gateway=MAIN, what="gate_closed", message=str(number)))

    @property
    def written(self) -> list[str]:
        """The messages in the stream."""
        return [event.message for event in self.log.events]

    async def until_written(self, count: int) -> None:
        """Wait until so many events are in the stream."""
        await self.log.until(lambda: len(self.log.events) >= count)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write for the length of the block."""
        with anyio.fail_after(100_000):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.chronicle.run)
                yield
                tasks.cancel_scope.cancel()


def texts(numbers: Sequence[int]) -> list[str]:
    return [str(number) for number in numbers]


async def test_events_are_written_in_order_with_the_daemon_that_saw_them() -> None:
    desk = Desk()
    async with desk.running():
        desk.happen(1, 2)
        await desk.until_written(2)
        desk.happen(3)
        await desk.until_written(3)
    assert desk.written == texts([1, 2, 3])
    assert {event.daemon for event in desk.log.events} == {"d1"}


async def test_what_happens_in_the_same_moment_is_one_batch() -> None:
    desk = Desk()
    async with desk.running():
        desk.happen(1)
        await anyio.sleep(GATHER / 2)
        desk.happen(2, 3)
        await desk.until_written(3)
    assert desk.log.batches == [1]


async def test_what_is_no_event_writes_nothing() -> None:
    desk = Desk()
    async with desk.running():
        desk.chronicle.note(DuplicateDropped(integration=IntegrationId("a"), gateway=MAIN))
        await anyio.sleep(100)
    assert desk.log.calls["append"] == 0


async def test_a_batch_has_a_bound_and_the_rest_follows() -> None:
    desk = Desk()
    desk.happen(*range(2 * BATCH + 1))
    async with desk.running():
        await desk.until_written(2 * BATCH + 1)
    assert desk.written == texts(range(2 * BATCH + 1))
    assert desk.log.batches == [1, 2, 3]


async def test_redis_away_delays_the_history_and_changes_nothing_in_it() -> None:
    desk = Desk()
    desk.log.fail_next("append", times=50)
    async with desk.running():
        for number in range(10):
            desk.happen(number)
            await anyio.sleep(5)
        await desk.until_written(10)
    assert desk.written == texts(range(10))
    assert desk.all_told(EventsDropped) == []
    assert all(trouble.where == "events" for trouble in desk.all_told(Trouble))


async def test_a_batch_whose_answer_was_lost_is_not_written_twice() -> None:
    desk = Desk()
    desk.log.fail_next("append", after_effect=True, times=3)
    async with desk.running():
        desk.happen(1, 2)
        await desk.until(lambda: len(desk.all_told(Trouble)) == 3)
        desk.happen(3)
        await desk.until_written(3)
    assert desk.written == texts([1, 2, 3])
    assert desk.log.batches == [1, 1, 1, 1, 2]


async def test_the_oldest_go_and_the_stream_says_where_and_how_many() -> None:
    desk = Desk(kept=5)
    desk.log.fail_next("append", times=3)
    async with desk.running():
        desk.happen(0)
        await desk.until(lambda: len(desk.all_told(Trouble)) == 1)
        desk.happen(*range(1, 21))
        await desk.until_written(7)
    gap = desk.log.events[1]
    assert desk.written == ["0", gap.message, *texts(range(16, 21))]
    assert (gap.kind, gap.message.split()[0]) == ("events_dropped", "15")
    assert desk.all_told(EventsDropped) == [EventsDropped(count=15)]


async def test_each_return_of_redis_tells_what_is_missing_once() -> None:
    desk = Desk(kept=2)
    async with desk.running():
        for absence in (1, 2):
            desk.log.fail_next("append")
            desk.happen(0)
            await desk.until(lambda count=absence: len(desk.all_told(Trouble)) == count)  # type: ignore[misc]  # a default binds the loop's value
            desk.happen(1, 2, 3, 4)
            await desk.until_written(absence * 4)
    assert desk.all_told(EventsDropped) == [EventsDropped(count=2)] * 2
    assert [event.kind for event in desk.log.events] == ["gate", "events_dropped", "gate", "gate"] * 2


async def test_an_unknown_failure_is_tried_again_too() -> None:
    desk = Desk()
    desk.log.fail_next("append", RuntimeError("a surprise"))
    async with desk.running():
        desk.happen(1)
        await desk.until_written(1)
    assert desk.written == ["1"]


@pytest.mark.parametrize("turns", range(12))
async def test_cancelled_at_any_step_it_loses_and_doubles_nothing(turns: int) -> None:
    desk = Desk()
    desk.happen(1, 2)
    await cancel_after(turns, desk.chronicle.run)
    desk.happen(3)
    await desk.chronicle.flush(10)
    assert desk.written == texts([1, 2, 3])


# What happens for each message

AGENT = AgentId("a")
DROPPED = MessagesDropped(agent=AGENT, count=2, reason="length")
DEAD = ReplyDead(agent=AGENT, integration=None, gateway=MAIN, reason="NotConnected", is_unknown=False)


def how_many(desk: Desk) -> list[int]:
    """Give the number with which each message in the stream begins."""
    return [int(text.split()[0]) for text in desk.written]


async def test_the_first_of_its_kind_is_told_at_once_and_the_rest_together_after_a_while() -> None:
    desk = Desk()
    async with desk.running():
        for _ in range(500):
            desk.chronicle.note(DROPPED)
        desk.chronicle.note(DEAD)
        await desk.until_written(2)
        assert how_many(desk) == [2, 1]
        await desk.until_written(3)
    assert how_many(desk) == [2, 1, 998]


async def test_what_has_been_quiet_for_a_while_is_told_at_once_again() -> None:
    desk = Desk()
    async with desk.running():
        desk.chronicle.note(DEAD)
        await anyio.sleep(2 * QUIET)
        desk.chronicle.note(DEAD)
        await desk.until_written(2)
        began = anyio.current_time()
        desk.happen(7)
        await desk.until_written(3)
        assert anyio.current_time() - began < QUIET / 2
    assert how_many(desk) == [1, 1, 7]


async def test_what_was_gathered_is_written_before_the_end() -> None:
    desk = Desk()
    for _ in range(3):
        desk.chronicle.note(DEAD)
    await desk.chronicle.flush(5)
    assert how_many(desk) == [1, 2]


async def test_an_agent_that_stays_away_is_told_once() -> None:
    desk = Desk()
    async with desk.running():
        for waiting in (0, 1, 2, 3, 0, 0, 5):
            desk.chronicle.note(AgentWaiting(agent=AGENT, waiting=waiting, published=0))
        await desk.until_written(3)
    assert [event.reason for event in desk.log.events] == ["AgentAway", "AgentBack", "AgentAway"]


# The end


async def test_flush_writes_what_is_left_although_everything_is_cancelled() -> None:
    desk = Desk()
    desk.happen(1)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await desk.chronicle.flush(5)
    assert desk.written == ["1"]
    assert desk.all_told(EventsDropped) == []


async def test_flush_tries_again_within_its_time() -> None:
    desk = Desk()
    desk.happen(1)
    desk.log.fail_next("append", times=2)
    await desk.chronicle.flush(60)
    assert desk.written == ["1"]


async def test_flush_ends_in_time_and_tells_what_was_not_written() -> None:
    desk = Desk(kept=3)
    desk.happen(*range(4))
    desk.log.fail_next("append", times=FOR_EVER)
    began = anyio.current_time()
    await desk.chronicle.flush(3)
    assert anyio.current_time() - began <= 3
    assert desk.all_told(EventsDropped) == [EventsDropped(count=4)]
    await desk.chronicle.flush(0)
    assert len(desk.all_told(EventsDropped)) == 1


async def test_flush_beside_a_running_chronicle_writes_nothing_twice() -> None:
    desk = Desk()
    async with desk.running():
        desk.log.hold("append")
        desk.happen(1)
        await desk.log.until(lambda: desk.log.calls["append"] == 1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.chronicle.flush, 30)
            await anyio.sleep(1)
            desk.log.release("append")
    assert desk.written == ["1"]
    assert desk.log.batches == [1]


# An observer never raises


async def test_what_cannot_be_put_into_words_is_told_and_raises_nothing() -> None:
    class Nonsense:
        """A name that is none."""

        def split(self, _: str) -> list[str]:
            raise ValueError("no words")

    desk = Desk()
    observation: Observation = GatewayChanged(gateway=MAIN, what=Nonsense(), message="m")  # type: ignore[arg-type]  # what no type checker allows
    desk.chronicle.note(observation)
    (trouble,) = desk.all_told(Trouble)
    assert trouble.where == "events"
    desk.chronicle.note(Abandoned(integration=IntegrationId("a"), what="session", count=1))
    await desk.chronicle.flush(1)
    assert len(desk.written) == 1


async def test_it_says_how_much_is_to_be_written() -> None:
    desk = Desk()
    desk.happen(1, 2)
    assert repr(desk.chronicle) == "<Chronicle 0 batches, 2 events to write>"
