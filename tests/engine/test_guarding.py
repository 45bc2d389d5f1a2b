"""The empty hash: a wish that loses much at once is read again, and not followed without the operator's word."""

from __future__ import annotations

import anyio
import pytest

from tests.engine.harness import House, Policies, record, records, running
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.integration import Defaults
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import CommandAnswered, Reconciled, WishGuarded
from wa_supervisor.engine.policies import GatePolicy

pytestmark = pytest.mark.anyio

NAMES = [f"s{number:02}" for number in range(20)]
QUICK = Policies(gate=GatePolicy(starts_at_once=20, start_interval=0.0))


def served(house: House) -> int:
    """Count the sessions that run."""
    return sum(state is State.RUNNING for state in house.states().values())


async def all_run(house: House, count: int = 20) -> None:
    """Wait until so many sessions run and nothing else is there."""
    await house.until(lambda: served(house) == count == len(house.states()))


async def confirmed(house: House) -> CommandAnswered:
    """Confirm as the operator does; give the answer."""
    count = len(house.all_told(CommandAnswered))
    await house.commands.until(lambda: house.commands.listening("listen") == 1)
    house.commands.issue("confirm", None)
    return (await house.until_told(CommandAnswered, count + 1))[-1]


async def test_an_emptied_hash_stops_a_quarter_and_the_rest_goes_on() -> None:
    async with running(records(*NAMES), policies=QUICK) as house:
        await all_run(house)
        house.wish.records = {}
        house.wish.ring()
        await all_run(house, 15)
        await anyio.sleep(3600)
        assert served(house) == 15
        (told,) = house.all_told(WishGuarded)
        assert (told.stops_wanted, told.held_back) == (20, 15)
        assert house.status("s19").message == (
            "connected; removed from the wish together with 19 others; goes on until: wa-supervisor apply --confirm"
        )


async def test_nothing_is_stopped_before_the_hash_was_read_again() -> None:
    async with running(records(*NAMES), policies=QUICK) as house:
        await all_run(house)
        house.wish.records = {}
        house.wish.ring()
        await anyio.sleep(1.5)
        house.wish.records = records(*NAMES)
        await anyio.sleep(100)
        assert served(house) == 20
        assert not any(session.closes for session in house.gateway.sessions.values())
        assert not house.all_told(WishGuarded)


async def test_a_second_look_that_fails_stops_nothing() -> None:
    async with running(records(*NAMES), policies=QUICK) as house:
        await all_run(house)
        house.wish.records = {}
        house.wish.ring()
        await anyio.sleep(1)
        house.wish.records = records(*NAMES)
        house.wish.fail_next("read", StoreUnavailableError("Redis is away"), times=3)
        await house.until(lambda: sum(1 for each in house.all_told(Reconciled) if each.error) == 3)
        await anyio.sleep(100)
        assert served(house) == 20


async def test_what_became_unreadable_all_at_once_goes_on_as_it_was() -> None:
    async with running(records(*NAMES), policies=QUICK) as house:
        await all_run(house)
        house.wish.records = dict.fromkeys(NAMES, b"{")
        house.wish.ring()
        await house.until(lambda: sum(state is State.INVALID for state in house.states().values()) == 5)
        await anyio.sleep(100)
        assert served(house) == 15
        assert "can no longer be read (the record is not JSON" in house.status("s19").message


async def test_the_operator_confirms_what_is_held_back_and_nothing_that_is_lost_later() -> None:
    async with running(records(*NAMES), policies=QUICK) as house:
        await all_run(house)
        house.wish.records = records(*NAMES[12:])
        house.wish.ring()
        await all_run(house, 15)
        answer = await confirmed(house)
        assert answer.is_accepted
        assert "7 sessions" in answer.message
        await all_run(house, 8)
        assert [each.held_back for each in house.all_told(WishGuarded)] == [7, 0]
        house.wish.records = {}
        house.wish.ring()
        await all_run(house, 5)
        await anyio.sleep(100)
        assert served(house) == 5


async def test_there_is_nothing_to_confirm_while_nothing_is_held_back() -> None:
    async with running(records("a")) as house:
        await all_run(house, 1)
        answer = await confirmed(house)
        assert not answer.is_accepted
        assert "nothing is held back" in answer.message


async def test_what_is_declared_again_is_no_longer_held_back() -> None:
    async with running(records(*NAMES), policies=QUICK) as house:
        await all_run(house)
        house.wish.records = {}
        house.wish.ring()
        await all_run(house, 15)
        house.wish.records = records(*NAMES)
        house.wish.ring()
        await all_run(house)
        assert house.status("s19").message == "connected"
        assert house.gateway.session("s19-number").starts == 1
        assert house.all_told(WishGuarded)[-1].held_back == 0


async def test_an_operator_who_removes_one_after_the_other_is_never_held_up() -> None:
    async with running(records(*NAMES), policies=QUICK) as house:
        await all_run(house)
        for name in NAMES:
            house.wish.remove(name)
            await anyio.sleep(3)
        await house.until(lambda: not house.states())
        assert not house.all_told(WishGuarded)


async def test_a_mass_pause_is_the_operators_word_and_is_followed() -> None:
    async with running(records(*NAMES), policies=QUICK) as house:
        await all_run(house)
        house.wish.records = {name: record(name, paused=True) for name in NAMES}
        house.wish.ring()
        await house.until(lambda: set(house.states().values()) == {State.PAUSED})


async def test_a_daemon_that_begins_with_an_empty_wish_guards_nothing() -> None:
    async with running({}) as house:
        await anyio.sleep(100)
        assert not house.all_told(WishGuarded)


async def test_a_gateway_that_is_taken_out_takes_all_its_sessions_along() -> None:
    wish = {name: record(name, gateway="one") for name in NAMES}
    async with running(wish, policies=QUICK, gateways=("one", "two")) as house:
        await all_run(house)
        two = GatewayName("two")
        house.supervisor.replace_gateways((house.rooms[two],), Defaults(gateways=frozenset({two})))
        await house.until(lambda: set(house.states().values()) == {State.INVALID})


async def test_while_redis_is_away_all_goes_on_and_on_its_return_everything_is_compared_again() -> None:
    async with running(records("a", "b"), policies=QUICK) as house:
        await all_run(house, 2)
        house.wish.fail_next("read", StoreUnavailableError("Redis is away"), times=80)
        for each in (house.wish, house.commands, house.outbox):
            each.break_off("watch" if each is house.wish else "listen")
        house.wish.records = {"b": record("b", paused=True), "c": record("c")}
        await anyio.sleep(60)
        assert served(house) == 2
        await house.until(lambda: house.states() == {"b": State.PAUSED, "c": State.RUNNING})


async def test_rounds_that_fail_do_not_follow_each_other_quickly() -> None:
    async with running(records("a")) as house:
        await all_run(house, 1)
        before = house.wish.calls["read"]
        house.wish.fail_next("read", ValueError("a bug"), times=100_000)
        house.wish.ring()
        for _ in range(100):
            await anyio.sleep(1)
            house.wish.ring()
        assert house.wish.calls["read"] - before < 80
