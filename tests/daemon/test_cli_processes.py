"""The installed command as a process: terminals, pipes that close, Ctrl-C, and what it does not import."""

from __future__ import annotations

import errno
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.daemon.cli_room import LONGEST, CliRoom, ended
from wa_supervisor.domain.lifecycle import State


@pytest.fixture
def room(redis_url: str, tmp_path: Path) -> Iterator[CliRoom]:
    with CliRoom(redis_url, tmp_path) as opened:
        opened.announce()
        yield opened


def on_terminal(
    room: CliRoom,
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    act: Callable[[subprocess.Popen[str], int], object] | None = None,
    when: str = "",
) -> tuple[int, str]:
    """Run a command on a terminal of 200 columns; give its exit code and all that it showed.

    `act` is called with the process and the terminal once `when` is shown.
    """
    ours, theirs = pty.openpty()
    told = {**os.environ, **room.environ, "TERM": "xterm", "COLUMNS": "200", **(environ or {})}
    process = room.start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=told)
    os.close(theirs)
    try:
        shown = b""
        while piece := read_some(ours):
            is_new = when.encode() not in shown
            shown += piece
            if act is not None and is_new and when.encode() in shown:
                act(process, ours)
        return process.wait(LONGEST), shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_some(handle: int) -> bytes:
    """Read what comes next; nothing at the end."""
    readable, _, _ = select.select([handle], [], [], LONGEST)
    assert readable, "the command neither says anything nor ends"
    try:
        return os.read(handle, 65_536)
    except OSError as error:
        if error.errno != errno.EIO:  # how Linux says that the other end of a terminal is closed
            raise
        return b""


@pytest.mark.parametrize(
    ("environ", "is_coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
)
def test_colour_is_for_terminals_that_want_it(room: CliRoom, environ: dict[str, str], *, is_coloured: bool) -> None:
    room.has("acme")
    code, shown = on_terminal(room, "status", environ=environ)
    assert (code, "\x1b[32mrunning" in shown, "\x1b" in shown) == (0, is_coloured, is_coloured)


def test_there_is_no_colour_in_a_pipe_even_if_the_terminal_type_has_it(room: CliRoom) -> None:
    room.has("acme")
    process = room.start("status", env={**os.environ, **room.environ, "TERM": "xterm-256color", "COLORTERM": "1"})
    shown = ended(process)
    assert (shown.code, "\x1b" in shown.out) == (0, False)


@pytest.mark.parametrize(("answer", "code", "is_left"), [(b"y\n", 0, False), (b"n\n", 1, True), (b"\n", 1, True)])
def test_remove_asks_on_a_terminal(room: CliRoom, answer: bytes, code: int, *, is_left: bool) -> None:
    room.declare("acme")
    question = "Remove acme? Logins are kept."
    ended_with, shown = on_terminal(room, "remove", "acme", when=question, act=lambda _, end: os.write(end, answer))
    assert question in shown
    assert (ended_with, room.record("acme") is not None) == (code, is_left)


def test_ctrl_c_at_a_question_is_130_and_removes_nothing(room: CliRoom) -> None:
    def interrupt(process: subprocess.Popen[str], _: int) -> None:
        while process.poll() is None:  # once more if the first came before the interpreter began to read
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)

    room.declare("acme")
    code, _ = on_terminal(room, "remove", "acme", when="Logins are kept.", act=interrupt)
    assert (code, room.record("acme") is not None) == (130, True)


def test_remove_does_not_ask_when_told_not_to(room: CliRoom) -> None:
    room.declare("acme")
    code, shown = on_terminal(room, "remove", "acme", "--yes")
    assert (code, "Remove" in shown, room.record("acme")) == (0, False, None)


def test_a_qr_code_is_drawn_on_a_terminal_that_is_wide_enough(room: CliRoom) -> None:
    room.has("acme", State.AWAITING_LOGIN)
    room.offer("acme", "qr", "2@secret")
    for columns, words in (("200", "▄"), ("10", "the code needs")):
        code, shown = on_terminal(room, "login", "acme", "--timeout", "0", environ={"COLUMNS": columns})
        assert (code, words in shown, "2@secret" in shown) == (5, True, False)


def test_a_reader_that_goes_away_ends_the_command_quietly(room: CliRoom) -> None:
    for number in range(2000):
        room.declare(f"session-{number}")
    process = room.start("get", "-o", "json", env={**os.environ, **room.environ, "PYTHONUNBUFFERED": ""})
    assert process.stdout is not None
    assert process.stdout.read(1) == "{"
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(LONGEST) == 1
    process.stderr.close()


@pytest.mark.parametrize(
    "arguments", [["login", "acme"], ["pause", "acme", "--wait", "--timeout", "600"], ["restart", "acme", "--wait"]]
)
def test_ctrl_c_ends_at_once_with_130_and_without_a_traceback(room: CliRoom, arguments: list[str]) -> None:
    room.has("acme", State.AWAITING_LOGIN)
    process = room.start(*arguments, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("acme: ")
    process.send_signal(signal.SIGINT)
    shown = ended(process)
    assert (shown.code, shown.out.strip()) == (130, "")


def test_what_a_terminal_cannot_show_is_replaced(room: CliRoom) -> None:
    room.has("acme", State.BACKOFF, message="naïve 日本")
    environ = {**os.environ, **room.environ, "PYTHONIOENCODING": "latin-1"}
    shown = ended(room.start("status", env=environ, encoding="latin-1"))
    assert (shown.code, "naïve ??" in shown.out) == (3, True)


# What it imports, and thereby how soon it answers


def test_status_imports_neither_pydantic_nor_redis_py_nor_an_event_loop(room: CliRoom) -> None:
    room.has("acme")
    program = (
        "import sys, wa_supervisor.cli\n"
        "try: wa_supervisor.cli.root(sys.argv[1:], prog_name='wa-supervisor')\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'pydantic', 'redis', 'anyio', 'asyncio', 'ssl', 'aiohttp', 'psycopg', 'httpx', 'segno', 'difflib'}\n"
        "print(code, sorted(heavy & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", program, "status", "--config", str(room.config)]
    environ = {**os.environ, **room.environ}
    shown = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=LONGEST, check=False)
    assert shown.stdout.splitlines()[-1] == "0 []"


# simulate-gateway


def test_simulated_gateway_says_where_it_is_answers_and_ends_on_ctrl_c(room: CliRoom, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    process = room.start("simulate-gateway", "--port", "0", "--secret-file", str(secret))
    assert process.stdout is not None
    gateway = process.stdout.readline().split()[1]
    control = process.stdout.readline().split()[1]
    for url, words in ((f"{gateway}/healthz", "OK"), (control, "sessions")):
        with urllib.request.urlopen(url, timeout=LONGEST) as answer:  # noqa: S310 - our own loopback address
            assert words in answer.read().decode()
    with urllib.request.urlopen(  # noqa: S310 - our own loopback address
        urllib.request.Request(f"{gateway}/api/acme/s3cret/generate-token", method="POST"),  # noqa: S310
        timeout=LONGEST,
    ) as answer:
        assert answer.status == 201
    process.send_signal(signal.SIGINT)
    shown = ended(process)
    assert (shown.code, shown.err.strip()) == (130, "")


def test_simulated_gateway_on_a_port_that_is_taken_says_so(room: CliRoom) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shown = room.run("simulate-gateway", "--port", str(port), "--realistic")
    assert (shown.code, shown.out) == (1, "")
    assert shown.err.startswith(f"error: cannot listen on 127.0.0.1:{port}: ")
    assert shown.err.endswith("; give another --port\n")


@pytest.mark.parametrize(("answer", "code", "left"), [(b"y\n", 0, 0), (b"n\n", 1, 2)])
def test_clearing_all_dead_letters_away_asks_on_a_terminal(room: CliRoom, answer: bytes, code: int, left: int) -> None:
    for _ in range(2):
        room.redis.xadd("wa:dead", {"letter": "?"})
    question = "Drop 2 dead letters?"
    ended_with, shown = on_terminal(
        room, "dead", "drop", "--all", when=question, act=lambda _, end: os.write(end, answer)
    )
    assert question in shown
    assert (ended_with, room.redis.xlen("wa:dead")) == (code, left)
