"""A daemon under signals: SIGTERM and SIGINT drain and end it, a second one ends it at once, SIGHUP reloads."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable

import anyio

from wa_supervisor.config import Settings
from wa_supervisor.daemon.main import Daemon
from wa_supervisor.domain.errors import ConfigurationError

_logger = logging.getLogger(__name__)


async def run_under_signals(daemon: Daemon, load: Callable[[], Settings]) -> None:
    """Run `daemon` until a signal ends it; `load` reads the settings again for a reload."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_obey, daemon, load, tasks.cancel_scope)
        await daemon.run()
        tasks.cancel_scope.cancel()


async def _obey(daemon: Daemon, load: Callable[[], Settings], scope: anyio.CancelScope) -> None:
    asked = 0
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        async for number in received:
            if number == signal.SIGHUP:
                _reload(daemon, load)
                continue
            asked += 1
            if asked > 1:
                _logger.warning("asked twice to stop: ending at once")
                scope.cancel()
            daemon.stop()


def _reload(daemon: Daemon, load: Callable[[], Settings]) -> None:
    try:
        daemon.reload(load)
    except ConfigurationError as error:
        for mistake in error.mistakes:
            message = "configuration not reloaded, the old one stays"
            _logger.error(message, extra={"mistake": mistake})  # noqa: TRY400  # a mistake is no traceback
