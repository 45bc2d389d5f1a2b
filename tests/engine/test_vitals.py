"""Signs of life are counted by the minute, and silence is evidence only where traffic is expected."""

from __future__ import annotations

import math

import anyio
import pytest

from wa_supervisor.engine.vitals import ENOUGH, KNOWN_AFTER, MINUTE, REMEMBERED, Vitals

pytestmark = pytest.mark.anyio


async def talk(vitals: Vitals, minutes: int, *, every: float = MINUTE, times: int = 1) -> None:
    """Have a wave of messages every so many seconds."""
    for _ in range(minutes):
        for _ in range(times):
            vitals.proof()
        await anyio.sleep(every)


async def test_a_session_of_which_nothing_is_known_has_nothing_against_it_but_its_age() -> None:
    vitals = Vitals()
    assert vitals.last_proof == -math.inf
    await anyio.sleep(50)
    evidence = vitals.evidence()
    assert (evidence.pages_gone, evidence.silent_sends, evidence.rate) == (0, 0, 0.0)
    assert evidence.silence == pytest.approx(50)


async def test_what_comes_from_whatsapp_makes_all_that_spoke_against_it_void() -> None:
    vitals = Vitals()
    vitals.silent_send()
    vitals.silent_send()
    vitals.page(is_there=False)
    await anyio.sleep(100)
    assert (vitals.evidence().silent_sends, vitals.evidence().pages_gone) == (2, 1)
    vitals.proof()
    evidence = vitals.evidence()
    assert (evidence.silent_sends, evidence.pages_gone, evidence.silence) == (0, 0, 0.0)
    assert vitals.last_proof == anyio.current_time()


async def test_looks_in_a_row_that_find_no_page_add_up_and_one_that_finds_it_ends_that() -> None:
    vitals = Vitals()
    for count in (1, 2, 3):
        vitals.page(is_there=False)
        assert vitals.evidence().pages_gone == count
    vitals.page(is_there=True)
    assert vitals.evidence().pages_gone == 0


async def test_a_wave_of_messages_counts_as_one_minute() -> None:
    few, many = Vitals(), Vitals()
    for _ in range(30):
        few.proof()
        for _ in range(50):
            many.proof()
        await anyio.sleep(MINUTE)
    assert many.evidence().rate == few.evidence().rate > 0


async def test_the_rate_of_a_session_that_is_used_every_five_minutes_is_about_that() -> None:
    vitals = Vitals()
    await talk(vitals, 100, every=5 * MINUTE)
    assert vitals.evidence().rate == pytest.approx(1 / (5 * MINUTE), rel=0.2)


async def test_nothing_is_expected_before_it_was_watched_for_a_while() -> None:
    vitals = Vitals()
    await talk(vitals, int(KNOWN_AFTER / MINUTE))
    assert vitals.evidence().rate == 0.0
    await talk(vitals, 1)
    assert vitals.evidence().rate == pytest.approx(1 / MINUTE, rel=0.2)


async def test_nothing_is_expected_of_a_session_that_is_hardly_used() -> None:
    vitals = Vitals()
    await talk(vitals, int(ENOUGH) - 1, every=KNOWN_AFTER)
    assert vitals.evidence().rate == 0.0


async def test_silence_does_not_lessen_what_was_expected_before_it() -> None:
    vitals = Vitals()
    await talk(vitals, 60)
    rate = vitals.evidence().rate
    await anyio.sleep(5 * REMEMBERED)
    evidence = vitals.evidence()
    assert evidence.rate == rate
    assert evidence.silence == pytest.approx(5 * REMEMBERED + MINUTE)


async def test_habits_of_long_ago_are_forgotten() -> None:
    vitals = Vitals()
    await talk(vitals, 120)
    busy = vitals.evidence().rate
    await talk(vitals, 50, every=20 * MINUTE)
    assert vitals.evidence().rate < busy / 5
