"""The daemon's pulse for its service manager: the status line, and the watchdog.

The watchdog is fed from the reconcile loop's own progress, never from a free timer: a loop that is blocked or a round
that is stuck lets the service manager kill the process. A Redis or gateway that is away does not: a round that could
not be made is progress too.
"""

from __future__ import annotations

from typing import NoReturn

import anyio

from wa_supervisor.adapters.systemd import ServiceManager
from wa_supervisor.daemon.summary import one_line
from wa_supervisor.daemon.telling import Telling

INTERVAL = 1.0
"""Seconds between looks: a status line changes at most once a second."""


class Pulse:
    """Tells the service manager how it goes."""

    def __init__(self, manager: ServiceManager, telling: Telling, *, longest_round: float) -> None:
        self._manager = manager
        self._telling = telling
        self._longest_round = longest_round
        self._fed_at = 0.0

    async def run(self) -> NoReturn:
        """Tell until cancelled."""
        while True:
            self._manager.status(one_line(self._telling.statuses()) if self._telling.is_ready else "coming up")
            self._feed()
            self._telling.flush()
            await anyio.sleep(INTERVAL)

    def _feed(self) -> None:
        interval = self._manager.watchdog_interval
        if interval is None:
            return
        now = anyio.current_time()
        makes_progress = now - self._telling.last_round < self._longest_round
        if makes_progress and now - self._fed_at >= interval:
            self._manager.watchdog()
            self._fed_at = now
