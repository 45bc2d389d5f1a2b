"""Words for people: ages, times, and text from elsewhere made fit for one line of a terminal.

Pure. What daemons, gateways and records say is shown without anything that a terminal would obey.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

_UNITS = ((86_400.0, "d", 172_800.0), (3_600.0, "h", 7_200.0), (60.0, "min", 120.0))
"""Seconds of a unit, its name, and from how many seconds on it is used."""


def age(seconds: float) -> str:
    """Say how long something takes or took: `42 s`, `7 min`, `30 h`, `4 d`; a negative time is none."""
    for size, unit, least in _UNITS:
        if seconds >= least:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"


def rfc3339(at: float | None) -> str | None:
    """Write a time, seconds since the epoch, as `2026-01-31T12:00:00.000Z`; `None` for a time that no calendar has."""
    if at is None:
        return None
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def one_line(text: str) -> str:
    """Give `text` on one line, blanks joined and whatever a terminal would obey spelt out."""
    words = " ".join(text.split())
    return words if words.isprintable() else "".join(map(_shown, words))


def _shown(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")


def cells(text: str) -> int:
    """Give how many columns of a terminal `text` takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Give as much of `text` as fits `width` columns, with an ellipsis if something is missing."""
    if cells(text) <= width:
        return text
    kept = ""
    for char in text:
        if cells(kept + char) >= width:
            break
        kept += char
    return f"{kept}…" if width > 0 else ""


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Fill `text` up to `width` columns."""
    blanks = " " * (width - cells(text))
    return blanks + text if right else text + blanks


def wrapped(text: str, width: int) -> list[str]:
    """Give `text` in lines of at most `width` columns, broken at blanks where there are any; always at least one."""
    lines = [""]
    for word in text.split():
        *pieces, last = _pieces(word, width)
        for piece in pieces:
            lines += [piece] if lines[-1] else []
            lines[-1] = piece
            lines.append("")
        joined = f"{lines[-1]} {last}".strip()
        if cells(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(last)
    return lines


def _pieces(word: str, width: int) -> list[str]:
    """Cut a word that is longer than a line."""
    pieces = [""]
    for char in word:
        if pieces[-1] and cells(pieces[-1] + char) > max(width, 2):
            pieces.append("")
        pieces[-1] += char
    return pieces
