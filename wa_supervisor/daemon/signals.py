"""A daemon under signals: SIGTERM and SIGINT drain and end it, a second one ends it at once, SIGHUP reloads.

At once means: nothing more is finished, only cleaned up, within the limits that every cleaning up has; the signal after
that finds nobody who handles it.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable

import anyio
from anyio.abc import TaskStatus

from wa_supervisor.config import Settings
from wa_supervisor.daemon.main import Daemon
from wa_supervisor.daemon.plainly import told_plainly
from wa_supervisor.domain.errors import ConfigurationError

_logger = logging.getLogger(__name__)


async def run_under_signals(daemon: Daemon, load: Callable[[], Settings]) -> signal.Signals | None:
    """Run `daemon` until a signal ends it; `load` reads the settings again for a reload.

    Gives the signal that cut the ending short, `None` for a daemon that ended in order. Raises what `Daemon.run` does.
    """
    cut_short: list[signal.Signals] = []
    with told_plainly():
        async with anyio.create_task_group() as tasks:

            def end_at_once(number: signal.Signals) -> None:
                cut_short.append(number)
                daemon.hurry()
                tasks.cancel_scope.cancel()

            await tasks.start(_obey, daemon, load, end_at_once)
            await daemon.run()
            tasks.cancel_scope.cancel()
    return cut_short[0] if cut_short else None


async def _obey(
    daemon: Daemon,
    load: Callable[[], Settings],
    end_at_once: Callable[[signal.Signals], None],
    *,
    task_status: TaskStatus[None],
) -> None:
    is_asked = False
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        task_status.started()
        async for number in received:
            if number == signal.SIGHUP:
                _reload(daemon, load)
            elif is_asked:
                _logger.warning("asked twice to stop: ending at once", extra={"signal": number.name})
                end_at_once(number)
            else:
                is_asked = True
                daemon.stop()


def _reload(daemon: Daemon, load: Callable[[], Settings]) -> None:
    message = "configuration not reloaded, the old one stays"
    try:
        daemon.reload(load)
    except ConfigurationError as error:
        for mistake in error.mistakes:
            _logger.error(message, extra={"mistake": mistake})  # noqa: TRY400  # a mistake is no traceback
    except Exception:  # supervision border: whatever is wrong with the new settings, what runs goes on
        _logger.exception(message)
