"""One child process: started, signalled by its own id, and ended for certain.

Each has a log of its own in the run's folder. A child is in a session of its own, so that a terminal's Ctrl-C reaches
only this program, which then ends its children. It deliberately does not decide when a child is to live.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
from anyio.abc import Process

from wa_supervisor.embedded.account import Account, switched

LAST_PATIENCE = 15.0
"""Seconds from a polite signal to SIGKILL: a daemon drains for as long as its configuration says, which is less."""

REAPING = 10.0
"""Seconds from SIGKILL until a process must be gone."""


class Child:
    """A program that may be started again and again, one process at a time."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = tuple(command)
        self._env = env
        self._cwd = cwd
        self._account = account
        self._process: Process | None = None

    def __repr__(self) -> str:
        return f"<Child {self.name} {self.pid or 'not running'}>"

    @property
    def pid(self) -> int:
        """Its process id; 0 while it does not run."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    @property
    def returncode(self) -> int | None:
        """How it ended, if it did."""
        return self._process.returncode if self._process is not None else None

    async def start(self) -> None:
        """Start it; its output goes to the end of its log."""
        with self.log.open("ab") as log:
            self._process = await anyio.open_process(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
                cwd=self._cwd,
                **switched(self._account),
            )

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.pid:
            with suppress(ProcessLookupError):  # it has ended, and the event loop has not heard of it yet
                os.kill(self.pid, number)

    async def wait(self) -> int | None:
        """Wait until it has ended; how it ended."""
        return await self._process.wait() if self._process is not None else None

    async def end(self, polite: signal.Signals = signal.SIGTERM) -> None:
        """End it: by the polite signal, and by SIGKILL if that does not do it."""
        for number, seconds in ((polite, LAST_PATIENCE), (signal.SIGKILL, REAPING)):
            self.send(number)
            self.send(signal.SIGCONT)  # one that is stopped would not see the first
            with anyio.move_on_after(seconds):
                await self.wait()
                return
