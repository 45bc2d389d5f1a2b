"""WhatsApp's word on a message: before the gateway's answer, after it, never, or an error."""

from __future__ import annotations

import functools

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_supervisor.domain.names import StanzaId
from wa_supervisor.engine.acks import REMEMBERED, Acks

pytestmark = pytest.mark.anyio

ONE, OTHER = StanzaId("3EB01"), StanzaId("3EB02")


def nothing() -> None:
    pytest.fail("no session was proved alive")


async def test_an_ack_that_comes_before_anybody_waits_is_remembered() -> None:
    acks = Acks()
    acks.take(ONE, 1)
    with anyio.fail_after(0.001):
        assert await acks.wait(ONE, 30) == 1


async def test_an_ack_that_comes_while_somebody_waits_ends_the_wait() -> None:
    acks, began = Acks(), anyio.current_time()

    async def acknowledge() -> None:
        await anyio.sleep(2)
        acks.take(ONE, 0)  # still pending: no news
        acks.take(OTHER, 3)
        await anyio.sleep(3)
        acks.take(ONE, 2)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(acknowledge)
        assert await acks.wait(ONE, 30) == 2
    assert anyio.current_time() - began == pytest.approx(5)


async def test_an_ack_that_does_not_come_in_time_is_none_and_one_that_stays_pending_too() -> None:
    acks, began = Acks(), anyio.current_time()
    acks.take(ONE, 0)
    assert await acks.wait(ONE, 30) is None
    assert await acks.wait(OTHER, 0) is None
    assert anyio.current_time() - began == pytest.approx(30)


async def test_an_error_is_news_after_pending() -> None:
    acks = Acks()
    acks.take(ONE, 0)
    acks.take(ONE, -1)
    assert await acks.wait(ONE, 30) == -1

    async def refuse() -> None:
        await anyio.sleep(1)
        acks.take(OTHER, 0)
        acks.take(OTHER, -1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refuse)
        assert await acks.wait(OTHER, 30) == -1


@given(st.lists(st.integers(-1, 4), min_size=1))
def test_the_best_ack_counts_in_whatever_order_they_come(came: list[int]) -> None:
    acks = Acks()
    for ack in came:
        acks.take(ONE, ack)
    news = [ack for ack in came if ack != 0]
    assert acks._seen[ONE] == (max(news) if news else 0)


async def test_an_ack_for_a_message_of_ours_proves_its_session_alive_and_one_for_another_is_nobodys() -> None:
    acks, proofs = Acks(), []
    acks.sent_by(ONE, lambda: proofs.append(1))
    assert acks.take(ONE, 1)
    assert proofs == [1]
    assert not acks.take(OTHER, 1)
    assert proofs == [1]


async def test_a_pending_ack_or_an_error_proves_nothing_alive() -> None:
    acks = Acks()
    acks.sent_by(ONE, nothing)
    assert acks.take(ONE, 0)
    assert acks.take(ONE, -1)


async def test_a_wait_that_is_cancelled_leaves_nothing_behind_and_the_next_works() -> None:
    acks = Acks()
    with anyio.move_on_after(1):
        await acks.wait(ONE, 30)
    assert not acks._waiting
    acks.take(ONE, 1)
    assert await acks.wait(ONE, 30) == 1


async def test_what_is_remembered_is_bounded_and_the_oldest_is_forgotten_first() -> None:
    acks, proofs = Acks(), list[int]()
    for number in range(REMEMBERED + 10):
        stanza = StanzaId(f"S{number}")
        acks.sent_by(stanza, functools.partial(proofs.append, number))
        acks.take(stanza, 1)
    assert len(acks._seen) == len(acks._senders) == REMEMBERED
    proofs.clear()
    assert not acks.take(StanzaId("S9"), 2)
    assert acks.take(StanzaId("S10"), 2)
    assert proofs == [10]
