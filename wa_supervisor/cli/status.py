"""`status` for people and monitoring, `get` for machines: the same sessions, another judgement.

`status` ends as `systemctl status` does, by how the sessions are; `get` ends well whenever it could print.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from wa_supervisor.cli import terminal
from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.failing import CommandError, failing_well, warn
from wa_supervisor.cli.reaching import now, operator_desk, reaching
from wa_supervisor.cli.sessions import (
    STATES,
    Overview,
    Selection,
    SessionView,
    overview,
    troubles,
    verdict,
)
from wa_supervisor.cli.table import COLUMNS, WIDE_COLUMNS, draw

Command = TypeVar("Command", bound=Callable[..., Any])


def selecting(command: Command) -> Command:
    """Give a command the options by which sessions are selected beside names."""
    for option in (
        click.option("--reason", "reasons", multiple=True, metavar="GLOB", help="Only with this reason."),
        click.option("--agent", "agents", multiple=True, metavar="GLOB", help="Only of this agent."),
        click.option("--gateway", "gateways", multiple=True, metavar="GLOB", help="Only at this gateway."),
        click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Only in this state."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("names", nargs=-1, metavar="[SEL]...")
@selecting
@click.option("-o", "--output", type=click.Choice(["table", "json", "name"]), default="table", show_default=True)
@reaching
@failing_well
def status(names: Sequence[str], output: str, path: Path | None, *, embedded: bool, **kinds: Sequence[str]) -> None:
    """Show sessions, with why they are as they are and what happens next.

    SEL is an id or a glob; without any, all sessions are shown.

    \b
    Exit code 0  every selected session is running
              3  some selected session is not running (paused ones are not)
              4  no such session; or the state is not known: Redis cannot be
                 reached, no daemon is alive, or nobody confirms any status
    """
    seen = look(path, embedded=embedded)
    selection = Selection(names=names, **kinds)
    chosen = selection.of(seen.sessions)
    _show(seen, chosen, output)
    for trouble in troubles(seen):
        warn(trouble)
    if _misses(selection, seen) or (selection.is_given and not chosen):
        raise SystemExit(Exit.UNKNOWN)
    code = verdict(seen, chosen)
    if code is not None:
        raise SystemExit(code)


@click.command()
@click.argument("names", nargs=-1, metavar="[SEL]...")
@selecting
@click.option("-o", "--output", type=click.Choice(["json", "tsv", "name", "wide"]), default="wide", show_default=True)
@reaching
@failing_well
def get(names: Sequence[str], output: str, path: Path | None, *, embedded: bool, **kinds: Sequence[str]) -> None:
    """Print sessions for machines, all of them without SEL.

    JSON has every field, TSV the most asked for below a line with their names; times are RFC 3339. Exit code 0
    whatever the sessions' states; 4 when a SEL names none.
    """
    seen = look(path, embedded=embedded)
    selection = Selection(names=names, **kinds)
    _show(seen, selection.of(seen.sessions), output)
    if _misses(selection, seen):
        raise SystemExit(Exit.UNKNOWN)


def look(path: Path | None, *, embedded: bool) -> Overview:
    """Read everything. Raises `StoreUnavailableError`, `ConfigurationError`."""
    with operator_desk(path, embedded=embedded) as desk:
        return overview(desk.wishes(), desk.statuses(), desk.daemons(), now())


def _show(seen: Overview, chosen: Sequence[SessionView], output: str) -> None:
    if output in {"json", "tsv", "name"}:
        click.echo(_for_machines(seen, chosen, output), nl=False)
    elif not seen.sessions:
        click.echo("no session is declared; declare one with: wa-supervisor add", err=True)
    elif chosen:
        is_wide = output == "wide"
        width, columns = (None, WIDE_COLUMNS) if is_wide else (terminal.width(), COLUMNS)
        colour = terminal.has_colours()
        click.echo(draw(chosen, width=width, colour=colour, columns=columns), nl=False, color=colour)


def _for_machines(seen: Overview, chosen: Sequence[SessionView], output: str) -> bytes | str:
    from wa_supervisor.cli import forms

    if output == "json":
        return forms.as_json(seen, chosen)
    return forms.as_tsv(chosen) if output == "tsv" else forms.as_names(chosen)


def _misses(selection: Selection, seen: Overview) -> bool:
    """Say which names no session has; whether there is one, or nothing fits at all."""
    missing = selection.missing(seen.sessions)
    for name in missing:
        CommandError(no_such(name, seen)).show()
    if not missing and selection.is_given and not selection.of(seen.sessions):
        click.echo("no session fits all of that; `wa-supervisor status` shows what there is", err=True)
    return bool(missing)


def no_such(name: str, seen: Overview) -> str:
    """Say that no session is called so, and which one may be meant."""
    from difflib import get_close_matches

    close = get_close_matches(name, [session.id for session in seen.sessions], n=1)
    return f"no session {name!r}" + (f"; did you mean {close[0]!r}?" if close else "; see: wa-supervisor status")
