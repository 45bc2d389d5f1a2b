"""The command line of the benchmark: `python -m tests.benchmarks.delivery`; see the package for what it does."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio

from tests.benchmarks.delivery.play import COMING_UP, Run, Scene
from tests.benchmarks.delivery.schedule import LONGEST_PAUSE, RECIPES, Kind

SHORT: dict[str, float] = {"sessions": 6, "rate": 12.0, "each": 0, "minutes": 1.2}
"""What `--short` is: every kind once, mixed."""

INTERRUPTED = 130
"""Exit code after SIGINT, as shells have it."""

UNDOING = 15.0
"""Seconds that undoing one fault may take on average, in the longest time of a run: a daemon or PostgreSQL that comes
up on a busy machine."""


def longest(scene: Scene) -> float:
    """Give the seconds after which a run is given up."""
    each = [scene.each * (LONGEST_PAUSE + RECIPES[kind].longest + UNDOING) + scene.calm for kind in scene.kinds]
    return 2 * COMING_UP + (sum(each) if scene.each else 0) + 60 * scene.minutes + 3 * scene.calm


async def play(run: Run, seconds: float) -> bool:
    """Play a run to its end, or until a signal or the longest time ends it; whether a signal did."""
    was_interrupted = False
    with anyio.move_on_after(seconds) as whole:
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                nonlocal was_interrupted
                with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
                    async for _ in received:
                        was_interrupted = True
                        whole.cancel()

            tasks.start_soon(watch)
            await run.run()
            tasks.cancel_scope.cancel()
    return was_interrupted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit code."""
    given = _parser().parse_args(arguments)
    run = Run(scene := _scene(given), folder := Path(tempfile.mkdtemp(prefix="wa-delivery-", dir="/tmp")))
    folder.chmod(0o711)  # below /tmp the path is short; and PostgreSQL's user may enter it
    was_interrupted = anyio.run(play, run, longest(scene))
    found = run.result()
    if (found["ok"] or was_interrupted) and not given.keep:
        shutil.rmtree(folder)
    else:
        run.write_down()
        print(f"delivery: the logs are in {folder}", file=sys.stderr)
    print(json.dumps(found, indent=None if given.json else 2))
    return INTERRUPTED if was_interrupted else 0 if found["ok"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.delivery", description="What arrives, and how often."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on one line, instead of many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sessions", type=int)
    parser.add_argument("--gateways", type=int)
    parser.add_argument("--rate", type=float, help="messages a second, all together")
    parser.add_argument("--each", type=int, help="how often each kind of fault is played alone")
    parser.add_argument("--minutes", type=float, help="how long all kinds are mixed")
    parser.add_argument("--calm", type=float, help="seconds after which what is not delivered is lost")
    parser.add_argument("--faults", type=_kinds, default=tuple(Kind), help="kinds, with commas; all by default")
    parser.add_argument("--only", choices=("each", "mixed"), help="one of the two parts")
    parser.add_argument("--short", action="store_true", help="6 sessions, every kind once: a minute and a half")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs in any case")
    return parser


def _kinds(words: str) -> tuple[Kind, ...]:
    return tuple(Kind(word) for word in words.split(","))


def _scene(given: argparse.Namespace) -> Scene:
    """Give what is wanted: what is not said is as the benchmark has it, or its short version."""
    short = SHORT if given.short else {}
    said = {name: getattr(given, name) for name in ("sessions", "gateways", "rate", "each", "minutes", "calm")}
    left_out = {"minutes": 0.0} if given.only == "each" else {"each": 0} if given.only == "mixed" else {}
    wanted: dict[str, Any] = {**short, **{name: value for name, value in said.items() if value is not None}, **left_out}
    return Scene(seed=given.seed, kinds=given.faults, **wanted)


if __name__ == "__main__":
    sys.exit(main())
