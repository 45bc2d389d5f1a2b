"""What nobody heard on an agent's channel is published when somebody listens, and told while it waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.engine.harness import House, Witness, agent, message, records, running
from tests.fakes.inbox import FakeAgentInbox
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.observations import AgentWaiting, CaughtUp, MessagesDropped, Trouble
from wa_supervisor.engine.policies import InboundPolicy
from wa_supervisor.engine.publishing import Publishing

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def publishing(inbox: FakeAgentInbox, witness: Witness) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Publishing(inbox, InboundPolicy(), witness.observe).run)
        yield
        tasks.cancel_scope.cancel()


async def write(house: House, text: str) -> None:
    await house.events.emit("received-message", message("a-number", text))


async def test_messages_wait_for_an_agent_that_is_away_and_reach_it_in_order_without_a_restart() -> None:
    async with running(records("a")) as house:
        await house.until_state("a", State.RUNNING)
        await house.until_told(CaughtUp)
        for text in ("1", "2", "3"):
            await write(house, text)
        await house.until(lambda: house.inbox.waiting(agent("a")) == 3)
        await house.until_told(AgentWaiting)
        house.inbox.listeners[agent("a")] = 1
        await house.until(lambda: house.inbox.waiting(agent("a")) == 0)
        await write(house, "4")
        await house.until(lambda: len(house.inbox.published[agent("a")]) == 4)
        assert house.inbox.published[agent("a")] == house.inbox.streams[agent("a")]
        told = house.all_told(AgentWaiting)
        assert (told[-1].waiting, told[-1].published) == (0, 3)
        assert told[0].waiting >= 1


async def test_what_waited_too_long_or_went_from_the_stream_is_told() -> None:
    async with running(records("a")) as house:
        await house.until_told(CaughtUp)
        for text in ("1", "2", "3", "4", "5"):
            await write(house, text)
        await house.until(lambda: house.inbox.waiting(agent("a")) == 5)
        house.inbox.grow_old(agent("a"), 2)
        house.inbox.lose(agent("a"), 1)
        await house.until_told(MessagesDropped, 2)
        assert {(told.reason, told.count) for told in house.all_told(MessagesDropped)} == {("age", 2), ("length", 1)}


async def test_a_store_that_is_away_is_waited_for_and_a_surprise_is_told_once() -> None:
    witness, inbox = Witness(), FakeAgentInbox()
    inbox.fail_next("publish_waiting", times=5)
    inbox.fail_next("publish_waiting", RuntimeError("a bug"), times=5)
    async with publishing(inbox, witness):
        await inbox.until(lambda: inbox.calls["publish_waiting"] > 12)
    assert [str(told.error) for told in witness.all_told(Trouble)] in ([], ["a bug"])


async def test_an_agent_that_another_daemon_published_to_waits_no_longer() -> None:
    async with running(records("a")) as house:
        await house.until_told(CaughtUp)
        await write(house, "1")
        await house.until(lambda: [told.waiting for told in house.all_told(AgentWaiting)] == [1])
        house.inbox.groups.add(agent("a"))  # or reads the stream now
        await house.until(lambda: house.all_told(AgentWaiting)[-1].waiting == 0)
