"""The daemon's pulse for its service manager: the status line, and the watchdog.

The watchdog is fed from the reconcile loop's own progress, never from a free timer: a loop that is blocked or a round
that is stuck lets the service manager kill the process. A Redis or gateway that is away does not: a round that could
not be made is progress too. For the same reason the manager is asked for more time while the daemon comes up and Redis
is not there yet: starting it again would not bring Redis.
"""

from __future__ import annotations

import math
from typing import NoReturn

import anyio

from wa_supervisor.adapters.systemd import ServiceManager
from wa_supervisor.daemon.telling import Telling

INTERVAL = 1.0
"""Seconds between looks, at most: a status line changes at most once a second."""

ASK_AGAIN = 10.0
"""Seconds between two requests for more time to come up."""


class Pulse:
    """Tells the service manager how it goes. `longest_round` is the time without a round after which one is stuck."""

    def __init__(self, manager: ServiceManager, telling: Telling, *, longest_round: float) -> None:
        self._manager = manager
        self._telling = telling
        self._longest_round = longest_round
        self._fed_at = -math.inf
        self._asked_at = -math.inf

    async def run(self) -> NoReturn:
        """Tell until cancelled."""
        began = anyio.current_time()
        interval = min(INTERVAL, self._manager.watchdog_interval or INTERVAL)
        while True:
            self._manager.status(self._telling.headline())
            now = anyio.current_time()
            if now - max(began, self._telling.last_round) < self._longest_round:
                self._feed(now)
                self._ask_for_time(now)
            self._telling.flush()
            await anyio.sleep(interval)

    def _feed(self, now: float) -> None:
        interval = self._manager.watchdog_interval
        if interval is not None and now - self._fed_at >= interval:
            self._manager.watchdog()
            self._fed_at = now

    def _ask_for_time(self, now: float) -> None:
        if self._telling.phase == "coming up" and now - self._asked_at >= ASK_AGAIN:
            self._manager.extend_timeout(self._longest_round + 2 * ASK_AGAIN)
            self._asked_at = now
