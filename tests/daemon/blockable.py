"""The command with an event loop that can be blocked: on SIGUSR1 it sleeps, as a library that forgot itself would.

Run as `python -m tests.daemon.blockable WORDS...`; the words are those of `wa-supervisor`.
"""

from __future__ import annotations

import signal
import time

from wa_supervisor.cli import main

FOR_GOOD = 3600.0
"""Seconds: nobody waits that long."""


def _sleep(_number: int, _frame: object) -> None:
    time.sleep(FOR_GOOD)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _sleep)
    main()
