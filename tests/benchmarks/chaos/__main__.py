"""The command line of the benchmark: `python -m tests.benchmarks.chaos`; see the package for what it does."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import anyio

from tests.benchmarks.chaos.play import Run, Scene

SLACK = 420.0
"""Seconds beyond its minutes after which a run is given up: three calms at their longest, and ending everything."""

INTERRUPTED = 130
"""Exit code after SIGINT, as shells have it."""


async def play(run: Run, minutes: float) -> bool:
    """Play a run to its end, or until a signal or the longest time ends it; whether a signal did."""
    was_interrupted = False
    with anyio.move_on_after(60 * minutes + SLACK) as whole:
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
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.chaos", description="Random faults, bounded.")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line, instead of many")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sessions", type=int, default=30)
    parser.add_argument("--gateways", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs in any case")
    given = parser.parse_args(arguments)
    scene = Scene(seed=given.seed, minutes=given.minutes, sessions=given.sessions, gateways=given.gateways)
    folder = Path(tempfile.mkdtemp(prefix="wa-chaos-", dir="/tmp"))  # short, and PostgreSQL's user may enter it
    folder.chmod(0o711)
    run = Run(scene, folder)
    was_interrupted = anyio.run(play, run, given.minutes)
    found = run.result()
    if (found["ok"] or was_interrupted) and not given.keep:
        shutil.rmtree(folder)
    else:
        print(f"chaos: the logs are in {folder}", file=sys.stderr)
    print(json.dumps(found, indent=None if given.json else 2))
    return INTERRUPTED if was_interrupted else 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
