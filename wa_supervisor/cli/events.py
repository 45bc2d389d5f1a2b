"""`events`: the history, and what happens next as it happens.

The stream is bounded, so all of it is read where something is looked for: an event is written after it happened, late
if Redis was away, and therefore its place says nothing certain about its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from wa_supervisor.cli import terminal
from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.failing import CommandError, failing_well, warn
from wa_supervisor.cli.history import Choice, Entry, Table, as_json, as_json_line, read_entry
from wa_supervisor.cli.reaching import now, operator_desk, reaching
from wa_supervisor.cli.sessions import Selection, overview, troubles
from wa_supervisor.cli.status import no_such
from wa_supervisor.cli.times import read_since

if TYPE_CHECKING:
    from wa_supervisor.adapters.redis.desk import OperatorDesk, Recorded

BEFORE_WATCHING = 10
"""Events that are shown before a watch begins, when nobody said how many."""


@click.command()
@click.option("--for", "names", multiple=True, metavar="SEL", help="Only of this session: an id or a glob.")
@click.option("--since", callback=read_since, metavar="WHEN", help="Only since then: 10m, 2h, 1d or an RFC 3339 time.")
@click.option("-n", "--last", type=click.IntRange(min=0), metavar="N", help="Only the last N.")
@click.option("-w", "--watch", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@reaching
@failing_well
def events(
    names: Sequence[str],
    since: float | None,
    last: int | None,
    output: str,
    path: Path | None,
    *,
    watch: bool,
    embedded: bool,
) -> None:
    """Show what happened: each step of sessions' lives, gates, commands and their answers.

    Oldest first; everything that the stream still has, if nothing narrows it. A watch begins with the last 10 unless
    --since or -n says otherwise. With -w -o json each event is one line of JSON.

    Exit code 4 when a SEL names no session, or Redis cannot be reached.
    """
    choice = Choice(names=names, since=since)
    if watch and last is None and since is None:
        last = BEFORE_WATCHING
    with operator_desk(path, embedded=embedded) as desk:
        newest = desk.newest_entry()
        entries = past(desk, choice, newest, last)
        unknown = _unknown(desk, choice.missing(entries))
        if watch and not unknown:
            _watch(desk, choice, newest, entries, output)
    _show(entries, output)
    if not entries and not unknown:
        click.echo("no such event is kept", err=True)
    if unknown:
        raise CommandError(*unknown, code=Exit.UNKNOWN)


def past(desk: OperatorDesk, choice: Choice, until: str, last: int | None) -> list[Entry]:
    """Give the chosen events up to the entry `until`, oldest first, at most the `last`."""
    found = (entry for entry in _read(desk.events(until)) if choice.has(entry.event))
    return list(islice(found, last))[::-1]


def _read(recorded: Iterator[Recorded] | Sequence[Recorded]) -> Iterator[Entry]:
    for name, data in recorded:
        entry = read_entry(name, data)
        if entry is None:
            warn(f"left out event {name}, which cannot be read; is another version at work?")
        else:
            yield entry


def _unknown(desk: OperatorDesk, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    seen = overview(desk.wishes(), desk.statuses(), (), now())
    return [no_such(name, seen) for name in Selection(names=names).missing(seen.sessions)]


def _show(entries: Sequence[Entry], output: str) -> None:
    if output == "json":
        click.echo(as_json(entries), nl=False)
        return
    _print(Table(entries, now=now(), width=terminal.width(), is_watched=False).first_lines())


def _watch(desk: OperatorDesk, choice: Choice, newest: str, entries: Sequence[Entry], output: str) -> NoReturn:
    tell = _teller(entries, output)
    if not desk.daemons():
        warn(troubles(overview({}, {}, (), now()))[0])
    while True:
        newest, recorded = desk.events_after(newest)
        for entry in _read(recorded):
            if choice.has(entry.event):
                tell(entry)


def _teller(entries: Sequence[Entry], output: str) -> Callable[[Entry], None]:
    """Show what there is; give what shows one event more."""
    if output == "json":
        for entry in entries:
            click.echo(as_json_line(entry), nl=False)
        return lambda entry: click.echo(as_json_line(entry), nl=False)
    table = Table(entries, now=now(), width=terminal.width(), is_watched=True)
    _print(table.first_lines())
    return lambda entry: _print(table.lines(entry))


def _print(lines: Iterator[str]) -> None:
    click.echo("".join(f"{line}\n" for line in lines), nl=False)
