"""Which integrations a daemon may run: asked for at once, renewed in time, told when lost, never fought over."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.engine.harness import LONGEST, cancel_after
from tests.fakes.leases import FakeLeases
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.observations import LeasesChanged, Observation, Trouble
from wa_supervisor.engine.policies import SupervisorPolicy
from wa_supervisor.engine.ports import Lease
from wa_supervisor.engine.tenancy import Tenancy

pytestmark = pytest.mark.anyio

POLICY = SupervisorPolicy(lease_ttl=15.0, retry_initial=0.5, retry_max=5.0, cancel_timeout=5.0)
A, B, C = IntegrationId("a"), IntegrationId("b"), IntegrationId("c")
SINCE_A_LOOK = 6.0
"""Seconds within which a daemon looks again: a third of the ttl, and a little."""


def some(*names: IntegrationId) -> frozenset[IntegrationId]:
    return frozenset(names)


class Daemon:
    """A tenancy on its process's leases, and what it told."""

    def __init__(self, leases: FakeLeases) -> None:
        self.leases = leases
        self.told: list[Observation] = []
        self.changes: list[IntegrationId] = []
        self.tenancy = Tenancy(leases, policy=POLICY, observe=self.told.append)
        self.tenancy.on_change = self.changes.append

    @property
    def troubles(self) -> list[str]:
        return [each.where for each in self.told if isinstance(each, Trouble)]

    @property
    def counts(self) -> list[tuple[int, int]]:
        return [(each.held, each.elsewhere) for each in self.told if isinstance(each, LeasesChanged)]

    @property
    def asked(self) -> list[frozenset[IntegrationId]]:
        return self.leases.script.asked

    def has(self, name: IntegrationId) -> bool:
        lease = self.tenancy.lease(name)
        return lease is not None and lease.is_ours

    def fence(self, name: IntegrationId) -> int:
        lease = self.tenancy.lease(name)
        return lease.fence if lease is not None else 0

    def follow(self, *names: IntegrationId) -> None:
        self.tenancy.follow(some(*names))

    async def until(self, holds: Callable[[], bool]) -> None:
        with anyio.fail_after(LONGEST):
            while not holds():  # noqa: ASYNC110 - virtual time: asking again costs nothing
                await anyio.sleep(0.01)


@asynccontextmanager
async def running(*daemons: Daemon) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        for daemon in daemons:
            tasks.start_soon(daemon.tenancy.run)
        yield
        tasks.cancel_scope.cancel()


def two_daemons() -> tuple[Daemon, Daemon]:
    first = FakeLeases("one")
    return Daemon(first), Daemon(first.beside("two"))


async def test_nothing_is_known_before_the_first_answer_and_of_what_is_not_followed() -> None:
    one = Daemon(FakeLeases())
    one.follow(A)
    assert one.tenancy.lease(A) is None
    async with running(one):
        await one.until(lambda: one.has(A))
        assert one.tenancy.lease(B) is None


async def test_what_is_free_becomes_ours_and_is_told() -> None:
    one = Daemon(FakeLeases())
    one.follow(A, B)
    async with running(one):
        await one.until(lambda: one.has(A))
        assert one.tenancy.lease(A) == Lease(is_ours=True, holder="one", fence=1)
        assert one.changes == [A, B]
        assert one.counts == [(2, 0)]
        assert one.troubles == []
        assert repr(one.tenancy) == "<Tenancy 2 held, 0 elsewhere, 0 not known yet>"


async def test_what_is_new_is_asked_for_at_once_and_alone() -> None:
    one = Daemon(FakeLeases())
    one.follow(A)
    async with running(one):
        await one.until(lambda: one.has(A))
        began = anyio.current_time()
        one.follow(A, B)
        await one.until(lambda: one.has(B))
        assert anyio.current_time() - began < 0.1
        assert one.asked == [some(A), some(B)]


async def test_following_the_same_again_asks_for_nothing() -> None:
    one = Daemon(FakeLeases())
    one.follow(A)
    async with running(one):
        await one.until(lambda: one.has(A))
        for _ in range(10):
            one.follow(A)
            await anyio.sleep(0.1)
        assert one.asked == [some(A)]


async def test_everything_is_renewed_three_times_within_the_ttl_and_nothing_is_told_of_it() -> None:
    one, two = two_daemons()
    one.follow(A, B)
    async with running(one, two):
        await one.until(lambda: one.has(A))
        two.follow(A)
        await anyio.sleep(3600)
        assert len(one.asked) == 3600 / 5 + 1
        assert set(one.asked) == {some(A, B)}
        assert one.changes == [A, B]
        assert one.counts == [(2, 0)]
        assert (two.changes, two.counts) == ([A], [(0, 1)])
        assert not two.has(A)


async def test_without_anything_to_follow_nobody_is_asked() -> None:
    one = Daemon(FakeLeases())
    async with running(one):
        await anyio.sleep(100)
    assert one.leases.script.calls == Counter()


async def test_what_is_no_longer_followed_is_given_back_at_once() -> None:
    one = Daemon(FakeLeases())
    one.follow(A, B)
    async with running(one):
        await one.until(lambda: one.has(A))
        one.follow(B)
        assert one.tenancy.lease(A) is None
        assert one.counts[-1] == (1, 0)
        await one.until(lambda: A not in one.leases.table.kept)
        assert B in one.leases.table.kept
        assert one.changes == [A, B]


async def test_what_is_given_back_goes_to_the_other_daemon_at_its_next_look() -> None:
    one, two = two_daemons()
    async with running(one, two):
        one.follow(A)
        await one.until(lambda: one.has(A))
        two.follow(A)
        await two.until(lambda: two.tenancy.lease(A) is not None)
        began = anyio.current_time()
        fence = one.fence(A)
        await one.tenancy.give_back(None)
        await two.until(lambda: two.has(A))
        assert anyio.current_time() - began < SINCE_A_LOOK
        assert two.fence(A) > fence
        assert two.changes == [A, A]
        assert two.counts == [(0, 1), (1, 0)]


async def test_what_a_silent_daemon_had_goes_to_the_other_after_the_ttl_and_not_sooner() -> None:
    one, two = two_daemons()
    one.follow(A)
    two.follow(A)
    async with running(two):
        async with running(one):
            await one.until(lambda: one.has(A) or two.has(A))
            holder, other = (one, two) if one.has(A) else (two, one)
            assert not other.has(A)
        if holder is one:
            ends = one.leases.table.kept[A].until
            await anyio.sleep(ends - anyio.current_time() - 0.5)
            assert not two.has(A)
            await anyio.sleep(0.5 + SINCE_A_LOOK)
        assert two.has(A)


async def test_never_do_two_daemons_have_the_same_while_both_renew_and_the_wish_changes() -> None:
    one, two = two_daemons()
    async with running(one, two):
        for number in range(200):
            wanted = [name for bit, name in enumerate((A, B, C)) if number >> bit & 1]
            one.follow(*wanted)
            two.follow(*wanted)
            await anyio.sleep(0.37)
            assert not [name for name in (A, B, C) if one.has(name) and two.has(name)]
            assert all(one.has(name) or two.has(name) or number % 8 for name in wanted)


async def test_a_lost_lease_is_told_and_not_fought_over() -> None:
    one, two = two_daemons()
    one.follow(A, B)
    async with running(one):
        await one.until(lambda: one.has(A))
        one.leases.script.hold("ask")  # as if the process was stopped: it renews nothing, and hears nothing
        await anyio.sleep(100)
        assert one.has(A)
        two.follow(A)
        async with running(two):
            await two.until(lambda: two.has(A))
            one.leases.script.release("ask")
            await one.until(lambda: not one.has(A))
            assert one.tenancy.lease(A) == Lease(is_ours=False, holder="two", fence=two.fence(A))
            assert one.counts[-1] == (1, 1)
            await anyio.sleep(600)
            assert two.has(A)
            assert two.changes == [A]
    lost = [each for each in one.told if isinstance(each, Trouble) and each.where == "lease_lost"]
    assert [each.integration for each in lost] == [A]
    assert "two" in lost[0].message


async def test_a_lease_that_ran_out_and_that_nobody_had_since_is_ours_as_if_nothing_had_been() -> None:
    one = Daemon(FakeLeases())
    one.follow(A)
    async with running(one):
        await one.until(lambda: one.has(A))
        before = one.fence(A)
        one.leases.script.hold("ask")
        await anyio.sleep(100)
        one.leases.script.release("ask")
        await anyio.sleep(100)
        assert (one.has(A), one.fence(A)) == (True, before)
        assert one.changes == [A]
        assert one.troubles == []


async def test_a_lease_that_ran_out_and_that_somebody_had_since_is_ours_again_and_told() -> None:
    one = Daemon(FakeLeases())
    one.follow(A)
    async with running(one):
        await one.until(lambda: one.has(A))
        before = one.fence(A)
        one.leases.script.hold("ask")
        await anyio.sleep(100)
        other = one.leases.beside("two")
        await other.hold([A], 10)
        await other.release([A])
        one.leases.script.release("ask")
        await one.until(lambda: one.fence(A) > before)
        assert one.has(A)
        assert one.changes == [A, A]
        assert one.troubles == ["lease_lapsed"]
        assert one.counts == [(1, 0)]


async def test_a_change_of_hands_between_others_is_a_change() -> None:
    one, two = two_daemons()
    three = Daemon(one.leases.beside("three"))
    async with running(one):
        async with running(two):
            two.follow(A)
            await two.until(lambda: two.has(A))
            one.follow(A)
            await one.until(lambda: one.tenancy.lease(A) is not None)
            two.follow()
            await two.until(lambda: A not in one.leases.table.kept)
            await three.leases.hold([A], 3600)
        await one.until(lambda: len(one.changes) == 2)
        lease = one.tenancy.lease(A)
        assert lease is not None
        assert lease.holder == "three"
        assert one.troubles == []
        assert one.counts == [(0, 1)]


async def test_what_we_have_stays_ours_while_redis_is_away_and_is_confirmed_on_return() -> None:
    one = Daemon(FakeLeases())
    one.follow(A)
    async with running(one):
        await one.until(lambda: one.has(A))
        one.leases.script.fail_next("ask", StoreUnavailableError("no route"), times=10)
        asked = len(one.asked)
        await one.until(lambda: "leases_away" in one.troubles)
        one.follow(A, B)  # while nobody answers
        assert one.has(A)
        await one.until(lambda: len(one.asked) > asked)
        assert one.asked[asked] == some(A, B)
        await one.until(lambda: one.has(B))
        assert one.troubles[0] == "leases_away"
        assert one.troubles[-1] == "leases_back"
        assert one.troubles.count("leases_away") == 1
        assert "15 s" in next(each.message for each in one.told if isinstance(each, Trouble))


async def test_what_was_lost_while_redis_was_away_is_found_lost_on_return() -> None:
    one, two = two_daemons()
    one.follow(A)
    async with running(one):
        await one.until(lambda: one.has(A))
        one.leases.script.fail_next("ask", times=20)
        await one.until(lambda: "leases_away" in one.troubles)
        await anyio.sleep(POLICY.lease_ttl)
        await two.leases.hold([A], 3600)
        assert one.has(A)
        await one.until(lambda: not one.has(A))
        assert set(one.troubles) == {"leases_away", "lease_lost", "leases_back"}


async def test_while_redis_is_away_it_is_asked_less_and_less_often_and_never_less_than_every_few_seconds() -> None:
    one = Daemon(FakeLeases())
    one.follow(A)
    one.leases.script.fail_next("ask", times=10**9)
    async with running(one):
        await anyio.sleep(3600)
    tries = one.leases.script.calls["ask"]
    assert 3600 / POLICY.retry_max * 0.8 < tries < 3600 / POLICY.retry_max * 3
    assert one.troubles == ["leases_away"]


async def test_another_kind_of_failure_is_told_too_and_survived() -> None:
    one = Daemon(FakeLeases())
    one.follow(A)
    one.leases.script.fail_next("ask", StoreUnavailableError("away"), times=2)
    one.leases.script.fail_next("ask", RuntimeError("a bug"), times=2)
    async with running(one):
        await one.until(lambda: one.has(A))
        await one.until(lambda: "leases_back" in one.troubles)
    assert one.troubles == ["leases_away", "leases_away", "leases_back"]


async def test_an_answer_that_was_lost_on_its_way_is_asked_for_again() -> None:
    one = Daemon(FakeLeases())
    one.follow(A)
    one.leases.script.fail_next("ask", after_effect=True)
    async with running(one):
        await one.until(lambda: one.has(A))
        assert one.fence(A) == 1


async def test_a_refused_return_does_not_keep_the_rest_from_being_renewed() -> None:
    one = Daemon(FakeLeases())
    one.follow(A, B)
    async with running(one):
        await one.until(lambda: one.has(A))
        one.leases.script.fail_next("give_back", times=1000)
        one.follow(A)
        await anyio.sleep(100)
        assert A in one.leases.table.kept
        assert one.leases.table.find(A) is not None
        assert one.fence(A) == 1
        assert one.leases.table.find(B) is None  # nobody renews it


async def test_what_is_followed_no_longer_while_it_is_asked_for_is_given_back_and_not_known() -> None:
    one = Daemon(FakeLeases())
    one.leases.script.hold("ask")
    one.follow(A, B)
    async with running(one):
        await one.until(lambda: one.leases.script.calls["ask"] == 1)
        one.follow(B)
        one.leases.script.release("ask")
        await one.until(lambda: one.has(B))
        await one.until(lambda: A not in one.leases.table.kept)
        assert one.tenancy.lease(A) is None
        assert one.changes == [B]


async def test_what_comes_back_while_it_is_given_back_is_asked_for_anew() -> None:
    one = Daemon(FakeLeases())
    one.follow(A)
    async with running(one):
        await one.until(lambda: one.has(A))
        one.leases.script.hold("give_back")
        one.follow()
        await one.until(lambda: one.leases.script.calls["give_back"] == 1)
        one.follow(A)
        assert one.tenancy.lease(A) is None
        one.leases.script.release("give_back")
        await one.until(lambda: one.has(A))
        await anyio.sleep(SINCE_A_LOOK)
        assert one.leases.table.kept[A].fence == one.fence(A)


async def test_what_comes_back_before_it_was_given_back_stays_ours() -> None:
    one = Daemon(FakeLeases())
    one.follow(A)
    async with running(one):
        await one.until(lambda: one.has(A))
        one.follow()
        one.follow(A)
        await one.until(lambda: one.has(A))
        assert one.fence(A) == 1
        assert one.leases.script.calls["give_back"] == 0


async def test_some_can_be_given_back_and_stay_so_until_they_are_followed_anew() -> None:
    one = Daemon(FakeLeases())
    one.follow(A, B)
    async with running(one):
        await one.until(lambda: one.has(A))
        await one.tenancy.give_back([A])
        assert set(one.leases.table.kept) == {B}
        assert one.tenancy.lease(A) is None
        assert one.has(B)
        await anyio.sleep(100)
        assert set(one.leases.table.kept) == {B}
        one.follow(A, B)
        await one.until(lambda: one.has(A))
    assert one.troubles == []


async def test_giving_back_waits_for_the_call_that_is_under_way_so_that_it_takes_nothing_again() -> None:
    one = Daemon(FakeLeases())
    one.leases.script.hold("ask")
    one.follow(A)
    async with running(one), anyio.create_task_group() as tasks:
        await one.until(lambda: one.leases.script.calls["ask"] == 1)
        tasks.start_soon(one.tenancy.give_back, None)
        await anyio.sleep(1)
        one.leases.script.release("ask")
        await one.until(lambda: one.leases.script.calls["give_back"] == 1)
    assert one.leases.table.kept == {}
    assert one.changes == []


async def test_what_is_followed_anew_while_it_waits_to_be_given_back_is_not_given_back() -> None:
    one = Daemon(FakeLeases())
    one.follow(A)
    async with running(one), anyio.create_task_group() as tasks:
        await one.until(lambda: one.has(A))
        one.leases.script.hold("ask")
        one.follow(A, B)
        await one.until(lambda: one.leases.script.calls["ask"] == 2)
        tasks.start_soon(one.tenancy.give_back, [A])
        await anyio.sleep(1)
        one.follow(A, B)
        one.leases.script.release("ask")
        await one.until(lambda: one.has(A) and one.has(B))
        assert set(one.leases.table.kept) == {A, B}
        assert one.fence(A) == 1
    assert one.troubles == []


async def test_at_the_end_everything_is_given_back_although_all_is_being_cancelled() -> None:
    one = Daemon(FakeLeases())
    one.follow(A, B)
    async with running(one):
        await one.until(lambda: one.has(A))
    one.leases.script.fail_next("give_back", times=2)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await one.tenancy.give_back(None)
    assert one.leases.table.kept == {}
    assert one.troubles == []
    assert one.counts[-1] == (0, 0)


@pytest.mark.parametrize("is_silent", [True, False])
async def test_giving_back_ends_in_time_when_redis_does_not_answer_and_tells_what_is_left(is_silent: bool) -> None:
    one = Daemon(FakeLeases())
    one.follow(A, B)
    async with running(one):
        await one.until(lambda: one.has(A))
    if is_silent:
        one.leases.script.hold("give_back")
    else:
        one.leases.script.fail_next("give_back", StoreUnavailableError("no route"), times=10**6)
    began = anyio.current_time()
    await one.tenancy.give_back(None)
    assert anyio.current_time() - began <= POLICY.cancel_timeout
    assert one.troubles == ["leases_left"]
    (trouble,) = [each for each in one.told if isinstance(each, Trouble)]
    assert trouble.message.startswith("2 leases could not be given back")
    assert ("no route" in trouble.message) is not is_silent


async def test_giving_back_survives_what_nobody_foresaw() -> None:
    one = Daemon(FakeLeases())
    one.follow(A)
    async with running(one):
        await one.until(lambda: one.has(A))
    one.leases.script.fail_next("give_back", RuntimeError("a bug"))
    await one.tenancy.give_back(None)
    assert one.troubles == ["leases_left"]


async def test_nobody_has_to_listen_to_changes() -> None:
    told: list[Observation] = []
    leases = FakeLeases()
    tenancy = Tenancy(leases, policy=POLICY, observe=told.append)
    tenancy.follow(some(A))
    with anyio.move_on_after(1):
        await tenancy.run()
    assert tenancy.lease(A) == Lease(is_ours=True, holder="one", fence=1)
    assert told == [LeasesChanged(held=1, elsewhere=0)]


@pytest.mark.parametrize("turns", range(0, 40, 2))
async def test_cancelled_at_any_step_it_can_give_everything_back_and_run_again(turns: int) -> None:
    one = Daemon(FakeLeases())
    one.follow(A, B)
    await cancel_after(turns // 2, one.tenancy.run)
    one.follow(A)
    await cancel_after(turns, one.tenancy.run)
    async with running(one):
        await one.until(lambda: one.has(A))
        await one.until(lambda: B not in one.leases.table.kept)
    await one.tenancy.give_back(None)
    assert one.leases.table.kept == {}
