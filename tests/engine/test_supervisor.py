"""The whole wish, kept: what is declared comes up, what is removed goes, and nobody pays for another's trouble."""

from __future__ import annotations

import anyio
import pytest

from tests.engine.harness import agent, message, record, records, reply, running
from wa_supervisor.domain.lifecycle import State

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
            while house.gateway.typing:
                await anyio.lowlevel.checkpoint()
