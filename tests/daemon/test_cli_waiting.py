"""Waiting, in time that the test makes up: what counts as reached, and when it is given up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from tests.daemon.cli_room import make_status
from wa_supervisor.cli.waiting import (
    Goal,
    Judgement,
    Patience,
    Progress,
    answered,
    following,
    gone,
    restarted,
    wait_for,
)
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.status import CommandResult, SessionStatus

REACHED, NOT_YET, LOST = Progress.REACHED, Progress.NOT_YET, Progress.OUT_OF_REACH


def status(state: State = State.RUNNING, **fields: object) -> SessionStatus:
    return make_status("acme", state, **({"observed_generation": "new"} | fields))


@pytest.mark.parametrize(
    ("told", "progress"),
    [
        (None, NOT_YET),
        (status(observed_generation="old"), NOT_YET),
        (status(State.PAUSED, observed_generation="old"), NOT_YET),
        (status(State.STARTING), NOT_YET),
        (status(State.AWAITING_LOGIN), NOT_YET),
        (status(State.PAUSED), NOT_YET),
        (status(State.QUARANTINED), LOST),
        (status(State.INVALID), LOST),
        (status(State.QUARANTINED, observed_generation="old"), NOT_YET),
        (status(), REACHED),
    ],
)
def test_a_change_is_followed_once_its_own_revision_runs(told: SessionStatus | None, progress: Progress) -> None:
    assert following("new", State.RUNNING)(told).progress is progress


def result(command: str, *, at: float = 100.0, accepted: bool = True) -> CommandResult:
    return CommandResult(id=command, verb="restart", at=at, accepted=accepted, message="m")


@pytest.mark.parametrize(
    ("told", "progress"),
    [
        (None, NOT_YET),
        (status(), NOT_YET),
        (status(last_command=result("4-9"), since=200.0), NOT_YET),
        (status(last_command=result("5-1"), since=99.0), NOT_YET),
        (status(State.STARTING, last_command=result("5-1"), since=101.0), NOT_YET),
        (status(State.QUARANTINED, last_command=result("5-1"), since=101.0), LOST),
        (status(last_command=result("5-1", accepted=False), since=200.0), LOST),
        (status(last_command=result("5-1"), since=100.0), REACHED),
        (status(last_command=result("5-2"), since=101.0), REACHED),
        (status(last_command=result("10-0"), since=101.0), REACHED),
        (status(last_command=result("garbage"), since=101.0), NOT_YET),
    ],
)
def test_a_restart_is_done_once_a_status_says_that_it_was_answered_and_the_session_runs_since(
    told: SessionStatus | None, progress: Progress
) -> None:
    assert restarted("5-1", {})(told).progress is progress


@pytest.mark.parametrize(
    ("told", "progress"),
    [
        (None, NOT_YET),
        (status(since=99.0), NOT_YET),
        (status(State.QUARANTINED, since=99.0), NOT_YET),
        (status(State.STARTING, since=101.0), NOT_YET),
        (status(State.QUARANTINED, since=101.0), LOST),
        (status(since=100.0), REACHED),
    ],
)
def test_a_restart_is_done_once_it_was_answered_and_the_session_runs_since(
    told: SessionStatus | None, progress: Progress
) -> None:
    assert restarted("5-1", {"5-1": result("5-1")})(told).progress is progress


def test_what_was_refused_is_out_of_reach_whatever_the_status_says() -> None:
    judgement = restarted("5-1", {"5-1": result("5-1", accepted=False)})(status(since=200.0))
    assert (judgement.progress, judgement.words) == (LOST, "m")


def test_a_command_is_answered_once_its_answer_is_there() -> None:
    answers: dict[str, CommandResult] = {}
    goal = answered("5-1", answers)
    assert goal(None).progress is NOT_YET
    answers["5-1"] = result("5-1", accepted=False)
    assert goal(None).progress is LOST
    answers["5-1"] = result("5-1")
    assert goal(None) == Judgement(progress=REACHED, words="m")


def test_a_removal_is_done_once_there_is_no_status() -> None:
    assert gone(None).progress is REACHED
    assert gone(status(State.DRAINING)).progress is NOT_YET


@dataclass
class Story:
    """Statuses as they come, one reading after the other; each sleep takes the time that it is asked for."""

    scenes: Sequence[Mapping[str, SessionStatus]]
    at: float = 0.0
    told: list[tuple[str, Progress]] = field(default_factory=list)
    readings: int = 0

    def statuses(self) -> Mapping[str, SessionStatus]:
        self.readings += 1
        return self.scenes[min(self.readings, len(self.scenes)) - 1]

    def wait(self, goals: Mapping[str, Goal], timeout: float) -> dict[str, Judgement]:
        return wait_for(
            self.statuses,
            goals,
            lambda name, judgement: self.told.append((name, judgement.progress)),
            timeout=timeout,
            patience=Patience(poll=1.0, settle=2.0),
            clock=lambda: self.at,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.at += seconds


GOAL = following("new", State.RUNNING)


def scenes(*states: State) -> Iterator[Mapping[str, SessionStatus]]:
    return ({"acme": status(state)} for state in states)


def test_each_goal_is_told_once_when_it_is_reached() -> None:
    story = Story(
        [{}, {"bolt": status()}, {"bolt": status(State.BACKOFF)}, {"acme": status(), "bolt": status(State.BACKOFF)}]
    )
    judgements = story.wait({"acme": GOAL, "bolt": GOAL}, 60)
    assert story.told == [("bolt", REACHED), ("acme", REACHED)]
    assert {name: each.progress for name, each in judgements.items()} == {"acme": REACHED, "bolt": REACHED}
    assert story.at == 3.0


def test_a_goal_that_is_out_of_reach_for_a_moment_is_not_given_up() -> None:
    story = Story([*scenes(State.QUARANTINED, State.QUARANTINED, State.STARTING, State.QUARANTINED, State.RUNNING)])
    assert story.wait({"acme": GOAL}, 60)["acme"].progress is REACHED
    assert story.told == [("acme", REACHED)]


def test_a_goal_that_stays_out_of_reach_is_given_up_early() -> None:
    story = Story([*scenes(State.STARTING, State.QUARANTINED)])
    assert story.wait({"acme": GOAL}, 60)["acme"].progress is LOST
    assert story.told == [("acme", LOST)]
    assert story.at == 3.0


def test_waiting_ends_at_its_limit_with_a_last_look() -> None:
    story = Story([*scenes(State.STARTING)])
    judgement = story.wait({"acme": GOAL}, 2.5)["acme"]
    assert (judgement.progress, judgement.words) == (NOT_YET, "starting: it is starting")
    assert (story.at, story.told, story.readings) == (2.5, [], 4)


def test_no_time_at_all_is_one_look() -> None:
    story = Story([*scenes(State.RUNNING)])
    assert story.wait({"acme": GOAL}, 0)["acme"].progress is REACHED
    assert (story.at, story.readings) == (0.0, 1)


def test_waiting_for_nothing_ends_at_once() -> None:
    assert Story([{}]).wait({}, 60) == {}
