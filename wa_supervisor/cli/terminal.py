"""What stdin and stdout are: a terminal with somebody at it, with colours and moving about, or anything else."""

from __future__ import annotations

import os
import shutil
import sys

import msgspec


class Screen(msgspec.Struct, frozen=True, kw_only=True):
    """What can be shown now; a terminal's width changes while something runs."""

    has_person: bool
    can_move: bool
    has_colours: bool
    width: int | None


def screen() -> Screen:
    """Look at stdout."""
    return Screen(has_person=has_person(), can_move=can_move(), has_colours=has_colours(), width=width())


def has_person() -> bool:
    """Whether somebody looks at stdout."""
    return sys.stdout.isatty()


def can_ask() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin.isatty()


def has_colours() -> bool:
    """Whether colours are wanted: only on a terminal, never with `NO_COLOR` or `TERM=dumb`."""
    return has_person() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def can_move() -> bool:
    """Whether something shown can be replaced: only on a terminal that is not `TERM=dumb`."""
    return has_person() and os.environ.get("TERM") != "dumb"


def width() -> int | None:
    """Give the columns to fit, if there are any to fit: a terminal's, or `COLUMNS`."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return shutil.get_terminal_size().columns if has_person() else None
