"""What both echo agents share when they run as programs: the options, the log, and an end in order.

    python -m wa_supervisor.simulator.agent --redis URL --agents a,b [--log FILE]          over Pub/Sub
    python -m wa_supervisor.simulator.stream_agent --redis URL --agents a,b [--log FILE]   over streams

The log has one JSON line for each message that was heard and each answer that was given. A line is written at once and
whole, so that it outlives a kill:

    {"heard": text, "text": text, "agent", "session", "message_id", "redelivered": bool, "at": seconds since the epoch}
    {"answered": text, "response": text, ...the same}

`redelivered` says that the stream gave the message before, and nobody had acknowledged it.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import anyio
import msgspec
from anyio.abc import TaskStatus

_encode = msgspec.json.Encoder().encode


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """Which message a line speaks of."""

    agent: str
    session: object = None
    message_id: object = None
    redelivered: bool = False


class AgentLog:
    """Appends lines to a file; without a file it writes nothing."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = None if file is None else file.open("ab", buffering=0)

    def heard(self, text: str, of: Heard) -> None:
        """A message came."""
        self._write({"heard": text, "text": text}, of)

    def answered(self, text: str, of: Heard) -> None:
        """Its answer was given."""
        self._write({"answered": text, "response": text}, of)

    def close(self) -> None:
        """Write nothing any more."""
        if self._file is not None:
            self._file.close()

    def _write(self, said: dict[str, object], of: Heard) -> None:
        if self._file is not None:
            line = said | msgspec.structs.asdict(of) | {"at": datetime.now(UTC).timestamp()}
            self._file.write(_encode(line) + b"\n")


class Agent(Protocol):
    """What can be run."""

    def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> Coroutine[Any, Any, None]:
        """Listen and answer until cancelled."""
        ...


def run_program(make: Callable[[str, Sequence[str], AgentLog], Agent], words: Sequence[str] | None = None) -> None:
    """Read the command line, and run the agent until a signal ends it."""
    parser = argparse.ArgumentParser(description="An echo agent.", allow_abbrev=False)
    parser.add_argument("--redis", required=True, metavar="URL")
    parser.add_argument("--agents", required=True, metavar="A,B", help="ids of the agents that it serves")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append a line for each message and answer")
    given = parser.parse_args(words)
    anyio.run(_until_a_signal, make, given.redis, [name for name in given.agents.split(",") if name], given.log)


async def _until_a_signal(
    make: Callable[[str, Sequence[str], AgentLog], Agent], url: str, agent_ids: Sequence[str], file: Path | None
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        log = AgentLog(file)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(make(url, agent_ids, log).run)
                async for _ in signals:
                    break
                tasks.cancel_scope.cancel()
        finally:
            log.close()
