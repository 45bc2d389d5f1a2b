"""Two minutes of chaos against the real daemon, and that its plans and its judgements are what they should be.

The run itself takes two minutes and more, so it is for continuous integration: set WA_TEST_REQUIRE_ALL=1, or
WA_TEST_CHAOS=1 for this alone. It is the command that anybody can run, in a process of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.benchmarks.chaos import verdict
from tests.benchmarks.chaos.book import Book
from tests.benchmarks.chaos.misfortune import PLAYS
from tests.benchmarks.chaos.play import Scene
from tests.benchmarks.chaos.schedule import DEATHS, LEFT, RECIPES, REST, Cast, Fault, Kind, plan
from tests.benchmarks.chaos.traffic import Messages
from tests.benchmarks.chaos.vitals import Vitals, least, look_at, tasks_told
from tests.servers import is_everything_required, why_no_servers
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.status import SessionStatus

ROOT = Path(__file__).parents[2]
CAST = Cast(sessions=tuple(f"s{number:03}" for number in range(12)), gateways=("g1", "g2"), extra=("x000",))
NOW = 1_790_000_000.0

is_wanted = is_everything_required() or os.environ.get("WA_TEST_CHAOS") == "1"
takes_minutes = pytest.mark.skipif(not is_wanted, reason="takes minutes; set WA_TEST_CHAOS=1 to run it")
needs_servers = pytest.mark.skipif(bool(why_no_servers()) and not is_everything_required(), reason=why_no_servers())


def chaos(*words: str) -> subprocess.Popen[str]:
    """Start the benchmark."""
    command = [sys.executable, "-m", "tests.benchmarks.chaos", "--json", *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.acceptance
@takes_minutes
@needs_servers
def test_after_two_minutes_of_faults_everything_is_as_it_should_be_and_nothing_has_leaked() -> None:
    process = chaos("--minutes", "2", "--sessions", "20")
    out, said = process.communicate(timeout=900)
    found = json.loads(out)
    assert found["missed"] == [], said
    assert process.returncode == 0


@pytest.mark.acceptance
@takes_minutes
@needs_servers
def test_an_interrupted_run_ends_tidily_and_says_so() -> None:
    process = chaos("--minutes", "2", "--sessions", "6")
    assert process.stderr is not None
    while "faults I" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert json.loads(out)["ok"] is False


def planned(seed: int, **how: bool) -> tuple[Fault, ...]:
    """Give a plan of five minutes."""
    return plan(seed, CAST, seconds=300.0, spacing=1.0, **{"with_deaths": True, "with_left": True} | how)


def test_a_plan_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert planned(1) == planned(1)
    assert planned(1) != planned(2)


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_is_played_before_long(seed: int) -> None:
    assert {fault.kind for fault in planned(seed)} == set(Kind)


@pytest.mark.parametrize("seed", range(5))
def test_nobody_has_two_faults_at_once(seed: int) -> None:
    free_at: dict[str, float] = {}
    for fault in planned(seed):
        assert fault.at >= free_at.get(fault.target, 0.0)
        free_at[fault.target] = fault.at + fault.lasts + REST


@pytest.mark.parametrize("seed", range(5))
def test_faults_are_bounded_in_number_and_time(seed: int) -> None:
    faults = planned(seed)
    assert len(faults) <= 300 / 0.5 + len(LEFT)
    assert all(fault.lasts <= RECIPES[fault.kind].longest for fault in faults)
    assert all(fault.at + fault.lasts <= 300.0 for fault in faults if not fault.is_left)


def test_the_causes_that_nobody_takes_back_come_last_each_for_one_session() -> None:
    left = [fault for fault in planned(3) if fault.is_left]
    assert [fault.kind for fault in left] == list(LEFT)
    assert len({fault.target for fault in left}) == len(LEFT)


def test_the_daemon_dies_only_before_what_it_holds_is_measured() -> None:
    first, second = Scene(minutes=30).plans
    assert DEATHS & {fault.kind for fault in first}
    assert not DEATHS & {fault.kind for fault in second}


@pytest.mark.parametrize("seed", range(10))
def test_the_daemon_dies_in_a_short_run_too(seed: int) -> None:
    first, _ = Scene(seed=seed, minutes=1).plans
    assert DEATHS & {fault.kind for fault in first}


def test_every_kind_has_a_recipe_and_somebody_who_plays_it() -> None:
    assert set(RECIPES) == set(PLAYS) == set(Kind)


def status(name: str, state: State, *, observed_at: float = NOW) -> SessionStatus:
    """Give the status of an integration."""
    return SessionStatus(
        id=IntegrationId(name),
        agent_id=None,
        session=None,
        gateway=None,
        state=state,
        reason="Reason",
        message="",
        since=NOW - 5,
        observed_at=observed_at,
    )


@pytest.mark.parametrize(
    ("statuses", "found"),
    [
        ({"s000": status("s000", State.RUNNING)}, []),
        ({"s000": status("s000", State.BACKOFF)}, ["backoff"]),
        ({"s000": status("s000", State.RUNNING, observed_at=NOW - 100)}, ["stale"]),
        ({}, ["absent"]),
        ({"s000": status("s000", State.RUNNING), "s001": status("s001", State.RUNNING)}, ["running"]),
        ({"s000": status("s000", State.RUNNING), "s001": status("s001", State.STOPPED)}, []),
    ],
)
def test_a_state_is_wrong_when_the_wish_and_the_faults_call_for_another(
    statuses: dict[str, SessionStatus], found: list[str]
) -> None:
    book = Book(("s000",), ("g1",))
    assert [each.found for each in verdict.wrong_states("last", book, statuses, NOW)] == found


def test_a_session_that_is_called_running_must_be_connected_at_its_gateway_over_one_connection() -> None:
    book = Book(("s000", "s001"), ("g1",))
    book.declared["s001"].calls_for = frozenset({State.PAUSED})
    alive = {"status": "CONNECTED", "page": "alive"}
    shown = {"g1": {"s000-number": alive}}
    assert verdict.wrong_at_gateway("last", book, shown, {"g1": 1}) == []
    shown = {"g1": {"s000-number": alive | {"page": "crashed"}, "s001-number": alive}}
    assert [each.id for each in verdict.wrong_at_gateway("last", book, shown, {"g1": 2})] == ["s000", "s001", "g1"]


def vitals(fds: int, *, rss_mb: float = 80.0, kind: str = "unix") -> Vitals:
    """Give a look at a process."""
    return Vitals(fds=fds, threads=3, rss_mb=rss_mb, tasks=None, kinds=Counter({kind: fds}))


def judged(before: Vitals, after: Vitals) -> list[str]:
    """Judge growth alone."""
    none = Messages(
        written=0, emitted=0, heard=0, replied=0, answered=0, lost_in=0, lost_out=0, heard_twice=[], received_twice=[]
    )
    grown = verdict.growth(before, after, {"g1": "tcp to 1"})
    return verdict.missed(wrong=[], grown=grown, messages=none, unanswered=[], unordered=[], leaks=0, unplayed=[])


def test_what_grows_is_told_and_what_is_pooled_is_not() -> None:
    assert judged(vitals(20), vitals(24)) == []
    assert len(judged(vitals(20), vitals(60))) == 1
    assert judged(vitals(2, kind="tcp to 1"), vitals(17, kind="tcp to 1")) == []
    assert len(judged(vitals(2, kind="tcp to 1"), vitals(30, kind="tcp to 1"))) == 1
    assert len(judged(vitals(20), vitals(20, rss_mb=120.0))) == 1


def test_the_least_of_several_looks_counts_each_figure_for_itself() -> None:
    assert least([vitals(9, rss_mb=70.0), vitals(8, rss_mb=90.0)]) == vitals(8, rss_mb=70.0)


def test_a_process_is_looked_at_from_outside() -> None:
    read, write = os.pipe()
    before = look_at(os.getpid())
    os.close(read)
    os.close(write)
    after = look_at(os.getpid())
    assert before.fds - after.fds == 2
    assert before.kinds["pipe"] - after.kinds["pipe"] == 2
    assert after.rss_mb > 1


def test_tasks_are_known_when_the_daemon_tells_them() -> None:
    assert tasks_told("# HELP x\nwa_event_loop_tasks 42\n") == 42
    assert tasks_told("wa_ready 1\n") is None


def test_errors_of_the_log_are_counted_by_reason_and_complaints_about_leaks_apart() -> None:
    lines: list[dict[str, object]] = [
        {"level": "error", "message": "trouble", "where": "feed", "error": {"type": "KeyError"}},
        {"level": "info", "message": "ready"},
        {"level": "error", "logger": "asyncio", "message": "Task was destroyed but it is pending!"},
    ]
    counted = verdict.errors_by_reason(lines)
    assert counted == {"trouble: feed: KeyError": 1, "Task was destroyed but it is pending!": 1}
    assert verdict.leaks_told(lines) == 1
