"""`wa-supervisor demo`: everything on one machine, with no set-up, and a live view of it."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wa_supervisor.cli.exits import Exit

if TYPE_CHECKING:
    from wa_supervisor.demo import DemoOptions, DemoResult, DemoScene

REDRAW = 1.0
"""Seconds between two drawings of the live table."""

REPORT = 5.0
"""Seconds between two lines where there is no terminal to draw on."""


class _Seconds(click.ParamType[float]):
    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", str(value))
        if not match or float(match.group(1)) <= 0:
            self.fail(f"{value!r} is not a duration; give e.g. 30s, 5m or 1h", param, ctx)
        return float(match.group(1)) * {"s": 1, "m": 60, "h": 3600, None: 1}[match.group(2)]


@click.command()
@click.option("--sessions", type=click.IntRange(4, 500), default=12, show_default=True, help="Sessions to declare.")
@click.option("--for", "seconds", type=_Seconds(), help="End by itself after e.g. 30s; else on Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, and nothing else on stdout.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the servers' data here; else it is thrown away.")
def demo(sessions: int, seconds: float | None, folder: Path | None, *, as_json: bool) -> None:
    """Show the whole path: private servers, a simulated gateway, people who write, and an agent that echoes.

    Among the sessions one needs its QR code scanned, one drops and comes back, and one has an invalid record. Ends with
    0 only if, by the gateway's own ledger, no message was lost and none came twice.
    """
    from wa_supervisor.demo import DemoOptions
    from wa_supervisor.domain.errors import WaSupervisorError

    options = DemoOptions(sessions=sessions, seconds=seconds)
    try:
        with tempfile.TemporaryDirectory(prefix="wa-supervisor-demo-") as temporary:
            result = _play(options, folder or Path(temporary), as_json=as_json)
    except WaSupervisorError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(Exit.FAILED)
    _print_result(result, as_json=as_json)
    sys.exit(0 if result.is_flawless else Exit.FAILED)


def _play(options: DemoOptions, folder: Path, *, as_json: bool) -> DemoResult:
    import anyio

    from wa_supervisor.adapters.logs import set_up_logging

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "daemon.log").open("a", encoding="utf-8") as log:
        set_up_logging("info", "text", stream=log)
        return anyio.run(_perform, options, folder, as_json, backend="asyncio")


async def _perform(options: DemoOptions, folder: Path, as_json: bool) -> DemoResult:
    import signal

    import anyio

    from wa_supervisor.demo import DemoScene, play

    stop, scene = anyio.Event(), list[DemoScene]()

    async def obey() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
            async for _ in received:
                if stop.is_set():
                    tasks.cancel_scope.cancel()
                stop.set()

    async def look(shown: DemoScene) -> None:
        is_live = sys.stdout.isatty() and not as_json
        while True:
            _draw(shown) if is_live else _report(shown)
            await anyio.sleep(REDRAW if is_live else REPORT)

    def curtain_up(shown: DemoScene) -> None:
        scene.append(shown)
        _introduce(shown, folder)
        tasks.start_soon(look, shown)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(obey)
        result = await play(options, folder, stop=stop, curtain_up=curtain_up)
        tasks.cancel_scope.cancel()
        return result
    raise SystemExit(130)


def _introduce(scene: DemoScene, folder: Path) -> None:
    click.echo(f"admin:   {scene.admin_url}  (/metrics, /healthz, /readyz)", err=True)
    click.echo(f"status:  wa-supervisor status --config {scene.config}", err=True)
    click.echo(f"log:     {folder / 'daemon.log'}", err=True)


def _draw(scene: DemoScene) -> None:
    from wa_supervisor.cli.table import table  # type: ignore[import-not-found]

    click.clear()
    _introduce(scene, scene.config.parent)
    click.echo(table(scene.statuses()))


def _report(scene: DemoScene) -> None:
    from wa_supervisor.daemon.summary import one_line

    statuses = scene.statuses()
    carried = f"{sum(s.traffic.messages_in for s in statuses)} in, {sum(s.traffic.messages_out for s in statuses)} out"
    click.echo(f"{one_line(statuses)}; {carried}", err=True)


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
