"""Agents of both kinds, in processes that can be killed.

Half of the integrations have agents that listen to the channel, as today's do, and half agents that read the stream.
Each process serves several of them and writes a log of JSON lines that survives it. Who killed one starts it again.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.benchmarks.chaos.processes import Child
from tests.benchmarks.chaos.stage import plain_environment

CHANNEL, STREAM = "wa_supervisor.simulator.agent", "wa_supervisor.simulator.stream_agent"
"""The programs; both take the same options and write the same lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of an agent's log."""

    agent: str
    text: str
    is_answer: bool
    is_redelivered: bool
    at: float
    """Seconds since the epoch."""


class Agents:
    """One process with several agents of one kind."""

    def __init__(self, name: str, agents: Sequence[str], folder: Path, redis_url: str, *, by_stream: bool) -> None:
        self.name = name
        self.agents = tuple(agents)
        self.by_stream = by_stream
        self.log = folder / f"{name}.jsonl"
        self._read = 0
        program = STREAM if by_stream else CHANNEL
        words = [sys.executable, "-m", program, "--redis", redis_url, "--agents", ",".join(agents)]
        self._child = Child(name, [*words, "--log", str(self.log)], folder / f"{name}.log", env=plain_environment())

    def __repr__(self) -> str:
        return f"<Agents {self.name} {len(self.agents)} {'stream' if self.by_stream else 'channel'}>"

    async def start(self) -> None:
        """Start it."""
        await self._child.start()

    async def kill(self) -> None:
        """Kill it."""
        self._child.send(signal.SIGKILL)
        await self._child.wait()

    async def end(self) -> None:
        """End it in order."""
        await self._child.end()

    def check(self) -> None:
        """Raise `RuntimeError` if it has died by itself."""
        if self._child.returncode is not None:
            raise RuntimeError(f"{self.name}: {self._child.log.read_text(encoding='utf-8')[-2000:]}")

    def news(self) -> list[Line]:
        """Give the whole lines that were added since the last time."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as log:
            log.seek(self._read)
            added = log.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        return [line for line in map(read_line, whole.splitlines()) if line is not None]


def read_line(data: bytes) -> Line | None:
    """Read one line; `None` if it tells neither of a message nor of an answer, or was cut off by a death."""
    try:
        said = msgspec.json.decode(data, type=_Said)
    except msgspec.DecodeError:
        return None
    text = said.heard if said.answered is None else said.answered
    if text is None:
        return None
    is_answer = said.answered is not None
    return Line(agent=said.agent, text=text, is_answer=is_answer, is_redelivered=said.redelivered, at=said.at)


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """A line as `wa_supervisor.simulator.agent_program` writes it."""

    agent: str
    at: float
    heard: str | None = None
    answered: str | None = None
    redelivered: bool = False
