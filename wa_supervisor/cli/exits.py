"""Exit codes: 0 fine, 2 usage (click's own), and these."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What a script can tell from how a command ended."""

    FAILED = 1
    """The command failed."""
    NOT_RUNNING = 3
    """Some selected session is not running (as `systemctl status` and LSB have it)."""
    UNKNOWN = 4
    """No such session, or its state is unknown because Redis or the daemon cannot be reached."""
    TIMED_OUT = 5
    """`--wait` did not see the end in time."""
    CONFIGURATION = 78
    """The configuration is wrong (`EX_CONFIG`)."""
    INTERRUPTED = 130
    """Ctrl-C, as shells have it: 128 and the number of the signal."""
