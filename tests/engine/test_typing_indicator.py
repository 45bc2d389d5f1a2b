""" "typing" is shown from the hand-over to the reply, and never left on."""

from __future__ import annotations

import anyio
import pytest

from tests.engine.harness import Carriage, House, Policies, arrived, cancel_after, records, running, said
from wa_supervisor.domain.errors import GatewayAnswerError, GatewayUnreachableError, StoreUnavailableError
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import ChatId, IntegrationId, SessionName
from wa_supervisor.domain.observations import MessageHandedOver, ReplyDead, ReplySent, Trouble
from wa_supervisor.domain.sending import NotSent, Repeat
from wa_supervisor.engine.policies import OutboundPolicy, TypingPolicy
from wa_supervisor.engine.typing_indicator import AT_ONCE

pytestmark = pytest.mark.anyio

A = IntegrationId("a")
CHAT = ChatId("5511900000077@c.us")
SHOWN = (SessionName("a-number"), CHAT)


async def until_gone(carriage: Carriage) -> None:
    """Wait until nothing is shown and nothing is remembered, sooner than it would end by itself."""
    with anyio.fail_after(10):
        await carriage.gateway.until(lambda: not carriage.gateway.typing)
        await carriage.inbox.until(lambda: not carriage.inbox.typing[A])


async def until_shown(carriage: Carriage) -> None:
    await carriage.gateway.until(lambda: SHOWN in carriage.gateway.typing)


async def test_it_is_shown_after_the_hand_over_and_not_before() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.inbox.hold("hand_over")
        carriage.inbound.take(arrived("hello"))
        await anyio.sleep(10)
        assert carriage.gateway.calls["set_typing"] == 0
        carriage.inbox.release("hand_over")
        await until_shown(carriage)
        assert carriage.inbox.typing[A] == {CHAT}
        assert repr(carriage.typing) == "<TypingIndicator a in 1 chats>"


async def test_it_is_refreshed_until_the_reply_hides_it() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.inbound.take(arrived("hello"))
        await until_shown(carriage)
        await anyio.sleep(35)
        assert carriage.gateway.calls["set_typing"] == 4
        await carriage.outbound.take(said())
        await carriage.until_told(ReplySent)
        await until_gone(carriage)
        calls = carriage.gateway.calls["set_typing"]
        await anyio.sleep(100)
        assert carriage.gateway.calls["set_typing"] == calls == 5


async def test_it_ends_at_the_longest_time_counted_from_the_last_message() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.inbound.take(arrived("hello"))
        await until_shown(carriage)
        await anyio.sleep(40)
        carriage.inbound.take(arrived("are you there?"))
        await anyio.sleep(55)
        assert carriage.gateway.typing == {SHOWN}
        await anyio.sleep(10)
        assert not carriage.gateway.typing
        assert not carriage.inbox.typing[A]


async def test_a_reply_that_dies_hides_it_too() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.inbound.take(arrived("hello"))
        await until_shown(carriage)
        carriage.gateway.answer_next(NotSent(reason="No", message="no", repeat=Repeat.NEVER), done=False)
        await carriage.outbound.take(said())
        await carriage.until_told(ReplyDead)
        await until_gone(carriage)


async def test_a_reply_that_dies_without_having_been_sent_hides_it_too() -> None:
    carriage = Carriage(Policies(outbound=OutboundPolicy(hold_longest=5.0)))
    async with carriage.running():
        carriage.inbound.take(arrived("hello"))
        await until_shown(carriage)
        carriage.disconnect()
        await carriage.outbound.take(said())
        await carriage.until_told(ReplyDead)
        await until_gone(carriage)
        assert not carriage.outbox.calls["begin"]


@pytest.mark.parametrize("turns", range(40))
async def test_it_is_hidden_wherever_the_session_stops(turns: int) -> None:
    carriage = Carriage()

    async def live() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(carriage.run)
            carriage.inbound.take(arrived("hello"))

    await cancel_after(turns, live)
    assert not carriage.gateway.typing
    if carriage.gateway.calls["set_typing"]:
        assert not carriage.inbox.typing[A]


async def test_a_stop_while_it_is_on_its_way_waits_for_it_and_then_hides_it() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.gateway.hold("set_typing")
        carriage.inbound.take(arrived("hello"))
        await carriage.gateway.until(lambda: carriage.gateway.calls["set_typing"] == 1)
        carriage.typing.stop(CHAT)
        await anyio.sleep(1)
        assert carriage.gateway.calls["set_typing"] == 1  # an "off" now might overtake the "on"
        carriage.gateway.release("set_typing")
        await until_gone(carriage)
        assert carriage.gateway.calls["set_typing"] == 2


async def test_a_gateway_that_hangs_on_it_costs_the_stop_no_more_than_the_limit_and_stays_remembered() -> None:
    carriage = Carriage(Policies(typing=TypingPolicy(off_timeout=5.0)))
    carriage.gateway.hold("set_typing")
    began = anyio.current_time()
    async with carriage.running():
        carriage.inbound.take(arrived("hello"))
        await carriage.gateway.until(lambda: carriage.gateway.calls["set_typing"] == 1)
    assert anyio.current_time() - began == pytest.approx(10)  # five for the "on" and five for the "off"
    assert carriage.inbox.typing[A] == {CHAT}


@pytest.mark.parametrize("error", [GatewayAnswerError("500"), GatewayUnreachableError("down")])
async def test_a_gateway_that_refuses_it_costs_the_indicator_and_not_the_message(error: Exception) -> None:
    carriage = Carriage()
    carriage.gateway.fail_next("set_typing", error, times=2)
    async with carriage.running():
        carriage.inbound.take(arrived("hello"))
        await carriage.until_told(MessageHandedOver)
        await carriage.gateway.until(lambda: carriage.gateway.calls["set_typing"] == 2)
        await anyio.sleep(100)
        assert carriage.gateway.calls["set_typing"] == 2  # no refresh of what was refused
        assert carriage.inbox.typing[A] == {CHAT}  # it may have had its effect, so it is switched off some time
        await carriage.typing.switch_off_leftovers()
        assert not carriage.inbox.typing[A]
        assert not carriage.all_told(Trouble)


async def test_a_refresh_that_is_refused_hides_it() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.inbound.take(arrived("hello"))
        await until_shown(carriage)
        carriage.gateway.fail_next("set_typing", GatewayAnswerError("500"))
        await anyio.sleep(carriage.policies.typing.refresh - 1)
        await until_gone(carriage)


async def test_a_message_that_comes_while_it_is_being_hidden_shows_it_again_and_keeps_it_remembered() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.inbound.take(arrived("hello"))
        await until_shown(carriage)
        carriage.gateway.hold("set_typing")
        carriage.typing.stop(CHAT)
        await carriage.gateway.until(lambda: carriage.gateway.calls["set_typing"] == 2)
        carriage.inbound.take(arrived("and another thing"))
        await carriage.until_told(MessageHandedOver, 2)
        carriage.gateway.release("set_typing")
        await carriage.gateway.until(lambda: carriage.gateway.calls["set_typing"] == 3)
        await until_shown(carriage)
        assert carriage.inbox.typing[A] == {CHAT}
        assert carriage.inbox.calls["typing_ended"] == 0
        carriage.typing.stop(CHAT)
        await until_gone(carriage)


async def test_a_reply_to_the_message_that_came_while_it_was_being_hidden_leaves_it_hidden() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.inbound.take(arrived("hello"))
        await until_shown(carriage)
        carriage.gateway.hold("set_typing")
        carriage.typing.stop(CHAT)
        await carriage.gateway.until(lambda: carriage.gateway.calls["set_typing"] == 2)
        carriage.typing.start(CHAT)
        carriage.typing.stop(CHAT)
        carriage.gateway.release("set_typing")
        await until_gone(carriage)
        await anyio.sleep(100)
        assert carriage.gateway.calls["set_typing"] == 2


async def test_a_reply_that_is_quicker_than_the_indicator_is_never_followed_by_it() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.typing.start(CHAT)
        carriage.typing.stop(CHAT)
        await carriage.gateway.until(lambda: carriage.gateway.calls["set_typing"] == 1)
        await anyio.sleep(100)
        assert carriage.gateway.calls["set_typing"] == 1  # the "off"
        assert not carriage.gateway.typing


async def test_stopping_what_is_not_shown_does_nothing() -> None:
    carriage = Carriage()
    async with carriage.running():
        carriage.typing.stop(CHAT)
        await anyio.sleep(10)
        assert carriage.gateway.calls["set_typing"] == 0


async def test_it_is_not_shown_where_it_is_switched_off_or_the_session_is_not_connected_or_not_running() -> None:
    switched_off = Carriage(Policies(typing=TypingPolicy(enabled=False)))
    disconnected = Carriage()
    disconnected.disconnect()
    assert not Carriage().typing.can_start(CHAT)
    for carriage in (switched_off, disconnected):
        async with carriage.running():
            carriage.inbound.take(arrived("hello"))
            await carriage.until_told(MessageHandedOver)
            carriage.typing.start(CHAT)
            await anyio.sleep(100)
            assert carriage.gateway.calls["set_typing"] == 0
            assert not carriage.inbox.typing[A]


async def test_a_crowd_of_chats_goes_without_and_is_not_remembered_either() -> None:
    carriage = Carriage()
    async with carriage.running():
        for number in range(AT_ONCE + 10):
            carriage.inbound.take(arrived("hello", chat=f"55119{number:08}@c.us"))
        await carriage.until_told(MessageHandedOver, AT_ONCE + 10)
        await carriage.gateway.until(lambda: len(carriage.gateway.typing) == AT_ONCE)
        await anyio.sleep(30)
        assert len(carriage.gateway.typing) == AT_ONCE
        assert {chat for _, chat in carriage.gateway.typing} <= carriage.inbox.typing[A]
        await anyio.sleep(60)
        assert not carriage.gateway.typing


async def test_leftovers_of_a_dead_daemon_are_switched_off_and_what_is_shown_now_stays() -> None:
    carriage = Carriage()
    others = {ChatId(f"55119{number:08}@c.us") for number in range(3)}
    async with carriage.running():
        carriage.inbound.take(arrived("hello"))
        await until_shown(carriage)
        carriage.inbox.typing[A] |= others
        carriage.gateway.typing |= {(SessionName("a-number"), chat) for chat in others}
        await carriage.typing.switch_off_leftovers()
        assert carriage.gateway.typing == {SHOWN}
        assert carriage.inbox.typing[A] == {CHAT}


async def test_a_leftover_that_is_shown_anew_while_it_is_switched_off_stays_remembered() -> None:
    carriage = Carriage()
    carriage.inbox.typing[A].add(CHAT)
    async with carriage.running():
        carriage.gateway.hold("set_typing")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(carriage.typing.switch_off_leftovers)
            await carriage.gateway.until(lambda: carriage.gateway.calls["set_typing"] == 1)
            carriage.typing.start(CHAT)
            carriage.gateway.release("set_typing")
        await until_shown(carriage)
        assert carriage.inbox.typing[A] == {CHAT}


@pytest.mark.parametrize("method", ["typing_left_on", "typing_ended"])
async def test_leftovers_wait_for_the_next_connection_when_redis_is_away(method: str) -> None:
    carriage = Carriage()
    carriage.inbox.typing[A] = {CHAT}
    carriage.inbox.fail_next(method, StoreUnavailableError("away"))
    await carriage.typing.switch_off_leftovers()
    assert carriage.inbox.typing[A] == {CHAT}
    await carriage.typing.switch_off_leftovers()
    assert not carriage.inbox.typing[A]


async def test_leftovers_at_a_gateway_that_hangs_hold_nothing_up() -> None:
    carriage = Carriage(Policies(typing=TypingPolicy(off_timeout=5.0)))
    carriage.inbox.typing[A] = {ChatId(f"55119{number:08}@c.us") for number in range(50)}
    carriage.gateway.hold("set_typing")
    with anyio.fail_after(6):
        await carriage.typing.switch_off_leftovers()
    assert carriage.gateway.calls["set_typing"] == 1


async def test_an_exception_that_nobody_foresaw_is_told_and_costs_no_more_than_the_indicator() -> None:
    carriage = Carriage()
    carriage.gateway.fail_next("set_typing", RuntimeError("a bug"), times=2)
    async with carriage.running():
        carriage.inbound.take(arrived("hello"))
        troubles = await carriage.until_told(Trouble, 2)
        assert {(trouble.where, str(trouble.error)) for trouble in troubles} == {("typing", "a bug")}
        carriage.inbox.fail_next("typing_left_on", RuntimeError("another"))
        await carriage.typing.switch_off_leftovers()
        assert str(carriage.all_told(Trouble)[-1].error) == "another"
        await carriage.outbound.take(said())
        await carriage.until_told(ReplySent)


async def test_what_a_dead_daemon_left_on_is_switched_off_when_the_session_connects() -> None:
    def left_on(house: House) -> None:
        house.gateway.session("a-number").has_login = False
        house.inbox.typing[A].add(CHAT)
        house.gateway.typing.add(SHOWN)

    async with running(records("a"), prepare=left_on) as house:
        await house.until_state("a", State.AWAITING_LOGIN)
        assert house.gateway.typing == {SHOWN}
        house.gateway.session("a-number").connect()
        await house.until_state("a", State.RUNNING)
        with anyio.fail_after(10):
            await house.inbox.until(lambda: not house.inbox.typing[A])
        assert not house.gateway.typing
