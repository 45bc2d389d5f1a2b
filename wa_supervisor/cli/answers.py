"""One-off commands to daemons, and what they answer.

A command is for the daemons that are alive when it is given. Each answers it within a moment, accepted or refused and
why, under a key of its own; an acceptance by one stands above the refusals of others. What comes of an accepted command
is not waited for here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.failing import CommandError
from wa_supervisor.cli.waiting import ANSWER_TIMEOUT, ONE_DAEMON, SEVERAL_DAEMONS, answered, wait_for
from wa_supervisor.domain.status import CommandResult, SessionStatus

if TYPE_CHECKING:
    from wa_supervisor.adapters.redis.desk import OperatorDesk


def require_daemon(desk: OperatorDesk, verb: str) -> None:
    """Raise `CommandError` when no daemon is alive to be commanded: a command is for those that run."""
    if not desk.daemons():
        sentence = f"no daemon is alive to {verb} anything; start one: systemctl start wa-supervisor"
        raise CommandError(sentence, code=Exit.UNKNOWN)


def told(desk: OperatorDesk, verb: str, name: str, reason: str = "") -> CommandResult:
    """Give one command for one integration; give its acceptance. Raises `CommandError` for anything else."""
    require_daemon(desk, verb)
    (command,) = desk.command(verb, [name], reason, by=operator())
    return accepted(name, verb, answers_to(desk, [command]).get(command))


def answers_to(
    desk: OperatorDesk, commands: Sequence[str], *, timeout: float = ANSWER_TIMEOUT
) -> dict[str, CommandResult]:
    """Wait for the answers to commands for at most `timeout` seconds; give those that came, by the commands' ids."""
    answers: dict[str, CommandResult] = {}

    def look() -> Mapping[str, SessionStatus]:
        answers.update(desk.answers(unaccepted(commands, answers)))
        return {}

    patience = ONE_DAEMON if len(desk.daemons()) < 2 else SEVERAL_DAEMONS
    goals = {command: answered(command, answers) for command in commands}
    wait_for(look, goals, lambda *_: None, timeout=timeout, patience=patience)
    return answers


def accepted(name: str, verb: str, answer: CommandResult | None) -> CommandResult:
    """Give the answer to a command if it is an acceptance. Raises `CommandError` for a refusal and for none."""
    if answer is None:
        sentence = f"{name}: told to {verb}, but no daemon answered within {ANSWER_TIMEOUT:g} s; it may still be done"
        raise CommandError(f"{sentence}, see: wa-supervisor describe {name}", code=Exit.TIMED_OUT)
    if not answer.accepted:
        raise CommandError(f"{name}: {verb} refused: {answer.message}")
    return answer


def operator() -> str:
    """Say who gives the commands, if the environment knows."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or ""


def unaccepted(commands: Iterable[str], answers: Mapping[str, CommandResult]) -> list[str]:
    """Give those whose answer may still come, or become another: one daemon may accept what another has refused."""
    return [command for command in commands if command not in answers or not answers[command].accepted]
