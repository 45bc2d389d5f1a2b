"""The changes of one command: each written or commanded, then answered and waited for together, then what failed.

A change that fails does not keep the others from being made; the command still ends with the failure's exit code. What
a daemon is told to do once is answered by it within a moment, and the answer is shown, whether or not the outcome is
waited for.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wa_supervisor.cli.answers import accepted, answers_to, operator, require_daemon, unaccepted
from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.failing import CommandError, warn
from wa_supervisor.cli.reaching import desk_at, now, operator_desk
from wa_supervisor.cli.records import revision_of
from wa_supervisor.cli.waiting import (
    ANSWER_TIMEOUT,
    Goal,
    Judgement,
    Progress,
    following,
    gone,
    restarted,
    wait_for,
)
from wa_supervisor.cli.whereabouts import whereabouts_of
from wa_supervisor.cli.words import one_line
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.status import CommandResult, SessionStatus

if TYPE_CHECKING:
    from wa_supervisor.adapters.redis.desk import Change, OperatorDesk
    from wa_supervisor.cli.judging import Judge

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_TIMEOUT = 60.0
"""Seconds that `--wait` waits: a browser needs some ten, and twice that when others start before it."""


def waiting(command: Command) -> Command:
    """Give a command the option `wait`: seconds to wait, or `None`."""

    @functools.wraps(command)
    def with_wait(*args: Any, wait: bool, timeout: float | None, **kwargs: Any) -> Any:  # noqa: ANN401 - any command
        seconds = DEFAULT_TIMEOUT if timeout is None else timeout
        return command(*args, wait=seconds if wait or timeout is not None else None, **kwargs)

    help_text = f"Seconds to wait at most; {DEFAULT_TIMEOUT:g} when only --wait is given. Too late is exit code 5."
    timeout = click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help=help_text)
    return click.option("--wait", is_flag=True, help="Wait until the daemon has done it.")(timeout(with_wait))  # type: ignore[return-value]  # click keeps the function's type only where it is a plain one


class Changes:
    """What one command changes."""

    def __init__(self, desk: OperatorDesk, judge: Judge | None = None) -> None:
        self.desk = desk
        self._judge = judge
        self._goals: dict[str, Goal] = {}
        self._failures: list[CommandError] = []
        self._commands: dict[str, str] = {}
        self._verb = ""
        self._answers: dict[str, CommandResult] = {}

    @property
    def are_made(self) -> bool:
        """Whether anything was written or commanded."""
        return bool(self._goals)

    def command(self, verb: str, names: Sequence[str], reason: str) -> None:
        """Give a one-off command for each integration. Raises `CommandError` when no daemon is alive to hear it."""
        require_daemon(self.desk, verb)
        self._verb = verb
        self._commands = dict(zip(names, self.desk.command(verb, names, reason, by=operator()), strict=True))
        for name, command in self._commands.items():
            self._goals[name] = restarted(command, self._answers)

    def hear(self, wait: float | None) -> None:
        """Show what became of the commands; what is refused or not answered has failed.

        With a `wait` of so many seconds one that is not answered yet has not failed.
        """
        if not self._commands:
            return
        timeout = ANSWER_TIMEOUT if wait is None else min(wait, ANSWER_TIMEOUT)
        self._answers.update(answers_to(self.desk, [*self._commands.values()], timeout=timeout))
        for name, command in self._commands.items():
            answer = self._answers.get(command)
            if answer is None and wait is not None:
                click.echo(f"{one_line(name)}: told to {self._verb}")
                continue
            if answer is None or not answer.accepted:
                del self._goals[name]
            with self.attempt():
                message = accepted(name, self._verb, answer).message
                click.echo(f"{one_line(name)}: {self._verb} accepted: {one_line(message)}")

    def write(self, name: str, change: Change, done: str) -> None:
        """Change one record; a `CommandError` of `change` is kept for the end. `done` is what is told."""
        before: list[bytes | None] = []

        def remembered(old: bytes | None) -> bytes | None:
            before[:] = [old]
            return change(old)

        with self.attempt():
            new = self.desk.write(name, remembered)
            is_new = [new] != before
            click.echo(f"{one_line(name)}: {done if is_new else 'nothing to change'}")
            self.aim(name, gone if new is None else following(revision_of(name, new), _target(new)))

    def write_judged(self, name: str, change: Change, done: str) -> None:
        """Change one record to one that can be followed."""
        warnings: set[str] = set()

        def judged(old: bytes | None) -> bytes | None:
            new = change(old)
            if new is not None and self._judge is not None:
                warning = self._judge.refuse(name, new, self.desk.wishes())
                warnings.update([warning] if warning else [])
            return new

        self.write(name, judged, done)
        for warning in warnings:
            warn(warning)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Keep a failure for the end, so that others are still tried."""
        try:
            yield
        except CommandError as error:
            self._failures.append(error)

    def aim(self, name: str, goal: Goal) -> None:
        """Say what waiting is for."""
        self._goals[name] = goal

    def wait(self, seconds: float) -> None:
        """Wait until every goal is reached or out of reach, for at most so many seconds."""
        judgements = wait_for(self._look, self._goals, self._tell, timeout=seconds)
        for name, judgement in judgements.items():
            if judgement.progress is Progress.NOT_YET:
                sentence = f"{name}: not in {seconds:g} s; {judgement.words}"
                self._failures.append(CommandError(sentence, code=Exit.TIMED_OUT))

    def end(self) -> None:
        """Raise what failed, as one."""
        if self._failures:
            sentences = [sentence for failure in self._failures for sentence in failure.sentences]
            raise CommandError(*sentences, code=self._failures[0].code)

    def _look(self) -> Mapping[str, SessionStatus]:
        self._answers.update(self.desk.answers(unaccepted(self._commands.values(), self._answers)))
        return self.desk.statuses_of([*self._goals])

    def _tell(self, name: str, judgement: Judgement) -> None:
        if judgement.progress is Progress.REACHED:
            click.echo(f"{one_line(name)}: is {judgement.words}")
        else:
            self._failures.append(CommandError(f"{name}: {judgement.words}"))


@contextmanager
def changes_at(path: Path | None, *, embedded: bool, wait: float | None) -> Iterator[Changes]:
    """Give the changes of a command; at the end of the block they are waited for, and failures are raised."""
    with operator_desk(path, embedded=embedded) as desk:
        yield from _carried_out(Changes(desk), wait)


@contextmanager
def judged_changes_at(path: Path | None, *, embedded: bool, wait: float | None) -> Iterator[Changes]:
    """Do the same with records that must be such as can be followed; reads the whole configuration for that."""
    from wa_supervisor.cli.judging import judge_of
    from wa_supervisor.config import load_settings

    loaded = load_settings(path, os.environ, needs_gateway=False)
    with desk_at(whereabouts_of(loaded), embedded=embedded) as desk:
        yield from _carried_out(Changes(desk, judge_of(loaded.settings)), wait)


def _carried_out(changes: Changes, wait: float | None) -> Iterator[Changes]:
    yield changes
    if changes.are_made and not changes.desk.daemons():
        warn("no daemon is alive; it takes effect when one is started")
    changes.hear(wait)
    if wait is not None:
        changes.wait(wait)
    changes.end()


def _target(record: bytes) -> State:
    from wa_supervisor.cli.records import decoded

    given: Mapping[str, object] = decoded("", record)
    until = given.get("paused_until")
    is_over = isinstance(until, int | float) and until <= now()
    return State.PAUSED if given.get("paused") is True and not is_over else State.RUNNING
