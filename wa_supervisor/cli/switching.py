"""`pause`, `resume`, `restart`: switching sessions off and on.

A pause is a part of the wish, so it holds until it is taken back, whatever happens to the daemon. A restart is a
command: it is carried out once, by a daemon that is alive.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from wa_supervisor.cli.changing import Changes, changes_at, waiting
from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.failing import CommandError, failing_well
from wa_supervisor.cli.reaching import now, reaching
from wa_supervisor.cli.records import decoded, encoded, with_keys
from wa_supervisor.cli.sessions import STATES, Overview, Selection, SessionView, overview
from wa_supervisor.cli.status import no_such
from wa_supervisor.cli.waiting import restarted
from wa_supervisor.cli.words import one_line
from wa_supervisor.domain.lifecycle import State

Command = TypeVar("Command", bound=Callable[..., Any])


def _choosing(command: Command) -> Command:
    """Give a command the options by which sessions are chosen; `--reason` is the operator's own here."""
    for option in (
        click.option("--agent", "agents", multiple=True, metavar="GLOB", help="Only of this agent."),
        click.option("--gateway", "gateways", multiple=True, metavar="GLOB", help="Only at this gateway."),
        click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Only in this state."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("names", nargs=-1, metavar="[SEL]...")
@_choosing
@click.option("--reason", default="", metavar="TEXT", help="Why, for whoever looks at the status.")
@waiting
@reaching
@failing_well
def pause(
    names: Sequence[str], reason: str, wait: float | None, path: Path | None, *, embedded: bool, **kinds: Sequence[str]
) -> None:
    """Close sessions until they are resumed. SEL is an id or a glob; '*' is all of them."""
    paused: dict[str, object] = {"paused": True} | ({"pause_reason": reason} if reason else {})
    with changes_at(path, embedded=embedded, wait=wait) as changes:
        for session in _chosen(changes, Selection(names=names, **kinds)):
            _change(changes, session, paused, "paused")


@click.command()
@click.argument("names", nargs=-1, metavar="[SEL]...")
@_choosing
@waiting
@reaching
@failing_well
def resume(
    names: Sequence[str], wait: float | None, path: Path | None, *, embedded: bool, **kinds: Sequence[str]
) -> None:
    """End a pause. SEL is an id or a glob; '*' is all sessions."""
    with changes_at(path, embedded=embedded, wait=wait) as changes:
        for session in _chosen(changes, Selection(names=names, **kinds)):
            _change(changes, session, {"paused": None, "pause_reason": None}, "resumed")


@click.command()
@click.argument("names", nargs=-1, metavar="[SEL]...")
@_choosing
@click.option("--reason", default="", metavar="TEXT", help="Why, for whoever looks at the history.")
@waiting
@reaching
@failing_well
def restart(
    names: Sequence[str], reason: str, wait: float | None, path: Path | None, *, embedded: bool, **kinds: Sequence[str]
) -> None:
    """Restart sessions, browser and all; logins are kept. Ends a quarantine. SEL is an id or a glob."""
    with changes_at(path, embedded=embedded, wait=wait) as changes:
        chosen = _chosen(changes, Selection(names=names, **kinds))
        if not changes.desk.daemons():
            sentence = "no daemon is alive to restart anything; start one: systemctl start wa-supervisor"
            raise CommandError(sentence, code=Exit.UNKNOWN)
        ready = [session.id for session in chosen if _can_restart(changes, session)]
        commands = changes.desk.command("restart", ready, reason, by=_operator())
        for name, command in zip(ready, commands, strict=True):
            click.echo(f"{one_line(name)}: told to restart")
            changes.aim(name, restarted(command))


def _chosen(changes: Changes, selection: Selection) -> list[SessionView]:
    if not selection.is_given:
        raise click.UsageError("say which: ids, globs, --state, --gateway or --agent; '*' is all sessions")
    desk = changes.desk
    seen: Overview = overview(desk.wishes(), desk.statuses(), desk.daemons(), now())
    missing = selection.missing(seen.sessions)
    chosen = selection.of(seen.sessions)
    for name in missing:
        with changes.attempt():
            raise CommandError(no_such(name, seen), code=Exit.UNKNOWN)
    if not chosen and not missing:
        raise CommandError("no session fits all of that; see: wa-supervisor status", code=Exit.UNKNOWN)
    return chosen


def _change(changes: Changes, session: SessionView, keys: dict[str, object], done: str) -> None:
    def change(old: bytes | None) -> bytes:
        if old is None:
            raise CommandError(f"{session.id!r} is no longer declared", code=Exit.UNKNOWN)
        record = decoded(session.id, old)
        changed = with_keys(record, keys)
        return old if changed == record else encoded(changed)

    changes.write(session.id, change, done)


def _can_restart(changes: Changes, session: SessionView) -> bool:
    advice = {
        State.PAUSED.value: "is paused; resume it instead",
        State.INVALID.value: f"has a record that cannot be followed; see: wa-supervisor describe {session.id}",
        State.STOPPED.value: "has stopped, and no daemon has taken it up yet",
    }.get(session.state)
    if advice is not None:
        with changes.attempt():
            raise CommandError(f"{session.id} {advice}")
    return advice is None


def _operator() -> str:
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or ""
