"""Port `Leases`: one holder at a time, each change of hands with a higher number, for the fake and for Redis."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Protocol, cast

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint

from tests.contracts.redis_sides import KINDS, eventually, real_store
from tests.fakes.leases import FakeLeases
from wa_supervisor.adapters.redis.holder import this_process
from wa_supervisor.adapters.redis.keys import Keys
from wa_supervisor.adapters.redis.leases import RedisLeases
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.engine.ports import Lease, Leases

pytestmark = pytest.mark.anyio

A, B, C = IntegrationId("a"), IntegrationId("b"), IntegrationId("c")
LONG = 3600.0
"""Seconds: longer than a test takes."""
SHORT = 0.02
"""Seconds: so short that a test waits for the end."""


class Side(Protocol):
    """What the tests do behind the port's back."""

    def process(self, daemon: str, *, has_ended: bool = False) -> Leases:
        """Give a process of its own; one that `has_ended` may speak all the same, as it did before its end."""

    async def seconds_left(self, name: IntegrationId) -> float:
        """Say how long a lease still holds; below 0 if there is none: at 0 it is there to the end of the instant."""


class FakeSide:
    def __init__(self) -> None:
        self._first = FakeLeases("nobody")

    def process(self, daemon: str, *, has_ended: bool = False) -> Leases:
        process = self._first.beside(daemon)
        if has_ended:
            process.end_process()
        return process

    async def seconds_left(self, name: IntegrationId) -> float:
        await checkpoint()
        kept = self._first.table.find(name)
        return kept.until - anyio.current_time() if kept else -1.0


class RedisSide:
    def __init__(self, store: RedisStore) -> None:
        self._client = store.client
        self._count = 0

    def process(self, daemon: str, *, has_ended: bool = False) -> Leases:
        self._count += 1
        word = f"word-{self._count}"
        process = this_process(daemon, word)
        if has_ended:
            process = msgspec.structs.replace(process, pid=ended_pid())
        return RedisLeases(self._client, Keys(), daemon_id=daemon, instance=word, process=process)

    async def seconds_left(self, name: IntegrationId) -> float:
        return cast("int", await self._client.call(b"PTTL", Keys().lease(name))) / 1000  # -2: there is none


def ended_pid() -> int:
    """Give the id of a process that lived and ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    return child.pid


@pytest.fixture(params=KINDS, ids="-".join)
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    chosen: tuple[str, str] = request.param
    return chosen


@pytest.fixture
def anyio_backend(kind: tuple[str, str]) -> str:
    return kind[1]


@pytest.fixture
def url(kind: tuple[str, str], request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("redis_url")) if kind[0] == "redis" else ""


@pytest.fixture
async def side(url: str) -> AsyncIterator[Side]:
    if not url:
        yield FakeSide()
        return
    async with real_store(url) as store:
        yield RedisSide(store)


async def take(leases: Leases, name: IntegrationId = A, ttl: float = LONG) -> Lease:
    return (await leases.hold([name], ttl))[name]


async def run_out(side: Side, name: IntegrationId = A) -> None:
    async def is_over() -> bool:
        return await side.seconds_left(name) < 0

    await eventually(is_over)


async def test_a_free_lease_is_taken_for_so_long(side: Side) -> None:
    lease = await take(side.process("one"))
    assert lease.is_ours
    assert lease.holder == "one"
    assert lease.fence > 0
    assert 0 < await side.seconds_left(A) <= LONG


async def test_what_somebody_has_is_shown_to_others_and_stays_as_it_is(side: Side) -> None:
    ours = await take(side.process("one"), ttl=100)
    theirs = await take(side.process("two"))
    assert theirs == Lease(is_ours=False, holder="one", fence=ours.fence)
    assert await side.seconds_left(A) <= 100


async def test_renewing_prolongs_and_keeps_the_number(side: Side) -> None:
    one = side.process("one")
    first = await take(one, ttl=100)
    assert await take(one) == first
    assert await side.seconds_left(A) > 100


async def test_every_id_that_is_asked_for_is_answered_each_by_itself(side: Side) -> None:
    one, two = side.process("one"), side.process("two")
    await one.hold([A, B], LONG)
    answer = await two.hold([C, B, A], LONG)
    assert {name: lease.holder for name, lease in answer.items()} == {A: "one", B: "one", C: "two"}
    assert {name for name, lease in answer.items() if lease.is_ours} == {C}
    assert len({lease.fence for lease in answer.values()}) == 3


async def test_an_id_given_twice_is_one(side: Side) -> None:
    one = side.process("one")
    answer = await one.hold([A, A], LONG)
    assert dict(await one.hold([A], LONG)) == answer


async def test_who_asks_for_nothing_gets_nothing(side: Side) -> None:
    one = side.process("one")
    assert dict(await one.hold([], LONG)) == {}
    await one.release([])


async def test_what_is_given_back_is_free_at_once_and_goes_on_with_a_higher_number(side: Side) -> None:
    one, two = side.process("one"), side.process("two")
    first = await take(one)
    await one.release([A])
    second = await take(two)
    await two.release([A])
    third = await take(one)
    assert second.is_ours
    assert third.is_ours
    assert first.fence < second.fence < third.fence


async def test_only_ours_is_given_back(side: Side) -> None:
    one, two = side.process("one"), side.process("two")
    await one.hold([A], LONG)
    await two.hold([B], LONG)
    for _ in range(2):  # as often as one likes
        await one.release([A, B, C])
    assert await side.seconds_left(A) < 0
    assert (await take(one, B)).holder == "two"


async def test_a_lease_that_ran_out_goes_to_the_next_with_a_higher_number_and_its_holder_finds_out(side: Side) -> None:
    one, two = side.process("one"), side.process("two")
    first = await take(one, ttl=SHORT)
    await run_out(side)
    second = await take(two)
    assert second.is_ours
    assert second.fence > first.fence
    assert await take(one) == Lease(is_ours=False, holder="two", fence=second.fence)
    await one.release([A])
    assert (await take(two)) == second


async def test_a_lease_that_ran_out_and_that_nobody_had_since_is_ours_again_as_if_nothing_had_been(side: Side) -> None:
    one = side.process("one")
    first = await take(one, ttl=SHORT)
    await run_out(side)
    assert await take(one) == first


async def test_a_lease_that_ran_out_and_that_somebody_had_since_has_a_higher_number(side: Side) -> None:
    one, two = side.process("one"), side.process("two")
    first = await take(one, ttl=SHORT)
    await run_out(side)
    between = await take(two)
    await two.release([A])
    again = await take(one)
    assert again.is_ours
    assert first.fence < between.fence < again.fence


async def test_a_lease_that_was_given_back_is_a_new_one_when_it_is_taken_again(side: Side) -> None:
    one = side.process("one")
    first = await take(one)
    await one.release([A])
    assert (await take(one)).fence > first.fence


async def test_the_next_process_of_a_daemon_takes_over_at_once_what_its_dead_one_had(side: Side) -> None:
    dead, successor = side.process("one", has_ended=True), side.process("one")
    left = await dead.hold([A, B], LONG)
    answer = await successor.hold([A, B, C], LONG)
    assert all(lease.is_ours for lease in answer.values())
    assert min(answer[name].fence for name in (A, B)) > max(lease.fence for lease in left.values())
    assert len({lease.fence for lease in answer.values()}) == 3


async def test_a_process_of_our_own_name_that_lives_keeps_what_it_has_and_is_told_apart(side: Side) -> None:
    living, namesake = side.process("one"), side.process("one")
    first = await take(living)
    seen = await take(namesake)
    assert not seen.is_ours
    assert seen.fence == first.fence
    assert seen.holder.startswith("one (another process")
    await namesake.release([A])
    assert await take(living) == first


async def test_another_daemons_dead_process_keeps_what_it_has_until_that_runs_out(side: Side) -> None:
    dead, two = side.process("one", has_ended=True), side.process("two")
    await dead.hold([A], SHORT)
    await dead.hold([B], LONG)
    assert not (await take(two, B)).is_ours
    await run_out(side)
    assert (await take(two, A)).is_ours


async def test_of_many_that_ask_at_once_one_gets_each(side: Side) -> None:
    names = [IntegrationId(f"n{number}") for number in range(20)]
    answers: list[dict[IntegrationId, Lease]] = []

    async def ask(leases: Leases) -> None:
        answers.append(dict(await leases.hold(names, LONG)))

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(ask, side.process(f"daemon-{number}"))
    for name in names:
        assert sum(answer[name].is_ours for answer in answers) == 1
        assert len({(answer[name].holder, answer[name].fence) for answer in answers}) == 1


async def test_of_many_successors_that_ask_at_once_one_takes_over(side: Side) -> None:
    await side.process("one", has_ended=True).hold([A], LONG)
    answers: list[Lease] = []

    async def ask(leases: Leases) -> None:
        answers.append(await take(leases))

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(ask, side.process("one"))
    assert sum(lease.is_ours for lease in answers) == 1


async def test_a_call_that_is_cancelled_is_done_whole_or_not_at_all_and_the_next_works(side: Side) -> None:
    one = side.process("one")
    for steps in range(12):
        async with anyio.create_task_group() as group:
            group.start_soon(one.hold, [A, B], LONG)
            group.start_soon(one.release, [C])
            for _ in range(steps):
                await checkpoint()
            group.cancel_scope.cancel()
    answer = await one.hold([A, B], LONG)
    assert all(lease.is_ours for lease in answer.values())
