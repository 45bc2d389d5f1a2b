"""The restart budget: failures add up, fade, and can be taken back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.strategies import patient
from wa_supervisor.domain.budget import MOST, Budget

EMPTY = Budget(limit=5.0, half_life=600.0)
TIMES = st.lists(st.floats(0, 1e6), max_size=40).map(sorted)


def charged(*times: float) -> Budget:
    """Give a budget charged at these times."""
    budget = EMPTY
    for at in times:
        budget = budget.charged(at)
    return budget


def test_a_failure_counts_half_after_a_half_life() -> None:
    budget = charged(1000.0)
    assert budget.score(1000.0) == 1.0
    assert budget.score(1600.0) == pytest.approx(0.5)
    assert budget.score(2200.0) == pytest.approx(0.25)


def test_five_failures_at_once_are_not_beyond_a_limit_of_five_and_six_are() -> None:
    assert not charged(*[10.0] * 5).is_spent(10.0)
    assert charged(*[10.0] * 6).is_spent(10.0)


def test_a_failure_a_day_is_never_too_much() -> None:
    assert not any(charged(*(day * 86_400.0 for day in range(n))).is_spent(n * 86_400.0) for n in range(40))


def test_what_is_refunded_never_happened() -> None:
    assert charged(1.0, 2.0, 30.0, 31.0).refunded(30.0) == charged(1.0, 2.0)


@given(times=TIMES)
@patient
def test_remembers_no_more_than_it_must_and_never_scores_above_what_was_charged(times: list[float]) -> None:
    budget = charged(*times)
    now = times[-1] if times else 0.0
    assert len(budget.charges) <= MOST
    assert 0 <= budget.score(now) <= len(times)
    assert budget.score(now + 600) == pytest.approx(budget.score(now) / 2)
    assert charged(*times, now + 1e9).charges == (now + 1e9,)


def test_a_flood_of_failures_is_bounded() -> None:
    assert len(charged(*map(float, range(MOST + 100))).charges) == MOST
