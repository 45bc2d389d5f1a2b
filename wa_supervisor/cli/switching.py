"""`pause`, `resume`, `restart`, `release`: switching sessions off and on.

A pause is a part of the wish, so it holds until it is taken back or its time is over, whatever happens to the daemon. A
restart and a release are commands: each is carried out once, or refused, by a daemon that is alive.
"""

from __future__ import annotations

import math
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
from wa_supervisor.cli.times import read_duration
from wa_supervisor.cli.words import rfc3339
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
@click.option(
    "--for", "seconds", callback=read_duration, metavar="DURATION", help="End by itself after e.g. 30s, 30m, 2h or 1d."
)
@waiting
@reaching
@failing_well
def pause(
    names: Sequence[str],
    reason: str,
    seconds: float | None,
    wait: float | None,
    path: Path | None,
    *,
    embedded: bool,
    **kinds: Sequence[str],
) -> None:
    """Close sessions until they are resumed, or for a while. SEL is an id or a glob; '*' is all of them.

    A pause without --for takes the end of an earlier one away.
    """
    until = None if seconds is None else math.ceil(now() + seconds)
    paused: dict[str, object] = {"paused": True, "paused_until": until} | ({"pause_reason": reason} if reason else {})
    with changes_at(path, embedded=embedded, wait=wait) as changes:
        for session in _chosen(changes, Selection(names=names, **kinds)):
            _change(changes, session, paused, "paused" if until is None else f"paused until {rfc3339(until)}")


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
            _change(changes, session, {"paused": None, "pause_reason": None, "paused_until": None}, "resumed")


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
    """Restart sessions, browser and all; logins are kept. SEL is an id or a glob.

    A session that is quarantined is not restarted but released: wa-supervisor release.
    """
    with changes_at(path, embedded=embedded, wait=wait) as changes:
        chosen = _chosen(changes, Selection(names=names, **kinds))
        changes.command("restart", [each.id for each in chosen if _can_restart(changes, each)], reason)


@click.command()
@click.argument("names", nargs=-1, metavar="[SEL]...")
@_choosing
@click.option("--reason", default="", metavar="TEXT", help="Why, for whoever looks at the history.")
@waiting
@reaching
@failing_well
def release(
    names: Sequence[str], reason: str, wait: float | None, path: Path | None, *, embedded: bool, **kinds: Sequence[str]
) -> None:
    """End the quarantine of sessions: they are tried again, with a fresh budget. SEL is an id or a glob.

    `--state quarantined` selects all of them. A session that is not quarantined is refused (exit code 1).
    """
    with changes_at(path, embedded=embedded, wait=wait) as changes:
        chosen = _chosen(changes, Selection(names=names, **kinds))
        changes.command("release", [each.id for each in chosen], reason)


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
