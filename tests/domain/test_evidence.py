"""How sure it is that a session only looks alive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.strategies import patient
from wa_supervisor.domain.evidence import SUSPECTED_LONGEST, Evidence, Opinion, Verdict, in_words, judge, sureness

EVIDENCE = st.builds(
    Evidence,
    pages_gone=st.integers(0, 5),
    silent_sends=st.integers(0, 50),
    silence=st.floats(0, 1e7),
    rate=st.floats(0, 1 / 60),
)
HOUR = 3600.0


def thought_of(evidence: Evidence, suspected_for: float = 0.0) -> Verdict:
    """Give the verdict under the usual thresholds."""
    return judge(evidence, suspect_at=0.5, certain_at=0.9, suspected_for=suspected_for).verdict


def test_nothing_known_is_one_in_a_thousand() -> None:
    assert sureness(Evidence()) == pytest.approx(0.001, rel=0.01)
    assert thought_of(Evidence()) is Verdict.ALIVE


def test_a_page_that_is_gone_suspects_at_once_and_is_certain_at_the_third_look() -> None:
    verdicts = [thought_of(Evidence(pages_gone=looks)) for looks in (1, 2, 3)]
    assert verdicts == [Verdict.SUSPECT, Verdict.SUSPECT, Verdict.ZOMBIE]


def test_a_page_that_is_gone_keeps_replies_back_whatever_the_threshold() -> None:
    gone = Evidence(pages_gone=1)
    assert judge(gone, suspect_at=0.8, certain_at=0.9, suspected_for=0.0).verdict is Verdict.SUSPECT


def test_one_message_without_ack_is_no_reason_two_are_a_suspicion_three_are_enough() -> None:
    verdicts = [thought_of(Evidence(silent_sends=sends)) for sends in (1, 2, 3)]
    assert verdicts == [Verdict.ALIVE, Verdict.SUSPECT, Verdict.ZOMBIE]


def test_a_suspicion_that_nothing_disproves_becomes_certain() -> None:
    suspect = Evidence(silent_sends=2)
    assert thought_of(suspect, suspected_for=SUSPECTED_LONGEST - 1) is Verdict.SUSPECT
    assert thought_of(suspect, suspected_for=SUSPECTED_LONGEST) is Verdict.ZOMBIE


def test_a_session_that_talks_every_minute_and_is_silent_for_hours_is_a_zombie_and_before_that_is_not_held_up() -> None:
    verdicts = [thought_of(Evidence(rate=1 / 60, silence=hours * HOUR)) for hours in (0.25, 1, 2, 4)]
    assert verdicts == [Verdict.ALIVE, Verdict.ALIVE, Verdict.ALIVE, Verdict.ZOMBIE]


def test_silence_makes_a_message_without_ack_weigh_more() -> None:
    assert thought_of(Evidence(silent_sends=1, rate=1 / 60, silence=0.15 * HOUR)) is Verdict.SUSPECT


def test_a_session_that_is_hardly_used_may_be_silent_for_a_week() -> None:
    assert thought_of(Evidence(rate=3 / 86_400, silence=7 * 86_400)) is Verdict.ALIVE
    assert thought_of(Evidence(rate=0.0, silence=1e7)) is Verdict.ALIVE


@given(one=EVIDENCE, two=EVIDENCE)
@patient
def test_more_of_everything_never_makes_it_less_sure(one: Evidence, two: Evidence) -> None:
    most = Evidence(
        **{
            name: max(getattr(one, name), getattr(two, name))
            for name in ("pages_gone", "silent_sends", "silence", "rate")
        }
    )
    assert 0 <= max(sureness(one), sureness(two)) <= sureness(most) <= 1


@given(evidence=EVIDENCE, suspected_for=st.floats(0, 1e6))
@patient
def test_the_verdict_follows_from_the_sureness(evidence: Evidence, suspected_for: float) -> None:
    opinion = judge(evidence, suspect_at=0.5, certain_at=0.9, suspected_for=suspected_for)
    assert opinion == Opinion(verdict=opinion.verdict, sureness=sureness(evidence))
    if opinion.sureness >= 0.9:
        assert opinion.verdict is Verdict.ZOMBIE
    if opinion.verdict is not Verdict.ALIVE:
        assert opinion.sureness >= 0.5


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (Evidence(), "nothing speaks against it; 0% sure"),
        (Evidence(pages_gone=1), "its page is not connected (1 look); 50% sure"),
        (Evidence(silent_sends=1), "WhatsApp acknowledged none of 1 message; 4% sure"),
        (Evidence(silent_sends=9), "WhatsApp acknowledged none of 9 messages; 100% sure"),
        (
            Evidence(rate=1 / 60, silence=4 * HOUR),
            "silent for 4 h in which traffic was expected 240 times; 94% sure",
        ),
        (Evidence(rate=1 / 600, silence=600), "silent for 10 min in which traffic was expected 1 time; 0% sure"),
    ],
)
def test_says_what_speaks_against_it_and_how_sure_that_is(evidence: Evidence, words: str) -> None:
    assert in_words(evidence, sureness(evidence)) == f"{words} that it only looks alive"
