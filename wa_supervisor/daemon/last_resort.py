"""The last resort: a process that was told to end and does not is ended, and says what kept it.

Something may swallow its cancellation, or block the event loop, and then no task can end the process any more. So a
thread waits that needs no event loop: armed when the stop begins, with the time in which everything ends if all goes
well. When it comes to that it names what still runs, writes out the log, tells the children (private servers) to end,
and leaves with `ABANDONED`. It waits for nobody: even the log is written by a thread that may hang.

It deliberately does not decide when a stop is slow; that is the number it is armed with.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

_logger = logging.getLogger(__name__)

ABANDONED = 70
"""Exit code of a process that was ended by force (`EX_SOFTWARE` of sysexits.h: a mistake in the program)."""

SAYING = 3.0
"""Seconds that the last lines have: whoever blocks the event loop may hold the log's lock too."""

_PACKAGE = Path(__file__).parents[1]

MOST_NAMED = 30
"""Tasks that are named: enough to see which kind of work does not end, few enough for one line."""


class LastResort:
    """Ends the process from a thread of its own. `leave` is `os._exit`, which runs nothing more."""

    def __init__(self, *, leave: Callable[[int], object] = os._exit) -> None:
        self._leave = leave
        self._timer: threading.Timer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._names: Callable[[], Sequence[str]] = tuple
        self._seconds = 0.0

    def __repr__(self) -> str:
        return f"<LastResort {f'in {self._seconds:.0f} s' if self._timer else 'not armed'}>"

    @property
    def is_armed(self) -> bool:
        """Whether the process is ended by force if it does not end."""
        return self._timer is not None

    def arm(self, seconds: float, *, names: Callable[[], Sequence[str]] = tuple) -> None:
        """End the process in `seconds` from now, whatever was said before.

        `names` gives what was abandoned so far; it is called from another thread and must not wait.
        """
        self.disarm()
        with suppress(RuntimeError):  # told before a loop runs: then there are no tasks to name
            self._loop = asyncio.get_running_loop()
        self._names, self._seconds = names, seconds
        self._timer = threading.Timer(seconds, self._end)
        self._timer.name, self._timer.daemon = "last resort", True
        self._timer.start()

    def disarm(self) -> None:
        """Leave the process alone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        try:
            teller = threading.Thread(target=self._say, name="last words", daemon=True)
            teller.start()
            teller.join(SAYING)
            end_children(os.getpid())
        finally:
            self._leave(ABANDONED)

    def _say(self) -> None:
        extra = {
            "seconds": self._seconds,
            "abandoned": _listed(self._names),
            "tasks": "; ".join(unfinished(self._loop)) or None,
            "main_thread": _place(sys._current_frames().get(threading.main_thread().ident or 0)),  # noqa: SLF001  # the only way to see where another thread is
            "exit_code": ABANDONED,
        }
        _logger.critical("did not end in time: leaving by force", extra=extra)
        for handler in logging.getLogger().handlers:
            handler.flush()


def _listed(names: Callable[[], Sequence[str]]) -> str | None:
    try:
        return ", ".join(names()) or None
    except Exception as error:  # noqa: BLE001  # the last line there is must come out whatever is wrong with a part of it
        return f"cannot be named: {error!r}"


def unfinished(loop: asyncio.AbstractEventLoop | None) -> list[str]:
    """Name what still runs in `loop` and where it waits, from any thread."""
    tasks = asyncio.all_tasks(loop) if loop is not None else ()
    named = sorted(f"{_short(task.get_name())} at {_innermost(task)}" for task in tasks if not task.done())
    more = [f"{len(named) - MOST_NAMED} more"] if len(named) > MOST_NAMED else []
    return [*named[:MOST_NAMED], *more]


def end_children(parent: int) -> None:
    """Tell every child of `parent` to end as on Ctrl-C, which both private servers take as: at once, and in order."""
    for child in _children(parent):
        with suppress(OSError):
            os.kill(child, signal.SIGINT)


def _children(parent: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    yield int(entry.name)


def _short(name: str) -> str:
    return name.removeprefix("wa_supervisor.")


def _innermost(task: asyncio.Task[object]) -> str:
    """Follow what is awaited down to the last coroutine of ours, or of a library where none is ours."""
    awaited: object = task.get_coro()
    frames: list[FrameType] = []
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        frames.append(frame)
        awaited = getattr(awaited, "cr_await", None)
    ours = [each for each in frames if _PACKAGE in Path(each.f_code.co_filename).parents]
    return _place(next(reversed(ours or frames), None))


def _place(frame: FrameType | None) -> str:
    if frame is None:
        return "an unknown place"
    last = traceback.extract_stack(frame, limit=1)[-1]
    return f"{last.name} ({Path(last.filename).name}:{last.lineno})"
