"""A wish that loses much at once: what may be stopped, what goes on, and what ends that."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.strategies import patient
from wa_supervisor.domain.guard import NOBODY, Allowance, Guard, Verdict, find_losses, judge, running
from wa_supervisor.domain.integration import Integration, InvalidIntegration
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.plan import Wanted, make_plan
from wa_supervisor.domain.wish import Wish

ALLOWANCE = Allowance(share=0.25, least=3, forget=2.0)
MAIN = GatewayName("main")


def ids(*numbers: int) -> frozenset[IntegrationId]:
    """Give the ids of these integrations."""
    return frozenset(IntegrationId(f"i-{number:03}") for number in numbers)


def look(
    guard: Guard, losses: frozenset[IntegrationId], *, runs: int = 60, now: float = 0.0, second: bool = True
) -> Verdict:
    """Judge one round."""
    return judge(guard, losses=losses, runs=runs, allowance=ALLOWANCE, now=now, is_second_look=second)


def test_what_is_within_the_share_is_done_at_the_first_look() -> None:
    verdict = look(Guard(), ids(*range(15)), second=False)
    assert not verdict.reads_again
    assert verdict.held == NOBODY


def test_what_is_beyond_the_share_is_read_again_before_anything_is_done() -> None:
    verdict = look(Guard(), ids(*range(16)), second=False)
    assert verdict.reads_again
    assert verdict.guard == Guard()


def test_an_emptied_wish_stops_the_share_and_the_rest_goes_on() -> None:
    verdict = look(Guard(), ids(*range(60)))
    assert verdict.held == ids(*range(15, 60))
    assert verdict.guard.lost == 60


def test_a_few_may_always_be_stopped() -> None:
    assert look(Guard(), ids(1, 2, 3), runs=3, second=False).held == NOBODY
    assert look(Guard(), ids(1, 2, 3, 4), runs=4).held == ids(4)


def test_what_is_held_back_stays_so_however_long_it_takes() -> None:
    guard = look(Guard(), ids(*range(60))).guard
    for minute in range(1, 100):
        verdict = look(guard, guard.held, runs=45, now=60.0 * minute, second=False)
        assert not verdict.reads_again
        assert verdict.held == ids(*range(15, 60))
        guard = verdict.guard


def test_what_is_confirmed_is_stopped_and_what_is_lost_later_is_not() -> None:
    guard = look(Guard(), ids(*range(40))).guard.confirm()
    verdict = look(guard, guard.held | ids(50), runs=45, now=1.0)
    assert verdict.held == ids(50)
    again = look(verdict.guard.confirm(), ids(50), runs=20, now=2.0)
    assert again.held == NOBODY
    assert again.guard.spent == 0


def test_nothing_to_confirm_changes_nothing() -> None:
    assert Guard().confirm() == Guard()


def test_what_is_declared_again_is_held_no_more_and_does_not_open_the_way_for_another_loss() -> None:
    guard = look(Guard(), ids(*range(60))).guard
    back = look(guard, NOBODY, now=10.0)
    assert back.held == NOBODY
    assert look(back.guard, ids(*range(20, 60)), now=11.0).held == ids(*range(20, 60))


def test_an_operator_who_removes_one_after_the_other_is_never_held_up() -> None:
    guard, now = Guard(), 0.0
    for left in range(100, 0, -1):
        verdict = look(guard, ids(left), runs=left, now=now, second=False)
        assert not verdict.reads_again
        assert verdict.held == NOBODY
        guard, now = verdict.guard, now + 2.5


def test_a_loop_that_removes_field_by_field_is_an_episode() -> None:
    guard, stopped = Guard(), 0
    lost: list[int] = []
    for number in range(60):
        lost.append(number)
        verdict = look(guard, ids(*lost[stopped:]), runs=60 - stopped, now=number * 0.1)
        stopped += len(lost[stopped:]) - len(verdict.held)
        guard = verdict.guard
    assert 15 <= stopped <= 15 + 2


def test_an_episode_is_over_when_its_stops_are_forgotten_and_the_next_measures_anew() -> None:
    guard = look(Guard(), ids(*range(10)), now=0.0).guard
    assert look(guard, NOBODY, runs=50, now=10.0).guard.baseline == 60
    assert look(guard, NOBODY, runs=50, now=20.0).guard.baseline == 50


@given(
    rounds=st.lists(
        st.tuples(st.sets(st.integers(0, 29)), st.floats(0, 60), st.sampled_from(["look", "confirm"])), max_size=20
    )
)
@patient
def test_no_sequence_stops_more_at_once_than_it_may_and_none_without_being_asked(
    rounds: list[tuple[set[int], float, str]],
) -> None:
    guard, now, alive = Guard(), 0.0, set(range(30))
    for numbers, passed, then in rounds:
        now += passed
        losses = ids(*(numbers & alive))
        confirmed = guard.confirmed & losses
        first = look(guard, losses, runs=len(alive), now=now, second=False)
        verdict = look(guard, losses, runs=len(alive), now=now) if first.reads_again else first
        stopped = losses - verdict.held
        assert verdict.held <= losses
        assert len(stopped - confirmed) <= ALLOWANCE.of(30)
        if guard.held and verdict.held:
            assert not stopped - confirmed
        alive -= {int(name[2:]) for name in stopped}
        guard = verdict.guard.confirm() if then == "confirm" else verdict.guard


def wish(*wanted: Wanted) -> Wish:
    """Give the wish of these."""
    return Wish(
        integrations={one.id: one for one in wanted if isinstance(one, Integration)},
        invalid={one.id: one for one in wanted if isinstance(one, InvalidIntegration)},
    )


def lost(present: list[Wanted], *wanted: Wanted, now: float = 0.0) -> frozenset[IntegrationId]:
    """Give what is lost between what is present and the wish of these."""
    before = {one.id: one for one in present}
    now_wanted = wish(*wanted)
    return find_losses(make_plan(now_wanted, before), running(before, frozenset({MAIN}), now), now_wanted)


A = Integration(id=IntegrationId("a"), agent_id=AgentId("agent"), session=SessionName("sa"), gateway=MAIN)
UNREADABLE = InvalidIntegration(id=A.id, reason="InvalidRecord", message="m")


def test_removed_and_unreadable_count_as_lost() -> None:
    assert lost([A]) == {"a"}
    assert lost([A], UNREADABLE) == {"a"}


@pytest.mark.parametrize("was", [dataclasses.replace(A, paused=True), UNREADABLE])
def test_what_did_not_run_cannot_be_lost(was: Wanted) -> None:
    assert not lost([was])


def test_a_pause_that_is_over_does_not_count_as_one() -> None:
    paused = dataclasses.replace(A, paused=True, paused_until=100.0)
    assert not lost([paused], now=99.0)
    assert lost([paused], now=100.0) == {"a"}


def test_what_is_paused_or_changed_is_not_lost() -> None:
    assert not lost([A], dataclasses.replace(A, paused=True))
    assert not lost([A], dataclasses.replace(A, session=SessionName("other")))


def test_what_has_another_id_now_is_not_lost() -> None:
    assert not lost([A], dataclasses.replace(A, id=IntegrationId("b")))


def test_what_has_no_gateway_any_more_cannot_be_held_back() -> None:
    assert not lost([dataclasses.replace(A, gateway=GatewayName("gone"))])
