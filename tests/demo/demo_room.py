"""A room for `wa-supervisor demo` as a user runs it: its own folder for temporary files, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process

from tests.daemon.embedded_room import short_directory

COMMAND = str(Path(sys.executable).with_name("wa-supervisor"))
"""The command as pip installed it, beside the interpreter that runs the tests."""

PATIENCE = 120.0
"""Seconds after which a wait gives up, so that a failure ends; nothing here takes that long."""

LOOK = 0.05
"""Seconds between two looks at another process, which has no event to wait for."""

KEYS = [
    "sessions",
    "running",
    "invalid",
    "messages_in",
    "handed_over",
    "replies_sent",
    "lost",
    "duplicates",
    "p50_ms",
    "p99_ms",
    "seconds",
]
"""What the result has, in this order."""


@contextmanager
def temporary_files() -> Iterator[Path]:
    """Give a folder that is used for temporary files, with a path short enough for sockets."""
    with short_directory() as folder:
        yield folder


@dataclass(kw_only=True)
class Demo:
    """A demo in another process."""

    process: Process
    folder: Path
    """Where its temporary files are."""
    children: set[int] = field(default_factory=set)
    """Processes that it was seen to have started."""

    @property
    def out(self) -> str:
        """What it wrote to stdout."""
        return (self.folder / "out").read_text(encoding="utf-8")

    @property
    def said(self) -> str:
        """What it wrote to stderr."""
        return (self.folder / "err").read_text(encoding="utf-8")

    @property
    def result(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    async def until_said(self, pattern: str) -> re.Match[str]:
        """Wait until it said something on stdout or stderr."""
        with anyio.fail_after(PATIENCE):
            while not (found := re.search(pattern, self.said + self.out)):
                assert self.process.returncode is None, self.said
                await anyio.sleep(LOOK)
        return found

    async def config(self) -> Path:
        """Give the configuration that it offers to others; notes who its servers are."""
        config = Path((await self.until_said(r"status --config (\S+)"))[1])
        self.children |= children_of(self.process.pid)
        assert self.children, "private servers run"
        return config

    async def gateway(self) -> str:
        """Give the address of its first gateway."""
        return gateways_in(await self.config())[0]

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the end; give the exit code."""
        with anyio.fail_after(PATIENCE):
            return await self.process.wait()

    def left_behind(self) -> list[str]:
        """Name the processes that it started and that still live, and the files."""
        processes = [str(pid) for pid in sorted(self.children) if Path(f"/proc/{pid}").exists()]
        files = [path.name for path in self.folder.iterdir() if path.name not in {"out", "err"}]
        return processes + files


def gateways_in(config: Path) -> list[str]:
    """Give the gateways' addresses in a configuration."""
    settings = tomllib.loads(config.read_text(encoding="utf-8"))
    return [gateway["url"] for gateway in settings["gateways"].values()]


@asynccontextmanager
async def playing(*words: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[Demo]:
    """Run the demo with these words; it is killed at the end if it still runs then."""
    with temporary_files() as folder:
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = await anyio.open_process(
                [COMMAND, "demo", *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "TMPDIR": str(folder), **(environ or {})},
            )
        async with process:
            try:
                yield Demo(process=process, folder=folder)
            finally:
                if process.returncode is None:
                    process.kill()


async def run(*words: str) -> tuple[int, str, str]:
    """Run a command to its end; give exit code, stdout and stderr."""
    with anyio.fail_after(PATIENCE):
        done = await anyio.run_process([COMMAND, *words], check=False, stderr=subprocess.PIPE)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def children_of(parent: int) -> set[int]:
    """Give the processes whose parent this one is."""
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _parent(entry) == parent}


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
