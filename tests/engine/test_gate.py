"""The gate of a gateway: one probe for all, held for what the gateway does to its sessions, opened one by one."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.engine.harness import MAIN, Witness, cancel_after
from tests.engine.virtual_time import virtual_backend
from tests.fakes.gateway import FakeGateway
from tests.fakes.gateway_events import FakeGatewayEvents
from wa_supervisor.domain.errors import GatewayAnswerError, GatewayUnreachableError
from wa_supervisor.domain.gateway import GatewayHealth
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.observations import GatewayAnswered, GatewayChanged
from wa_supervisor.engine.gate import JITTER, LOOK_LONGEST, Gate
from wa_supervisor.engine.policies import GatePolicy
from wa_supervisor.engine.room import GatewayRoom

pytestmark = pytest.mark.anyio

AWAY = GatewayUnreachableError("nothing answers")
POLICY = GatePolicy()
LONG_MEMORY = GatePolicy(flapping_half_life=100_000.0)
ASYNCIO: tuple[str, Mapping[str, object]] = virtual_backend("asyncio")


class LeakyGateway(FakeGateway):
    """A gateway of which one question is cancelled by a library, and not by us."""

    leaks = 0

    async def health(self) -> GatewayHealth:
        """Leak a cancellation, as often as told."""
        if self.leaks:
            self.leaks -= 1
            raise asyncio.CancelledError("a library's own")
        return await super().health()


class Gateway(Witness):
    """A gate whose gateway and event connection are in the hand of the test."""

    def __init__(self, policy: GatePolicy, fake: FakeGateway) -> None:
        super().__init__()
        self.fake = fake
        self.gate = Gate(fake, policy, self.observe)

    def join(self, count: int) -> list[IntegrationId]:
        """Have so many sessions."""
        names = [IntegrationId(f"s{number}") for number in range(count)]
        for name in names:
            self.gate.join(name, self)
        return names

    def fail(self, *names: IntegrationId) -> None:
        """Let these sessions fail now."""
        for name in names:
            self.gate.report_failure(name, was_healthy=False)

    def go_away(self) -> None:
        """Have nothing answer any more, as somebody finds out."""
        self.fake.is_up = False
        self.gate.report_unreachable(AWAY)

    async def come_back(self) -> float:
        """Answer again, and give the seconds until the gate is open."""
        began = anyio.current_time()
        self.fake.is_up = True
        await self.gate.wait_open()
        return anyio.current_time() - began

    async def seconds_closed(self) -> float:
        """Give the seconds until the gate is open."""
        began = anyio.current_time()
        await self.gate.wait_open()
        return anyio.current_time() - began

    def changes(self) -> list[str]:
        """Give what was told of the gate."""
        return [told.what for told in self.all_told(GatewayChanged)]


@asynccontextmanager
async def gateway(policy: GatePolicy = POLICY, fake: FakeGateway | None = None) -> AsyncIterator[Gateway]:
    """Give an open gate for the length of the block."""
    it = Gateway(policy, fake or FakeGateway(MAIN))
    is_told_to_its_end = False
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(it.gate.run)
        it.gate.report_feed(stands=True)
        await anyio.sleep(1000)
        with anyio.fail_after(10_000_000):
            yield it
            await checkpoint()
        is_told_to_its_end = True
        tasks.cancel_scope.cancel()
    assert is_told_to_its_end, "a cancellation that nobody gave ended the test"


async def test_a_gate_is_closed_until_the_events_arrive_and_that_is_no_refusal() -> None:
    it = Gateway(POLICY, FakeGateway(MAIN))
    assert not it.gate.is_open
    assert it.gate.answers
    assert not it.gate.was_refused
    assert it.gate.reason == "connecting for the first time"
    assert it.gate.opens_in is None
    assert repr(it.gate) == "<Gate main closed: connecting for the first time>"
    it.gate.report_feed(stands=True)
    assert it.gate.is_open
    assert repr(it.gate) == "<Gate main open>"
    assert it.changes() == ["gate_opened"]


async def test_a_gateway_that_is_away_is_asked_by_one_probe_every_so_often() -> None:
    class Timed(FakeGateway):
        def __init__(self) -> None:
            super().__init__(MAIN)
            self.asked: list[float] = []

        async def health(self) -> GatewayHealth:
            self.asked.append(anyio.current_time())
            return await super().health()

    fake = Timed()
    async with gateway(fake=fake) as it:
        for _ in range(50):  # however many find out
            it.go_away()
        await anyio.sleep(300)
        gaps = [after - before for before, after in pairwise(fake.asked)]
        assert len(gaps) > 50
        assert min(gaps) >= POLICY.probe_interval * (1 - JITTER) - 1e-6
        assert max(gaps) <= POLICY.probe_interval * (1 + JITTER) + 1e-6
        assert max(gaps) - min(gaps) > JITTER * POLICY.probe_interval, "spread"
        assert await it.come_back() <= POLICY.probe_interval * (1 + JITTER) + 1e-6
        asked = len(fake.asked)
        await anyio.sleep(300)
        assert len(fake.asked) == asked, "nobody asks a gateway that answers"


async def test_what_is_done_about_it_is_told_and_when_it_opens_by_itself_if_that_is_known() -> None:
    async with gateway() as it:
        assert it.gate.opens_in is None
        it.go_away()
        assert (it.gate.opens_in, it.gate.what_next) == (None, "it is asked every 5 s")
        it.gate.report_feed(stands=False, reason="its events cannot be received")
        it.fake.is_up = True
        await it.gate.wait_answers()
        assert (it.gate.opens_in, it.gate.what_next) == (None, "its events are tried again and again")
        it.gate.report_feed(stands=True)
        it.fail(*it.join(3))
        assert it.gate.opens_in == pytest.approx(2 * POLICY.hold_initial)  # the second closure
        assert it.gate.what_next == "all are held for 20 s"
        it.go_away()
        assert it.gate.opens_in is None


async def test_a_gateway_that_fails_its_sessions_is_held_as_long_as_begins_and_twice_that_the_next_time() -> None:
    async with gateway() as it:
        names = it.join(3)
        for seconds in (POLICY.hold_initial, 2 * POLICY.hold_initial):
            it.fail(*names)
            assert it.gate.opens_in == pytest.approx(seconds)
            await it.gate.wait_open()


async def test_the_first_closure_holds_nobody_longer_than_the_gateway_is_away() -> None:
    async with gateway() as it:
        it.go_away()
        assert it.changes() == ["gate_opened", "gate_closed"]
        assert it.gate.was_refused
        assert not it.gate.answers
        await it.come_back()
        assert it.gate.answers
        assert not it.gate.was_refused
        assert it.changes() == ["gate_opened", "gate_closed", "gate_opened"]
        assert len(it.all_told(GatewayAnswered)) == 1


async def test_what_a_probe_finds_wrong_is_the_new_reason_and_news() -> None:
    async with gateway() as it:
        it.go_away()
        assert it.gate.reason == "nothing answers"
        it.fake.fail_next("health", GatewayAnswerError("503 from a proxy"))
        await it.gate.wait_news()
        assert it.gate.reason == "503 from a proxy"
        assert not it.gate.answers


async def test_a_probe_that_fails_as_nobody_foresaw_does_not_end_the_probing() -> None:
    async with gateway() as it:
        it.go_away()
        it.fake.fail_next("health", RuntimeError("a bug"))
        it.fake.fail_next("health", ExceptionGroup("two bugs", [ValueError(), KeyError()]))
        await anyio.sleep(20)
        assert await it.come_back() <= 6


async def test_a_probe_that_hangs_does_not_end_the_probing() -> None:
    async with gateway() as it:
        it.go_away()
        it.fake.hold("health")  # and nobody ever lets it go on
        await anyio.sleep(3600)
        assert it.fake.calls["health"] > 5
        it.fake.release("health")
        assert await it.come_back() < 600


@pytest.mark.parametrize("anyio_backend", [ASYNCIO])
async def test_a_probe_that_leaks_a_cancellation_does_not_end_the_probing() -> None:
    fake = LeakyGateway(MAIN)
    async with gateway(fake=fake) as it:
        it.go_away()
        fake.leaks = 1
        await anyio.sleep(60)
        assert await it.come_back() <= 6


async def test_a_look_at_a_gateway_that_is_away_closes_the_gate_and_takes_no_long_time() -> None:
    async with gateway() as it:
        await it.gate.look()
        assert it.gate.is_open
        it.fake.fail_next("health", GatewayAnswerError("500"))
        await it.gate.look()
        assert it.gate.is_open, "it is there"
        it.fake.hold("health")
        began = anyio.current_time()
        await it.gate.look()
        assert anyio.current_time() - began == pytest.approx(LOOK_LONGEST)
        it.fake.release("health")
        it.fake.is_up = False
        await it.gate.look()
        assert not it.gate.is_open
        asked = it.fake.calls["health"]
        await it.gate.look()
        assert it.fake.calls["health"] == asked, "the probe asks, and nobody else"


async def test_the_event_connection_is_not_tried_while_the_gateway_is_away_and_opens_the_gate_when_it_is_back() -> None:
    fake, events, witness = FakeGateway(MAIN), FakeGatewayEvents(), Witness()
    room = GatewayRoom(fake, events, POLICY, witness.observe)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(room.run)
        await room.gate.wait_open()
        await anyio.sleep(1000)
        fake.is_up, events.refuses = False, True
        events.lose()
        await room.gate.wait_closed()
        await anyio.sleep(10)
        tries = events.listens
        await anyio.sleep(600)
        assert events.listens == tries
        fake.is_up, events.refuses = True, False
        await room.gate.wait_open()
        assert events.listens == tries + 1
        tasks.cancel_scope.cancel()


async def test_a_gateway_that_answers_but_whose_events_do_not_arrive_may_not_be_used() -> None:
    async with gateway() as it:
        it.gate.report_feed(stands=False, reason="its events cannot be received")
        assert not it.gate.is_open
        assert it.gate.answers
        assert it.gate.reason == "its events cannot be received"
        await it.gate.wait_answers()
        it.gate.report_feed(stands=True)
        assert it.gate.is_open


async def test_a_probe_that_is_answered_does_not_open_the_gate_without_the_events() -> None:
    async with gateway() as it:
        it.go_away()
        it.gate.report_feed(stands=False, reason="its events cannot be received")
        it.fake.is_up = True
        await it.gate.wait_answers()
        assert not it.gate.is_open
        it.gate.report_feed(stands=True)
        assert it.gate.is_open


async def test_who_must_know_at_once_is_told_when_it_closes() -> None:
    async with gateway() as it:
        told = []
        it.gate.on_close = lambda: told.append(anyio.current_time())
        it.go_away()
        it.gate.report_unreachable(AWAY)
        assert told == [anyio.current_time()]


async def test_news_come_when_it_closes_opens_or_is_closed_for_another_reason_and_only_then() -> None:
    async with gateway() as it:
        news = 0

        async def count() -> None:
            nonlocal news
            while True:
                await it.gate.wait_news()
                news += 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            await anyio.sleep(1)
            it.go_away()
            await anyio.sleep(0.1)
            assert news == 1
            for _ in range(5):
                it.gate.report_unreachable(AWAY)
                await anyio.sleep(0.1)
            assert news == 1
            it.gate.report_unreachable(GatewayUnreachableError("no such host"))
            await anyio.sleep(0.1)
            assert news == 2
            await it.come_back()
            await anyio.sleep(0.1)
            assert news >= 3
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize(("members", "failing"), [(3, 3), (4, 3), (6, 3), (7, 4), (20, 10)])
async def test_when_half_and_at_least_three_fail_within_the_window_the_gateway_is_to_blame(
    members: int, failing: int
) -> None:
    async with gateway() as it:
        names = it.join(members)
        for name in names[: failing - 1]:
            it.fail(name)
            await anyio.sleep(POLICY.failing_window / failing)
        assert it.gate.is_open
        it.fail(names[failing - 1])
        assert not it.gate.is_open
        assert it.gate.answers
        named = ", ".join(sorted(names[:failing])[:5]) + (", ..." if failing > 5 else "")
        assert it.gate.reason == f"{failing} of its {members} sessions failed within 30 s ({named})"
        assert it.gate.opens_in == pytest.approx(POLICY.hold_initial)
        assert await it.seconds_closed() == pytest.approx(POLICY.hold_initial)
        assert it.fake.calls["health"] == 0, "it answers, so nobody asks"


@pytest.mark.parametrize(("members", "failing"), [(1, 1), (2, 2), (4, 2), (7, 3), (20, 3), (20, 9)])
async def test_fewer_are_the_sessions_own_fault(members: int, failing: int) -> None:
    async with gateway() as it:
        it.fail(*it.join(members)[:failing])
        assert it.gate.is_open
        assert it.gate.blamed_since == math.inf


async def test_one_that_fails_often_counts_once() -> None:
    async with gateway() as it:
        first, *_ = it.join(4)
        it.fail(*[first] * 20)
        assert it.gate.is_open


async def test_failures_that_are_further_apart_are_no_ones_but_the_sessions() -> None:
    async with gateway() as it:
        for name in it.join(4):
            it.fail(name)
            await anyio.sleep(POLICY.failing_window / 2 + 1)
        assert it.gate.is_open


async def test_who_left_counts_neither_among_the_failing_nor_among_all() -> None:
    async with gateway() as it:
        names = it.join(6)
        it.fail(*names[:2])
        it.gate.leave(names[0], it)
        it.gate.leave(names[0], it)
        assert it.gate.members == 5
        it.fail(names[2])
        assert it.gate.is_open
        it.fail(names[3])
        assert not it.gate.is_open


async def test_failures_are_blamed_on_the_gateway_from_the_beginning_of_the_window_until_it_opens() -> None:
    async with gateway() as it:
        names = it.join(3)
        assert it.gate.blamed_since == math.inf
        it.fail(*names)
        assert it.gate.blamed_since == pytest.approx(anyio.current_time() - POLICY.failing_window)
        await it.gate.wait_open()
        assert it.gate.blamed_since == math.inf
        it.fail(*names[:2])
        assert it.gate.is_open, "those before it opened are forgotten"


async def test_a_gateway_that_is_away_is_not_to_blame_for_what_failed_before() -> None:
    async with gateway() as it:
        it.go_away()
        assert it.gate.blamed_since == math.inf


async def test_failures_while_it_is_closed_change_nothing() -> None:
    async with gateway() as it:
        names = it.join(3)
        it.go_away()
        it.fail(*names)
        assert it.gate.blamed_since == math.inf
        assert it.gate.reason == "nothing answers"
        assert await it.come_back() < 6


async def test_a_gateway_that_goes_away_while_it_is_held_opens_when_both_are_over() -> None:
    async with gateway() as it:
        it.fail(*it.join(3))
        it.go_away()
        await anyio.sleep(POLICY.hold_initial + 10)
        assert not it.gate.is_open
        assert await it.come_back() < 6
        assert it.changes().count("gate_closed") == 1


async def test_a_gateway_that_comes_and_goes_is_held_longer_each_time_up_to_the_cap_and_a_calm_is_forgiving() -> None:
    async with gateway(LONG_MEMORY) as it:
        times = []
        for _ in range(12):
            it.go_away()
            times.append(await it.come_back())
        assert times[0] < 6, "the first costs nothing"
        assert times[1] >= POLICY.hold_initial - 0.1
        assert all(later >= earlier - 6 for earlier, later in pairwise(times))
        assert sum(later > 1.5 * earlier for earlier, later in pairwise(times[1:])) >= 3
        assert max(times) <= POLICY.hold_max + 6
        assert times[-1] == pytest.approx(POLICY.hold_max, abs=6), "at the cap"
        await anyio.sleep(9 * LONG_MEMORY.flapping_half_life)
        it.go_away()
        assert await it.come_back() < 6


async def test_a_gateway_that_fails_its_sessions_again_and_again_is_held_longer_and_longer() -> None:
    async with gateway(LONG_MEMORY) as it:
        names, times = it.join(3), []
        for _ in range(12):
            it.fail(*names)
            times.append(await it.seconds_closed())
        assert times[0] == pytest.approx(POLICY.hold_initial)
        assert all(later >= earlier - 0.1 for earlier, later in pairwise(times))
        assert max(times) == pytest.approx(POLICY.hold_max)


async def test_sessions_come_back_one_by_one_and_those_that_waited_longest_first() -> None:
    async with gateway() as it:
        back: list[tuple[int, float]] = []

        async def come_back(number: int) -> None:
            await it.gate.wait_open()
            async with it.gate.passage(float(100 - number)) as may_pass:
                assert may_pass
                back.append((number, anyio.current_time()))

        it.go_away()
        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(come_back, number)
            await anyio.sleep(10)
            await it.come_back()
        assert [number for number, _ in back[1:]] == sorted((number for number, _ in back[1:]), reverse=True)
        times = [at for _, at in back]
        assert min(after - before for before, after in pairwise(times)) >= 1 / POLICY.admissions - 1e-6
        assert times[-1] - times[0] == pytest.approx(99 / POLICY.admissions, rel=0.05)


async def test_who_waits_for_a_passage_is_turned_away_when_it_closes() -> None:
    async with gateway(GatePolicy(admissions=0.1)) as it:
        may_pass: list[bool] = []

        async def pass_through() -> None:
            async with it.gate.passage(0.0) as yes:
                may_pass.append(yes)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(pass_through)
            await anyio.sleep(3)
            it.go_away()
        assert may_pass.count(False) >= 3
        assert it.changes()[-1] == "gate_closed"


async def test_no_more_browsers_start_at_once_than_may_and_none_right_after_another() -> None:
    async with gateway() as it:
        began: list[float] = []
        now = most = 0

        async def start() -> None:
            nonlocal now, most
            async with it.gate.turn():
                began.append(anyio.current_time())
                now += 1
                most = max(most, now)
                await anyio.sleep(0.7)
                now -= 1

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(start)
            await anyio.sleep(0.1)
            assert it.gate.waiting_turns == 18
        assert most == POLICY.starts_at_once
        assert it.gate.waiting_turns == 0
        gaps = [after - before for before, after in pairwise(began)]
        assert min(gaps) >= POLICY.start_interval - 1e-6


@pytest.mark.parametrize("turns", range(12))
async def test_wherever_a_cancellation_comes_no_turn_to_start_is_lost(turns: int) -> None:
    async with gateway() as it:

        async def start() -> None:
            async with it.gate.turn():
                await anyio.sleep(100)

        for _ in range(2 * POLICY.starts_at_once):
            await cancel_after(turns, start)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                for _ in range(POLICY.starts_at_once):
                    tasks.start_soon(cancel_after, 0, start)
        with anyio.fail_after(200):
            async with anyio.create_task_group() as tasks:
                for _ in range(POLICY.starts_at_once):
                    tasks.start_soon(start)
        assert it.gate.waiting_turns == 0


async def test_who_gives_up_waiting_for_a_turn_to_start_is_counted_no_more() -> None:
    async with gateway() as it, anyio.create_task_group() as tasks:

        async def start() -> None:
            async with it.gate.turn():
                await anyio.sleep_forever()

        for _ in range(POLICY.starts_at_once):
            tasks.start_soon(start)
        await anyio.sleep(10)
        with anyio.move_on_after(10):
            await start()
        assert it.gate.waiting_turns == 0
        tasks.cancel_scope.cancel()


async def test_a_gateway_that_began_anew_after_a_moment_says_so_by_its_uptime() -> None:
    async with gateway() as it:
        await it.fake.health()
        moment = anyio.current_time()
        await anyio.sleep(100)
        assert not await it.gate.began_after(moment)
        it.fake.restart()
        assert await it.gate.began_after(moment)
        assert not await it.gate.began_after(anyio.current_time() - 1), "two clocks may disagree"
        it.fake.is_up = False
        with pytest.raises(GatewayUnreachableError):
            await it.gate.began_after(moment)
