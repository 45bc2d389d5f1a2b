"""The live view on a real terminal: it is drawn in its place, fits, and leaves the result below it."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.daemon.embedded_room import needs_servers
from tests.demo.demo_room import COMMAND, PATIENCE, temporary_files
from tests.demo.screen import Screen, pictures

ON_TERMINAL = "import os, sys; os.login_tty(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
"""A program that makes a terminal its own, so that Ctrl-C there reaches it, and becomes another."""

CTRL_C = b"\x03"


@dataclass
class Terminal:
    """A terminal with a program on it."""

    process: subprocess.Popen[bytes]
    handle: int
    shown: bytes = field(default=b"")

    @property
    def text(self) -> str:
        """Everything that was shown so far."""
        return self.shown.decode(errors="replace")

    def until(self, holds: Callable[[str], object]) -> None:
        """Read on until something holds for what was shown."""
        while not holds(self.text):
            assert self._read(), f"it ended: {self.text}"

    def finish(self) -> int:
        """Read to the end; give the exit code."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def press(self, keys: bytes) -> None:
        """Type something."""
        os.write(self.handle, keys)

    def _read(self) -> bytes:
        readable, _, _ = select.select([self.handle], [], [], PATIENCE)
        assert readable, "it neither shows anything nor ends"
        try:
            piece = os.read(self.handle, 65_536)
        except OSError as error:
            if error.errno != errno.EIO:  # how Linux says that nobody has the terminal open any more
                raise
            return b""
        self.shown += piece
        return piece


@contextmanager
def on_terminal(*words: str, columns: int, rows: int, term: str = "xterm") -> Iterator[Terminal]:
    """Run the demo on a terminal of that size; it is killed at the end if it still runs then."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    with temporary_files() as folder:
        environ = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES", "NO_COLOR"}}
        process = subprocess.Popen(
            [sys.executable, "-c", ON_TERMINAL, str(theirs), COMMAND, "demo", *words],
            pass_fds=(theirs,),
            env={**environ, "TERM": term, "TMPDIR": str(folder)},
        )
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            process.kill()
            process.wait()
            os.close(ours)
        assert list(Path(folder).iterdir()) == []


def seen(terminal: Terminal, columns: int, rows: int) -> list[Screen]:
    """Give what a person sees after each picture."""
    screens = []
    before = ""
    for picture in pictures(terminal.text):
        before += picture
        screen = Screen(columns, rows)
        screen.write(before)
        screens.append(screen)
    return screens


@needs_servers
def test_the_table_is_drawn_in_its_place_and_the_result_comes_below_it() -> None:
    with on_terminal("--for", "4s", columns=160, rows=40) as terminal:
        assert terminal.finish() == 0
    text = terminal.text
    assert text.count("\x1b[2J") == 1  # whatever was there goes once; afterwards nothing is cleared before it is drawn
    *playing, last = seen(terminal, 160, 40)
    assert len(playing) >= 3
    for screen in (*playing, last):
        assert screen.scrolled == 0
        assert screen.lines[0].startswith("admin:   http://127.0.0.1:")
        assert sum(1 for line in screen.lines if line.startswith("SESSION")) <= 1
    lines = last.lines
    assert any(re.match(r"demo-01 +agent-1 +gateway-1 +running", line) for line in lines)
    assert any(line.startswith("demo-12") and "pausd: no such key" in line for line in lines)
    shown = [line for line in lines if line]
    assert shown[-4].endswith("; Ctrl-C ends it")
    assert shown[-3].startswith("11 of 12 sessions running, 1 invalid")
    assert shown[-1].startswith("lost 0, duplicates 0; ")


@needs_servers
def test_more_sessions_than_rows_do_not_make_the_picture_jump_and_ctrl_c_ends_it() -> None:
    with on_terminal("--sessions", "30", columns=80, rows=24) as terminal:
        terminal.until(lambda text: re.search(r"29/30 running", text))
        terminal.press(CTRL_C)
        assert terminal.finish() == 0
    pictured = [screen for screen in seen(terminal, 80, 24) if any("Ctrl-C ends it" in line for line in screen.lines)]
    assert len(pictured) >= 2
    for screen in pictured[:-1]:
        assert screen.scrolled == 0
        assert screen.lines[0].startswith("admin: ")
    assert any("lines more: make the window higher" in line for line in pictured[-2].lines)
    assert "of 30 sessions running" in terminal.text


@needs_servers
def test_a_terminal_that_cannot_move_gets_plain_lines() -> None:
    with on_terminal("--for", "5s", columns=80, rows=24, term="dumb") as terminal:
        assert terminal.finish() == 0
    assert "\x1b" not in terminal.text
    assert "/12 running" in terminal.text
    assert "lost 0, duplicates 0" in terminal.text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("one\r\ntwo", ["one", "two", ""]),
        ("one\r\ntwo\x1b[Hx", ["xne", "two", ""]),
        ("one\r\ntwo\x1b[H\x1b[K\x1b[J", ["", "", ""]),
        ("abcde", ["abcd", "e", ""]),
        ("abcd\x1b[K", ["abc", "", ""]),
        ("a\r\nb\r\nc\r\nd", ["b", "c", "d"]),
        ("\x1b[32mok\x1b[0m", ["ok", "", ""]),
    ],
)
def test_this_tests_own_terminal_shows_what_one_shows(written: str, expected: list[str]) -> None:
    screen = Screen(4, 3)
    screen.write(written)
    assert screen.lines == expected
