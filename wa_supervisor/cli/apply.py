"""`apply --confirm`: the operator's word for a wish that lost much at once.

A daemon does not follow such a wish at once: what was removed, or can no longer be read, goes on as it was. `status`
and `describe` say so for each session. Confirming is a command: it is for what is held back when it arrives, by every
daemon that is alive, and for nothing that is lost later.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wa_supervisor.cli.answers import answers_to, operator, require_daemon
from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.failing import CommandError, failing_well
from wa_supervisor.cli.reaching import operator_desk, reaching
from wa_supervisor.cli.waiting import ANSWER_TIMEOUT
from wa_supervisor.cli.words import one_line

if TYPE_CHECKING:
    from wa_supervisor.adapters.redis.desk import OperatorDesk


@click.command()
@click.option("--confirm", is_flag=True, help="Let everything stop that is held back now, nothing later.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for whoever looks at the history.")
@reaching
@failing_well
def apply(reason: str, path: Path | None, *, confirm: bool, embedded: bool) -> None:
    """Follow the wish where it lost so much at once that the daemon holds back.

    Sessions that are held back say so in `wa-supervisor status`; look there first. Exit code 1: nothing is held back.
    """
    if not confirm:
        raise click.UsageError("say --confirm to let everything stop that is held back; see: wa-supervisor status")
    with operator_desk(path, embedded=embedded) as desk:
        click.echo(_confirm(desk, reason))


def _confirm(desk: OperatorDesk, reason: str) -> str:
    require_daemon(desk, "confirm")
    command = desk.command_daemons("confirm", reason, by=operator())
    answer = answers_to(desk, [command]).get(command)
    if answer is None:
        sentence = f"no daemon answered within {ANSWER_TIMEOUT:g} s; it may still be done, see: wa-supervisor status"
        raise CommandError(sentence, code=Exit.TIMED_OUT)
    if not answer.accepted:
        raise CommandError(f"confirm refused: {answer.message}")
    return f"confirm accepted: {one_line(answer.message)}"
