"""`wa-supervisor demo`: everything on one machine, with no set-up, and a live view of it.

On a terminal a table is drawn again and again in its place; elsewhere a line is written now and then. The result is
what the demo is for: it is printed last, and decides the exit code.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wa_supervisor.cli import terminal
from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.words import cells

if TYPE_CHECKING:
    import anyio
    from anyio.abc import TaskStatus

    from wa_supervisor.demo import DemoOptions, DemoResult, DemoScene

REDRAW = 1.0
"""Seconds between two drawings of the live table."""

REPORT = 2.0
"""Seconds between two lines where there is no terminal to draw on."""

_LOG = "daemon.log"

_CLEAR, _HOME, _REST_OF_LINE, _BELOW = "\x1b[2J", "\x1b[H", "\x1b[K", "\x1b[J"


def _read_duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(s|m|h)?", value, re.ASCII)
    if not match or float(match.group(1)) <= 0:
        raise click.BadParameter(f"{value!r} is not a duration; give e.g. 30s, 5m or 1h", ctx, param)
    return float(match.group(1)) * {"s": 1, "m": 60, "h": 3600, None: 1}[match.group(2)]


@click.command()
@click.option("--sessions", type=click.IntRange(4, 500), default=12, show_default=True, help="Sessions to declare.")
@click.option(
    "--for",
    "seconds",
    callback=_read_duration,
    metavar="DURATION",
    help="People write for so long, e.g. 30s, 5m or 1h; else until Ctrl-C.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, and nothing else on stdout.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the servers' data here; else it is thrown away.")
def demo(sessions: int, seconds: float | None, folder: Path | None, *, as_json: bool) -> None:
    """Show the whole path: private servers, a simulated gateway, people who write, and an agent that echoes.

    Among the sessions one needs its QR code scanned, one drops and comes back, and one has an invalid record. Ends with
    0 only if, by the gateway's own ledger, no message was lost and none came twice. Ctrl-C ends it with the result, a
    second one without.
    """
    import anyio

    from wa_supervisor.demo import DemoOptions
    from wa_supervisor.domain.errors import WaSupervisorError

    options = DemoOptions(sessions=sessions, seconds=seconds, is_throwaway=folder is None)
    try:
        with _folder(folder) as used, _log_in(used):
            result, is_whole = anyio.run(_perform, options, used, as_json, backend="asyncio")
    except WaSupervisorError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(Exit.FAILED)
    if result is None:
        sys.exit(Exit.INTERRUPTED)
    _print_result(result, as_json=as_json)
    if is_whole and not result.is_complete:
        click.echo("error: not every session came back in time; the log says why", err=True)
    sys.exit(0 if result.is_flawless and (result.is_complete or not is_whole) else Exit.FAILED)


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is None:
        with tempfile.TemporaryDirectory(prefix="wa-supervisor-demo-") as temporary:
            yield Path(temporary)
        return
    try:
        given.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.BadParameter(
            f"{given} cannot be made: {error.strerror}; give another", param_hint="--folder"
        ) from error
    yield given


@contextmanager
def _log_in(folder: Path) -> Iterator[None]:
    from wa_supervisor.adapters.logs import set_up_logging

    with (folder / _LOG).open("a", encoding="utf-8") as log:
        set_up_logging("info", "text", stream=log)
        try:
            yield
        finally:
            set_up_logging("info", "text")  # whatever is said from now on, the file is closed


async def _perform(options: DemoOptions, folder: Path, as_json: bool) -> tuple[DemoResult | None, bool]:
    """Give the result, `None` when a second signal cut it short, and whether it was played to its end."""
    import anyio

    from wa_supervisor.daemon import told_plainly
    from wa_supervisor.demo import play

    stop, result = anyio.Event(), None
    view: _Live | _Lines = _Live() if terminal.can_move() and not as_json else _Lines(err=as_json)

    async def keep_looking(scene: DemoScene) -> None:
        try:
            while True:
                view.look(scene)
                await anyio.sleep(view.pause)
        finally:
            view.end(scene)

    def curtain_up(scene: DemoScene) -> None:
        tasks.start_soon(keep_looking, scene)

    click.echo("starting private servers, gateways and the daemon ...", err=True)
    with told_plainly():
        async with anyio.create_task_group() as tasks:
            await tasks.start(_obey, stop, tasks.cancel_scope)
            result = await play(options, folder, stop=stop, curtain_up=curtain_up)
            tasks.cancel_scope.cancel()
    return result, not stop.is_set()


async def _obey(stop: anyio.Event, everything: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
    import signal

    import anyio

    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        task_status.started()
        async for _ in received:
            if stop.is_set():
                everything.cancel()
            stop.set()


class _Lines:
    """Plain lines: how to look closer once, then how it goes now and then."""

    pause = REPORT

    def __init__(self, *, err: bool) -> None:
        self._err = err
        self._is_introduced = False

    def look(self, scene: DemoScene) -> None:
        if not self._is_introduced:
            click.echo("\n".join(_introduction(scene)), err=True)
            self._is_introduced = True
        click.echo(_summary(scene), err=self._err)

    def end(self, scene: DemoScene) -> None:
        """Leave the last word to the result."""


class _Live:
    """A table that is drawn in its place again and again, each time in one piece, so that nothing flickers."""

    pause = REDRAW

    def __init__(self) -> None:
        self._is_begun = False

    def look(self, scene: DemoScene) -> None:
        from wa_supervisor.cli.table import table

        introduction = [*_introduction(scene), ""]
        end = ["", f"{_summary(scene)}; Ctrl-C ends it"]
        columns, rows = shutil.get_terminal_size()
        room = rows - 1 - sum(_rows_of(line, columns) for line in (*introduction, *end))
        lines = [*introduction, *_fitting(table(scene.statuses()).splitlines(), room), *end]
        picture = "".join(f"{_REST_OF_LINE}{line}{_end_of(line, columns)}\n" for line in lines)
        click.echo(f"{_HOME if self._is_begun else _CLEAR + _HOME}{picture}{_BELOW}", nl=False, color=True)
        self._is_begun = True

    def end(self, scene: DemoScene) -> None:
        """Show the end, above the result."""
        self.look(scene)


def _fitting(lines: Sequence[str], room: int) -> Sequence[str]:
    if len(lines) <= room:
        return lines
    shown = max(room - 1, 0)
    return [*lines[:shown], f"... {len(lines) - shown} lines more: make the window higher, or ask for the status"]


def _rows_of(line: str, columns: int) -> int:
    return max(1, -(-cells(click.unstyle(line)) // columns))


def _end_of(line: str, columns: int) -> str:
    """Give what clears the rest of the line's last row; a full row has no rest, and would lose its last character."""
    return _REST_OF_LINE if cells(click.unstyle(line)) % columns else ""


def _introduction(scene: DemoScene) -> list[str]:
    config = shlex.quote(str(scene.config))
    gateway = next(iter(scene.gateways.values()))
    return [
        f"admin:   {scene.admin_url}  (/metrics, /healthz, /readyz)",
        f"status:  {_own_command()} status --config {config}",
        f'trouble: curl --data \'{{"session": "number-01"}}\' {gateway}/_control/crash-browser',
        f"log:     {scene.config.with_name(_LOG)}",
    ]


def _own_command() -> str:
    """Give the command by which another terminal finds this installation."""
    called = Path(sys.argv[0])
    if called.suffix == ".py":
        return f"{shlex.quote(sys.executable)} -m wa_supervisor"
    return called.name if shutil.which(called.name) else shlex.quote(str(called.absolute()))


def _summary(scene: DemoScene) -> str:
    from wa_supervisor.daemon.summary import one_line

    statuses = scene.statuses()
    carried = f"{sum(s.traffic.messages_in for s in statuses)} in, {sum(s.traffic.messages_out for s in statuses)} out"
    return f"{one_line(statuses)}; {carried}"


def _print_result(result: DemoResult, *, as_json: bool) -> None:
    import msgspec

    if as_json:
        click.echo(msgspec.json.encode(result).decode())
        return
    click.echo(
        f"{result.running} of {result.sessions} sessions running, {result.invalid} invalid, in {result.seconds:g} s\n"
        f"{result.messages_in} messages written by people, {result.handed_over} heard by agents, "
        f"{result.replies_sent} replies received by people\n"
        f"lost {result.lost}, duplicates {result.duplicates}; "
        f"there and back {result.p50_ms:g} ms (p50), {result.p99_ms:g} ms (p99)"
    )
