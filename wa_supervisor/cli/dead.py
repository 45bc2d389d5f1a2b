"""`dead`: what could not be delivered. Looked at, delivered once more, or done with.

A replay moves the reply into its agent's output stream, where it goes the way of every other; a letter is there until
then, and whoever comes second finds it gone. One letter that cannot be replayed does not keep the others from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wa_supervisor.cli import terminal
from wa_supervisor.cli.clearing import NONE_KEPT, Wanted, carried_out, kept_as, unreadable
from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.failing import CommandError, failing_well, warn
from wa_supervisor.cli.letters import (
    Choice,
    Kept,
    as_json,
    as_tsv,
    description,
    entry_of,
    one_as_json,
    read_letter,
    table,
)
from wa_supervisor.cli.reaching import now, operator_desk, reaching
from wa_supervisor.cli.sessions import Selection, overview
from wa_supervisor.cli.status import no_such

if TYPE_CHECKING:
    from wa_supervisor.adapters.redis.desk import OperatorDesk, Recorded

Command = TypeVar("Command", bound=Callable[..., Any])

SHOWN = 50
"""Letters that a list shows when nobody said how many: a screen or two."""

_OF_ONE_STREAM = frozenset({"WRONGTYPE", "NOPERM"})
"""Refusals that are about one agent's stream; any other is about the server, and the next letter would meet it too."""

_reasons = click.option("--reason", "reasons", multiple=True, metavar="GLOB", help="Only with this reason.")


@click.group()
def dead() -> None:
    """Show, replay and drop what could not be delivered."""


@dead.command("list")
@click.argument("names", nargs=-1, metavar="[SEL]...")
@_reasons
@click.option("--agent", "agents", multiple=True, metavar="GLOB", help="Only of this agent.")
@click.option("--unknown", "only_unknown", is_flag=True, help="Only those that may have been sent all the same.")
@click.option(
    "-n", "--last", type=click.IntRange(min=0), default=SHOWN, show_default=True, metavar="N", help="Only the last N."
)
@click.option("-o", "--output", type=click.Choice(["table", "json", "tsv"]), default="table", show_default=True)
@reaching
@failing_well
def list_(
    names: Sequence[str],
    reasons: Sequence[str],
    agents: Sequence[str],
    last: int,
    output: str,
    path: Path | None,
    *,
    only_unknown: bool,
    embedded: bool,
) -> None:
    """Show the last dead letters, oldest first. SEL is the id of a session or a glob.

    Payloads are shown by -o json, and by `dead show` of one letter. Exit code 4 when a SEL names no session.
    """
    choice = Choice(names=names, reasons=reasons, agents=agents, only_unknown=only_unknown)
    with operator_desk(path, embedded=embedded) as desk:
        meant = (kept for kept in _read(desk.dead_letters()) if choice.has(kept.letter))
        found = list(islice(meant, last + 1))
        letters = found[:last][::-1]
        unknown = _unknown(desk, choice.missing(found))
    _show(letters, output)
    if not found and not unknown:
        click.echo(NONE_KEPT, err=True)
    elif len(found) > last:
        click.echo("older ones are not shown; -n N shows more", err=True)
    if unknown:
        raise CommandError(*unknown, code=Exit.UNKNOWN)


@dead.command()
@click.argument("name", metavar="ID")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@reaching
@failing_well
def show(name: str, output: str, path: Path | None, *, embedded: bool) -> None:
    """Show everything about one dead letter, with what the person was to read."""
    with operator_desk(path, embedded=embedded) as desk:
        kept = kept_as(desk, name)
    if output == "json":
        click.echo(one_as_json(kept), nl=False)
    else:
        click.echo("".join(f"{line}\n" for line in description(kept, now())), nl=False)


def _read(recorded: Iterable[Recorded]) -> Iterator[Kept]:
    for entry, data in recorded:
        kept = read_letter(entry, data)
        if kept is None:
            warn(unreadable(entry))
        else:
            yield kept


def _unknown(desk: OperatorDesk, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    seen = overview(desk.wishes(), desk.statuses(), (), now())
    return [no_such(name, seen) for name in Selection(names=names).missing(seen.sessions)]


def _show(letters: Sequence[Kept], output: str) -> None:
    if output == "json":
        click.echo(as_json(letters), nl=False)
    elif output == "tsv":
        click.echo(as_tsv(letters), nl=False)
    elif letters:
        click.echo(table(letters, now=now(), width=terminal.width()), nl=False)


def _naming(command: Command) -> Command:
    """Give a command the argument and options by which it is told which letters are meant."""
    for option in (
        click.option("--yes", "is_sure", is_flag=True, help="Do not ask; --all needs it where nobody can be asked."),
        _reasons,
        click.option("--all", "is_all", is_flag=True, help="All letters that are there now."),
        click.argument("names", nargs=-1, metavar="[ID]..."),
    ):
        command = option(command)
    return command


@dead.command()
@_naming
@click.option("--even-if-sent", is_flag=True, help="Also those that may have been sent: a person may get them twice.")
@reaching
@failing_well
def replay(path: Path | None, *, even_if_sent: bool, embedded: bool, **named: Any) -> None:  # noqa: ANN401 - as `Wanted`
    """Put replies into their agents' output streams once more, and take the letters out.

    Each is replayed once, however many try it at once. Exit code 1 when one could not be replayed; 4 when there is no
    such letter, or no longer.
    """
    wanted = Wanted(verb="replay", **named)
    wanted.check()
    with operator_desk(path, embedded=embedded) as desk:
        outcome = carried_out(desk, wanted, lambda name: _replay(desk, name, even_if_sent=even_if_sent))
        if outcome.done and not desk.daemons():
            warn("no daemon is alive; what was replayed waits in the agents' streams until one is started")
    outcome.end()


def _replay(desk: OperatorDesk, name: str, *, even_if_sent: bool) -> str | None:
    from wa_supervisor.domain.dead_letters import NoReplay, replay_of

    kept = kept_as(desk, name)
    found = replay_of(kept.letter, even_if_sent=even_if_sent)
    if isinstance(found, NoReplay):
        raise CommandError(f"{name}: {found.message}")
    with _refusals_of_one(name):
        added = desk.replay(kept.id, found)
    return None if added is None else f"replayed; it is {added} in the output stream of agent {found.agent_id}"


@contextmanager
def _refusals_of_one(name: str) -> Iterator[None]:
    from wa_supervisor.adapters.redis.refusals import RefusalError

    try:
        yield
    except RefusalError as error:
        if error.code not in _OF_ONE_STREAM:
            raise
        raise CommandError(f"{name}: not replayed: {error}") from error


@dead.command()
@_naming
@reaching
@failing_well
def drop(path: Path | None, *, embedded: bool, **named: Any) -> None:  # noqa: ANN401 - as `Wanted`
    """Take dead letters out for good; nothing is sent.

    Exit code 4 when there is no such letter, or no longer.
    """
    wanted = Wanted(verb="drop", **named)
    wanted.check()
    with operator_desk(path, embedded=embedded) as desk:
        outcome = carried_out(desk, wanted, lambda name: _drop(desk, name))
    outcome.end()


def _drop(desk: OperatorDesk, name: str) -> str | None:
    entry = entry_of(name)
    return "dropped" if entry is not None and desk.drop(entry) else None
