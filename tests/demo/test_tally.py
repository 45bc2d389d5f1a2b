"""The tally is right whatever people receive: echoes that are missing, come again, or come to somebody else."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_supervisor.demo.tally import Clerk, DemoResult, Tally, percentile, tally
from wa_supervisor.simulator import Ledger, Received, Written
from wa_supervisor.simulator.agent import echo
from wa_supervisor.simulator.bell import Bell

_stanzas = itertools.count()


def written(text: str, *, session: str = "s", chat: str = "anna@c.us", at: float = 0.0) -> Written:
    return Written(
        session=session,
        chat=chat,
        person=chat,
        stanza=str(next(_stanzas)),
        kind="chat",
        text=text,
        from_me=False,
        emitted=True,
        at=at,
    )


def received(text: str, *, session: str = "s", chat: str = "anna@c.us", at: float = 1.0) -> Received:
    return Received(
        session=session, chat=chat, id=str(next(_stanzas)), kind="chat", text=text, route="send-message", at=at
    )


def answer_to(message: Written, *, later: float = 1.0) -> Received:
    return received(echo(message.text), session=message.session, chat=message.chat, at=message.at + later)


def ledger(*entries: Written | Received, limit: int = 1000) -> Ledger:
    made = Ledger(limit=limit, bell=Bell())
    for entry in entries:
        made.note_written(entry) if isinstance(entry, Written) else made.note_received(entry)
    return made


def counts(of: Tally) -> tuple[int, int, int, int]:
    return of.written, of.received, of.lost, of.duplicates


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of one message."""

    session: str
    chat: str
    text: str
    answers: int
    astray: Sequence[str] = field(default=())
    """Chats that get its echo and did not ask."""


fates = st.lists(
    st.builds(
        Fate,
        session=st.sampled_from(["one", "two"]),
        chat=st.sampled_from(["anna@c.us", "12345678901234@lid", "120363@g.us"]),
        text=st.sampled_from(["hello", "again"]),
        answers=st.integers(0, 3),
        astray=st.lists(st.sampled_from(["stranger@c.us", "other@lid"]), max_size=2),
    ),
    max_size=25,
)


@given(fates=fates, order=st.randoms(use_true_random=False))
def test_lost_and_duplicates_are_counted_right_for_any_mixture(fates: list[Fate], order: random.Random) -> None:
    asked = [written(each.text, session=each.session, chat=each.chat) for each in fates]
    told = [answer_to(message) for message, fate in zip(asked, fates, strict=True) for _ in range(fate.answers)]
    told += [received(echo(each.text), session=each.session, chat=chat) for each in fates for chat in each.astray]
    order.shuffle(told)
    # Messages of the same words in the same chat cannot be told apart, and need not be: any of their answers will do.
    alike: dict[tuple[str, str, str], list[int]] = {}
    for each in fates:
        alike.setdefault((each.session, each.chat, each.text), []).append(each.answers)
    lost = sum(max(0, len(group) - sum(group)) for group in alike.values())
    answered = len(fates) - lost
    assert counts(tally([ledger(*asked, *told)])) == (len(fates), len(told), lost, len(told) - answered)


@given(fates=fates, cuts=st.lists(st.integers(0, 100), max_size=5))
def test_it_makes_no_difference_how_often_the_clerk_looks(fates: list[Fate], cuts: list[int]) -> None:
    clock = itertools.count()
    entries: list[Written | Received] = []
    for each in fates:
        message = written(each.text, session=each.session, chat=each.chat, at=float(next(clock)))
        entries.append(message)
        entries += [answer_to(message, later=next(clock) - message.at) for _ in range(each.answers)]
    at_once = tally([ledger(*entries)])
    growing = ledger()
    clerk = Clerk([growing])
    for number, entry in enumerate(entries):
        growing.note_written(entry) if isinstance(entry, Written) else growing.note_received(entry)
        if number in cuts:
            clerk.catch_up()
    assert counts(clerk.catch_up()) == counts(at_once)
    assert list(clerk.tally.latencies) == list(at_once.latencies)
    assert counts(clerk.catch_up()) == counts(at_once)


def test_a_ledger_that_drops_its_oldest_entries_loses_nothing_that_was_counted() -> None:
    small = ledger(limit=4)
    clerk = Clerk([small])
    for number in range(100):
        message = written(f"m{number}", at=float(number))
        small.note_written(message)
        small.note_received(answer_to(message, later=0.5))
        clerk.catch_up()
    assert counts(clerk.tally) == (100, 100, 0, 0)
    assert set(clerk.tally.latencies) == {0.5}


def test_an_answer_in_another_chat_is_a_loss_and_a_duplicate() -> None:
    found = tally([ledger(written("hello"), received(echo("hello"), chat="bento@c.us"))])
    assert (found.lost, found.duplicates) == (1, 1)


def test_an_answer_by_another_session_is_a_loss_and_a_duplicate() -> None:
    found = tally([ledger(written("hello"), received(echo("hello"), session="other"))])
    assert (found.lost, found.duplicates) == (1, 1)


def test_an_answer_from_before_the_message_answers_nothing() -> None:
    found = tally([ledger(written("hello", at=5.0), received(echo("hello"), at=4.0))])
    assert (found.lost, found.duplicates) == (1, 1)


def test_words_that_are_no_echo_answer_nothing() -> None:
    assert counts(tally([ledger(written("hello"), received("hello"))])) == (1, 1, 1, 1)


def test_sessions_of_several_gateways_are_counted_together() -> None:
    one, two = written("hello", session="one"), written("hello", session="two")
    assert counts(tally([ledger(one, answer_to(one)), ledger(two)])) == (2, 1, 1, 0)


def test_the_first_answer_is_the_one_that_counts_for_latency() -> None:
    message = written("hello", at=10.0)
    found = tally([ledger(message, answer_to(message, later=0.25), answer_to(message, later=9.0))])
    assert list(found.latencies) == [0.25]
    assert repr(found) == "<Tally 1 written, 0 lost, 1 duplicates>"


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, 0.0), ([7.0], 0.5, 7.0), ([7.0], 0.99, 7.0), ([1.0, 2.0, 3.0], 0.5, 2.0), ([*range(100)], 0.99, 99)],
)
def test_percentiles_are_values_that_were_measured(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


@given(values=st.lists(st.floats(0, 100), min_size=1), share=st.floats(0, 1))
def test_no_more_than_the_share_lies_below_a_percentile(values: list[float], share: float) -> None:
    found = percentile(sorted(values), share)
    assert found in values
    assert sum(1 for value in values if value < found) <= share * len(values)


def result(**more: int) -> DemoResult:
    fine = {"sessions": 12, "running": 11, "invalid": 1, "messages_in": 5, "handed_over": 5, "replies_sent": 5}
    return DemoResult(**{"lost": 0, "duplicates": 0, "p50_ms": 1, "p99_ms": 2, "seconds": 3, **fine, **more})


def test_only_a_result_without_loss_and_duplicate_is_flawless() -> None:
    assert result().is_flawless
    assert not result(lost=1).is_flawless
    assert not result(duplicates=1).is_flawless


def test_a_result_is_complete_when_all_but_the_invalid_session_run() -> None:
    assert result().is_complete
    assert not result(running=10).is_complete
