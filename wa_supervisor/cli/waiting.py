"""Waiting until answers and statuses say that what was asked for has come true.

A goal judges a status: reached, not yet, or out of reach. The statuses are read again and again, because they are what
the daemon vouches for; nothing here watches the sessions themselves. A command's answer has a key of its own, which
the goals are given as a mapping that whoever reads the statuses keeps up to date.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from wa_supervisor.cli.words import one_line
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.status import CommandResult, SessionStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How waiting is done; seconds."""

    poll: float = 0.25
    """Between two readings: a daemon gathers changes for 0.2 s before it writes them."""
    settle: float = 2.0
    """For which a goal must stay out of reach: a state from before the change may still stand beside its revision."""


ANSWER_TIMEOUT = 2.0
"""Seconds to wait for the answer to a command, which a daemon gives within hundredths."""

ONE_DAEMON = Patience(poll=0.05, settle=0.0)
"""How an answer is waited for."""

SEVERAL_DAEMONS = Patience(poll=0.05, settle=0.5)
"""How it is waited for when one daemon may accept what another has refused."""


class Progress(Enum):
    """How far a goal is."""

    REACHED = "reached"
    NOT_YET = "not yet"
    OUT_OF_REACH = "out of reach"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How far a goal is, in words for a person."""

    progress: Progress
    words: str


Goal = Callable[[SessionStatus | None], Judgement]
"""From a session's status, `None` when there is none, to how far the goal is."""

_UNANSWERED = Judgement(progress=Progress.NOT_YET, words="no daemon has answered yet")

_GIVEN_UP = frozenset({State.QUARANTINED, State.INVALID})


def following(revision: str, target: State) -> Goal:
    """The daemon follows this revision of the record, and the session is in `target`."""

    def judge(status: SessionStatus | None) -> Judgement:
        if status is None or status.observed_generation != revision:
            return Judgement(progress=Progress.NOT_YET, words="no daemon has followed the change yet")
        return _judged(status, is_reached=status.state is target)

    return judge


def answered(command: str, answers: Mapping[str, CommandResult]) -> Goal:
    """The command was accepted; whatever comes of it."""

    def judge(status: SessionStatus | None) -> Judgement:
        del status
        answer = answers.get(command)
        if answer is None:
            return _UNANSWERED
        progress = Progress.REACHED if answer.accepted else Progress.OUT_OF_REACH
        return Judgement(progress=progress, words=one_line(answer.message))

    return judge


def restarted(command: str, answers: Mapping[str, CommandResult]) -> Goal:
    """The command was accepted, and the session has come to run since."""

    def judge(status: SessionStatus | None) -> Judgement:
        answer = answers.get(command) or _answer_in(status, command)
        if answer is None:
            return _UNANSWERED
        if not answer.accepted:
            return Judgement(progress=Progress.OUT_OF_REACH, words=one_line(answer.message))
        if status is None or status.since < answer.at:
            return Judgement(progress=Progress.NOT_YET, words=one_line(answer.message))
        return _judged(status, is_reached=status.state is State.RUNNING)

    return judge


def gone(status: SessionStatus | None) -> Judgement:
    """The daemon has let go of the session."""
    if status is None:
        return Judgement(progress=Progress.REACHED, words="gone")
    return Judgement(progress=Progress.NOT_YET, words=_told(status))


def wait_for(
    statuses: Callable[[], Mapping[str, SessionStatus]],
    goals: Mapping[str, Goal],
    tell: Callable[[str, Judgement], None],
    *,
    timeout: float,
    patience: Patience | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Judgement]:
    """Wait for every goal for at most `timeout` seconds; give the last judgement of each.

    `tell` is called once for each goal that is reached or out of reach, when that is certain.
    """
    patience = patience or Patience()
    deadline = clock() + timeout
    settled: dict[str, Judgement] = {}
    doubted_since: dict[str, float] = {}
    while True:
        current = statuses()
        judgements = {name: settled.get(name) or goal(current.get(name)) for name, goal in goals.items()}
        for name, judgement in judgements.items():
            if name not in settled and _is_certain(name, judgement, doubted_since, clock() - patience.settle):
                settled[name] = judgement
                tell(name, judgement)
        if len(settled) == len(goals) or clock() >= deadline:
            return judgements
        doubted_since = {
            name: doubted_since.get(name, clock())
            for name, judgement in judgements.items()
            if judgement.progress is Progress.OUT_OF_REACH
        }
        sleep(min(patience.poll, max(deadline - clock(), 0.0)))


def _is_certain(name: str, judgement: Judgement, doubted_since: Mapping[str, float], long_ago: float) -> bool:
    if judgement.progress is Progress.OUT_OF_REACH:
        return name in doubted_since and doubted_since[name] <= long_ago
    return judgement.progress is Progress.REACHED


def _judged(status: SessionStatus, *, is_reached: bool) -> Judgement:
    if is_reached:
        return Judgement(progress=Progress.REACHED, words=status.state.value)
    progress = Progress.OUT_OF_REACH if status.state in _GIVEN_UP else Progress.NOT_YET
    return Judgement(progress=progress, words=_told(status))


def _told(status: SessionStatus) -> str:
    return f"{status.state.value}: {one_line(status.message or status.reason)}"


def _answer_in(status: SessionStatus | None, command: str) -> CommandResult | None:
    """Give the answer that a status has, to this command or a later one."""
    answer = status.last_command if status else None
    return answer if answer is not None and _number(answer.id) >= _number(command) else None


def _number(command: str) -> tuple[int, int]:
    """Order the ids of stream entries."""
    milliseconds, _, number = command.partition("-")
    return _int(milliseconds), _int(number)


def _int(digits: str) -> int:
    return int(digits) if digits.isdecimal() else 0
