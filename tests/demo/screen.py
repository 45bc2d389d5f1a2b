"""A terminal of a certain size, as far as the demo uses one: it shows what a person would see."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PIECES = re.compile(r"\x1b\[([\d;]*)([A-Za-z])|\r|\n|([^\x1b\r\n])", re.DOTALL)


class Screen:
    """Rows of characters and a cursor. Colours are ignored; anything else that it does not know is an error."""

    def __init__(self, columns: int, rows: int) -> None:
        self._columns = columns
        self._cells = [[" "] * columns for _ in range(rows)]
        self._row = self._column = 0
        self.scrolled = 0
        """Rows that went out at the top."""

    @property
    def lines(self) -> list[str]:
        """What stands there."""
        return ["".join(row).rstrip() for row in self._cells]

    def write(self, text: str) -> None:
        """Show what a program wrote."""
        end = 0
        for found in _PIECES.finditer(text):
            assert found.start() == end, f"unknown to this terminal: {text[end : found.start()]!r}"
            end = found.end()
            if found[2]:
                self._obey(found[1], found[2])
            elif found[0] == "\r":
                self._column = 0
            elif found[0] == "\n":
                self._feed()
            else:
                self._show(found[0])
        assert end == len(text), f"unknown to this terminal: {text[end:]!r}"

    def _obey(self, arguments: str, command: str) -> None:
        assert command in "HJKm", f"unknown to this terminal: {command}"
        if command == "H":
            self._row = self._column = 0
        elif command == "J":
            rest = range(len(self._cells)) if arguments == "2" else range(self._row + 1, len(self._cells))
            if arguments != "2":
                self._clear_line()
            for row in rest:
                self._cells[row] = [" "] * self._columns
        elif command == "K":
            self._clear_line()

    def _clear_line(self) -> None:
        # A full row leaves the cursor on its last character, which is then what is cleared.
        column = min(self._column, self._columns - 1)
        self._cells[self._row][column:] = [" "] * (self._columns - column)

    def _show(self, char: str) -> None:
        if self._column == self._columns:
            self._column = 0
            self._feed()
        self._cells[self._row][self._column] = char
        self._column += 1

    def _feed(self) -> None:
        self._row += 1
        if self._row == len(self._cells):
            self._row -= 1
            self.scrolled += 1
            del self._cells[0]
            self._cells.append([" "] * self._columns)


def pictures(shown: str) -> Iterator[str]:
    """Give the pieces of what was shown that each begin at the top."""
    begun = shown.replace("\x1b[2J\x1b[H", "\x1b[H\x1b[2J")  # so that clearing belongs to the picture after it
    return (f"\x1b[H{piece}" for piece in begun.split("\x1b[H")[1:])
