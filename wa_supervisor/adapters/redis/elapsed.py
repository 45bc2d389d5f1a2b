"""The clock that goes on while a process is stopped and while the machine sleeps.

The event loop's own may stand still in a suspended machine, and what is asked of this one is whether another daemon may
have taken something over meanwhile.
"""

from __future__ import annotations

import time


def boot_seconds() -> float:
    """Give the seconds since the machine was booted, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
