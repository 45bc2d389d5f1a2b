"""Doing something with dead letters, one after the other: which ones, whether that is meant, and how it ended.

What is there when the command begins is what `--all` means: a reply that is replayed and dies again is a new letter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from wa_supervisor.cli import terminal
from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.failing import CommandError, warn
from wa_supervisor.cli.letters import Choice, Kept, entry_of, read_letter
from wa_supervisor.cli.words import one_line

if TYPE_CHECKING:
    from wa_supervisor.adapters.redis.desk import OperatorDesk, Recorded

NONE_KEPT = "no such dead letter is kept"

Work = Callable[[str], str | None]
"""Does it with one letter by its entry id and says what was done; `None`: the letter is gone."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters an operator named."""

    verb: str
    names: Sequence[str]
    reasons: Sequence[str]
    is_all: bool
    is_sure: bool

    def check(self) -> None:
        """Raise `click.UsageError` for what is not clear."""
        if bool(self.names) == self.is_all:
            raise click.UsageError("say which: ids (wa-supervisor dead list shows them), or --all")
        if self.reasons and not self.is_all:
            raise click.UsageError("--reason chooses among --all")
        if self.is_all and not self.is_sure and not terminal.can_ask():
            raise click.UsageError(f"nobody can be asked whether to {self.verb} all of them; give --yes")

    def entries(self, desk: OperatorDesk) -> list[str]:
        """Give the letters' ids, asking where that is due."""
        if not self.is_all:
            return list(dict.fromkeys(self.names))
        found = list(_chosen(desk.dead_letters_so_far(), Choice(reasons=self.reasons)))
        if not found:
            click.echo(NONE_KEPT, err=True)
        elif not self.is_sure and not click.confirm(f"{self.verb.title()} {_counted(found)}?", err=True):
            raise CommandError(f"nothing was done: {_counted(found)} stay")
        return found


def _counted(entries: Sequence[str]) -> str:
    return f"{len(entries)} dead letter" + ("s" if len(entries) != 1 else "")


def _chosen(recorded: Iterable[Recorded], choice: Choice) -> Iterator[str]:
    """Give the ids of those that are meant; one that cannot be read has no reason, but is among all."""
    for entry, data in recorded:
        kept = read_letter(entry, data)
        if kept is None and choice.reasons:
            warn(unreadable(entry))
        elif kept is None or choice.has(kept.letter):
            yield entry


class Outcome(msgspec.Struct, kw_only=True):
    """How it went: with how many it was done, and the exit code of the first that failed."""

    done: int = 0
    code: Exit | None = None

    def end(self) -> None:
        """End the command as its first failure, which was told already, says."""
        if self.code is not None:
            raise CommandError(code=self.code)


def carried_out(desk: OperatorDesk, wanted: Wanted, work: Work) -> Outcome:
    """Do it with each, and say of each what became of it as soon as that is known."""
    outcome = Outcome()
    for name in wanted.entries(desk):
        try:
            told = work(name)
            if told is None:
                raise no_letter(name)
        except CommandError as error:
            if wanted.is_all and error.code is Exit.UNKNOWN:
                click.echo(f"{name}: gone meanwhile")
                continue
            error.show()
            outcome.code = outcome.code or error.code
        else:
            click.echo(f"{one_line(name)}: {one_line(told)}")
            outcome.done += 1
    return outcome


def kept_as(desk: OperatorDesk, name: str) -> Kept:
    """Give one letter by its id. Raises `CommandError` when there is none, or it cannot be read."""
    entry = entry_of(name)
    recorded = None if entry is None else desk.dead_letter(entry)
    if recorded is None:
        raise no_letter(name)
    kept = read_letter(*recorded)
    if kept is None:
        raise CommandError(f"{unreadable(name)}; `wa-supervisor dead drop` takes it out")
    return kept


def no_letter(name: str) -> CommandError:
    """Say that no letter is called so."""
    words = f"no dead letter {name!r} is kept: it never was, or somebody replayed or dropped it"
    return CommandError(f"{words}; see: wa-supervisor dead list", code=Exit.UNKNOWN)


def unreadable(entry: str) -> str:
    """Say that a letter cannot be read."""
    return f"dead letter {entry} cannot be read; is another version at work?"
