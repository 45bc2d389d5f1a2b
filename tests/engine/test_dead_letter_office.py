"""A reply that cannot be delivered is told, kept with its reason, and only then settled."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from tests.engine.harness import Carriage, agent, cancel_after, reply, said, wall
from wa_supervisor.domain.dead_letters import LONGEST_PAYLOAD
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.names import ChatId
from wa_supervisor.domain.observations import ReplyDead, Trouble
from wa_supervisor.domain.replies import IncomingReply
from wa_supervisor.engine.dead_letter_office import RECORD_TIMEOUT, Death

pytestmark = pytest.mark.anyio

DEATH = Death(reason="Http413", message="too long", is_unknown=True, attempts=3)
CHAT = ChatId("5511900000077@c.us")


async def on_stream(carriage: Carriage, payload: bytes | None = None) -> IncomingReply:
    """Put a reply onto the stream, taken up by this daemon."""
    payload = payload or reply()
    entry = await carriage.outbox.say(agent("a"), payload, on="stream")
    return IncomingReply(agent_id=agent("a"), payload=payload, entry=entry)


async def test_a_letter_says_everything_that_is_known() -> None:
    carriage = Carriage()
    source = await on_stream(carriage)
    await carriage.office.bury(
        source, DEATH, carriage.integration, replace(said(chat=CHAT, entry=source.entry), reply_id="mine")
    )
    (letter,) = carriage.letters.letters
    assert (letter.direction, letter.reason, letter.message) == ("out", "Http413", "too long")
    assert (letter.is_unknown, letter.attempts, letter.at) == (True, 3, wall())
    assert (letter.agent_id, letter.integration_id, letter.session) == ("agent-a", "a", "a-number")
    assert (letter.gateway, letter.chat_id, letter.payload) == ("main", CHAT, reply().decode())
    (told,) = carriage.all_told(ReplyDead)
    assert (told.agent, told.integration, told.gateway) == ("agent-a", "a", "main")
    assert (told.reason, told.is_unknown) == ("Http413", True)
    assert not carriage.outbox.unsettled
    (receipt,) = carriage.receipts.told[agent("a")]
    assert (receipt.status, receipt.reason, receipt.reply_id) == ("unknown", "Http413", "mine")
    assert (receipt.entry, receipt.chat_id, receipt.integration_id) == (source.entry, CHAT, "a")


async def test_a_reply_that_no_session_could_take_is_kept_without_one() -> None:
    carriage = Carriage()
    await carriage.office.bury(said().source, Death(reason="NoSession", message="none"))
    (letter,) = carriage.letters.letters
    assert (letter.integration_id, letter.session, letter.gateway, letter.chat_id) == (None, None, None, None)
    (told,) = carriage.all_told(ReplyDead)
    assert (told.integration, told.gateway) == (None, None)


async def test_a_letter_is_kept_before_its_entry_is_settled() -> None:
    carriage = Carriage()
    source = await on_stream(carriage)
    carriage.letters.hold("bury")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(carriage.office.bury, source, DEATH)
        await anyio.sleep(100)
        assert carriage.outbox.calls["settle"] == 0
        assert carriage.outbox.unsettled
        carriage.letters.release("bury")
    assert not carriage.outbox.unsettled


@pytest.mark.parametrize(
    "payload",
    [
        b"x" * (10 * LONGEST_PAYLOAD),
        "é".encode() * LONGEST_PAYLOAD,
        "\N{GRINNING FACE}".encode() * (LONGEST_PAYLOAD + 1),
        b"\xff\xfe not UTF-8",
    ],
)
async def test_a_payload_is_kept_as_it_came_up_to_a_number_of_characters(payload: bytes) -> None:
    carriage = Carriage()
    await carriage.office.bury(IncomingReply(agent_id=agent("a"), payload=payload, entry=None), DEATH)
    (letter,) = carriage.letters.letters
    assert letter.payload == payload.decode("utf-8", "replace")[:LONGEST_PAYLOAD]


async def test_a_letter_waits_for_redis_and_that_is_told_once() -> None:
    carriage = Carriage()
    source = await on_stream(carriage)
    carriage.letters.fail_next("bury", times=50)
    carriage.outbox.fail_next("settle", times=50)
    await carriage.office.bury(source, DEATH, carriage.integration)
    assert len(carriage.letters.letters) == 1
    assert not carriage.outbox.unsettled
    waits = [trouble.message for trouble in carriage.all_told(Trouble)]
    assert [message.partition(", next")[0] for message in waits] == [
        "a dead letter (Http413) waits to be kept",
        "a dead letter (Http413) waits to be settled",
    ]
    assert {trouble.where for trouble in carriage.all_told(Trouble)} == {"dead_letters"}


async def test_what_cannot_be_kept_before_the_stop_is_told_and_not_settled() -> None:
    carriage = Carriage()
    source = await on_stream(carriage)
    carriage.letters.fail_next("bury", times=10**6)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(carriage.office.bury, source, DEATH)
        tasks.start_soon(carriage.office.bury, said().source, DEATH)
        await anyio.sleep(50)
        began = anyio.current_time()
        tasks.cancel_scope.cancel()
    assert anyio.current_time() - began <= RECORD_TIMEOUT
    assert carriage.outbox.calls["settle"] == 0
    assert carriage.outbox.given_back == [source]
    ends = sorted(trouble.message.partition("the reply ")[2] for trouble in carriage.all_told(Trouble))
    assert [end for end in ends if end] == ["is lost", "stays in its stream and comes again"]


async def test_what_is_kept_and_cannot_be_settled_before_the_stop_is_told_and_not_given_back() -> None:
    carriage = Carriage()
    source = await on_stream(carriage)
    carriage.outbox.fail_next("settle", times=10**6)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(carriage.office.bury, source, DEATH)
        await anyio.sleep(50)
        tasks.cancel_scope.cancel()
    assert len(carriage.letters.letters) == 1
    assert not carriage.outbox.given_back
    assert "may come a second time" in carriage.all_told(Trouble)[-1].message


async def test_a_letter_that_can_never_be_kept_is_told_with_its_error() -> None:
    carriage = Carriage()
    carriage.letters.fail_next("bury", RuntimeError("a bug"))
    await carriage.office.bury(said().source, DEATH)
    assert [str(trouble.error) for trouble in carriage.all_told(Trouble)] == ["a bug", "None"]
    assert "is lost" in carriage.all_told(Trouble)[-1].message


@pytest.mark.parametrize("turns", range(30))
async def test_wherever_it_is_cancelled_the_letter_is_kept_once_and_the_entry_settled(turns: int) -> None:
    carriage = Carriage()
    source = await on_stream(carriage)
    carriage.letters.fail_next("bury", StoreUnavailableError("away"))
    carriage.outbox.fail_next("settle", StoreUnavailableError("away"))
    await cancel_after(turns, lambda: carriage.office.bury(source, DEATH))
    assert len(carriage.letters.letters) == 1
    assert not carriage.outbox.unsettled
