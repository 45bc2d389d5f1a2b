"""Keeps one server running: starts it, waits until it answers, starts it again when it dies, stops it at the end.

A keeper is one task. A first start that fails is raised; a later one is logged and tried again, with a pause that
doubles up to a limit, for ever. Cancelling is how the server is stopped: politely, within a limit, under a shield.

It deliberately does not know which server it keeps: that is in the `ServerPlan`.
"""

from __future__ import annotations

import logging
import signal
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import anyio
import anyio.to_thread
from anyio.abc import Process

from wa_supervisor.domain.errors import WaSupervisorError
from wa_supervisor.embedded.account import Account, switched, tool_environment
from wa_supervisor.embedded.errors import ServerStartError
from wa_supervisor.embedded.logs import begin_log, explain, log_end, shorten_log
from wa_supervisor.embedded.policy import EmbeddedPolicy
from wa_supervisor.embedded.processes import Habitat, end_tenants

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlan:
    """All that is needed to run one server, again and again."""

    name: str
    """In logs and errors."""
    url: str
    """Where clients find it."""
    command: tuple[str, ...]
    habitat: Habitat
    """Its data directory, in which it works and by which it is found again."""
    account: Account | None
    """The user it runs as, None for our own."""
    log: Path
    stop_signal: signal.Signals
    sweep: Callable[[], None]
    """Removes what a dead server leaves in the way; called when none lives."""
    is_answering: Callable[[], Awaitable[bool]]


class Keeper:
    """Keeps the server of one plan running."""

    def __init__(self, plan: ServerPlan, policy: EmbeddedPolicy) -> None:
        self._plan = plan
        self._policy = policy
        self._fields = {"server": plan.name}

    def __repr__(self) -> str:
        return f"<Keeper of {self._plan.name} in {self._plan.habitat.directory}>"

    async def keep(self, tell_ready: Callable[[], None]) -> NoReturn:
        """Run the server until cancelled; call `tell_ready` when it first answers.

        Raises ServerStartError if the first start fails.
        """
        pause = self._policy.restart_first_seconds
        healthy = await self._live(tell_ready)
        while True:
            pause = self._policy.restart_first_seconds if healthy else min(pause * 2, self._policy.restart_most_seconds)
            await anyio.sleep(pause)
            try:
                healthy = await self._live(lambda: logger.warning("server is back", extra=self._fields))
            except (WaSupervisorError, OSError) as error:
                healthy = False
                fields = {**self._fields, "error": str(error)}
                logger.error("server does not start", extra=fields)  # noqa: TRY400 - the message explains it

    async def _live(self, tell_ready: Callable[[], None]) -> bool:
        """One life of the server, from a clean start to its death; answers whether it was a long and healthy one."""
        await self._clear_the_place()
        process = await self._launch()
        try:
            await self._await_answer(process)
            began = anyio.current_time()
            tell_ready()
            await self._watch(process)
        finally:
            limit = self._policy.stop_seconds + 2 * self._policy.kill_seconds  # the second for reaping
            with anyio.move_on_after(limit, shield=True):
                await self._stop(process)
        status = process.returncode
        logger.error("server died", extra={**self._fields, "status": status, "log": log_end(self._plan.log)})
        return anyio.current_time() - began >= self._policy.healthy_seconds

    async def _clear_the_place(self) -> None:
        ended = await end_tenants(self._plan.habitat, self._plan.stop_signal, self._policy)
        if ended:
            logger.warning("ended what an earlier life left", extra={**self._fields, "processes": ended})

    async def _launch(self) -> Process:
        """Start the program in a session of its own, so that a terminal's Ctrl-C does not reach it."""
        try:
            self._plan.sweep()
            with begin_log(self._plan.log) as log:
                return await anyio.open_process(
                    self._plan.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self._plan.habitat.directory,
                    env=tool_environment(),
                    start_new_session=True,
                    **switched(self._plan.account),
                )
        except OSError as error:
            raise ServerStartError(f"{self._plan.name} could not be started: {error}") from error

    async def _await_answer(self, process: Process) -> None:
        with anyio.move_on_after(self._policy.start_seconds):
            while process.returncode is None:
                with anyio.move_on_after(self._policy.probe_seconds):
                    if await self._plan.is_answering():
                        return
                await anyio.sleep(self._policy.probe_pause_seconds)
        ended = f"ended with status {process.returncode}" if process.returncode is not None else "does not answer"
        raise ServerStartError(explain(f"{self._plan.name} {ended}", self._plan.log))

    async def _watch(self, process: Process) -> None:
        """Return when the server has died; meanwhile keep its log short."""
        while process.returncode is None:
            with anyio.move_on_after(self._policy.log_check_seconds):
                await process.wait()
            await anyio.to_thread.run_sync(shorten_log, self._plan.log, self._policy.log_limit_bytes)

    async def _stop(self, process: Process) -> None:
        if process.returncode is None:
            process.send_signal(self._plan.stop_signal)
            with anyio.move_on_after(self._policy.stop_seconds):
                await process.wait()
        if process.returncode is None:
            logger.error("server did not stop in time and is killed", extra=self._fields)
            await self._kill()
        await process.aclose()

    async def _kill(self) -> None:
        """Kill the server with its children; when stopping there is nobody left who could act on a failure."""
        try:
            await end_tenants(self._plan.habitat, signal.SIGKILL, self._policy)
        except ServerStartError as error:
            logger.error("server survives SIGKILL", extra={**self._fields, "error": str(error)})  # noqa: TRY400 - told
