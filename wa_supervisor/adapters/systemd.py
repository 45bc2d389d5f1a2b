"""What the daemon tells its service manager: sd_notify over the socket that systemd names in the environment.

One datagram per message, no library. Without a service manager, and when the manager's socket is full or gone, nothing
happens: a daemon that cannot be watched still works, and a lost watchdog message is followed by the next one. Who calls
`watchdog` decides what it proves; nothing here has a timer. Source: sd_notify(3) and systemd.service(5).
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyPolicy:
    """How much the service manager is told."""

    status_interval: float = 1.0
    """Seconds between two status texts: each makes the manager tell everybody who watches the unit."""
    status_longest: int = 400
    """Characters of a status text; `systemctl status` shows one line."""


class ServiceManager:
    """The manager that started this process, if there is one.

    `environ` is the process's environment; `monotonic` must read CLOCK_MONOTONIC, because the manager compares it with
    its own.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        pid: int | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        policy: NotifyPolicy | None = None,
    ) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog_interval = _watchdog_interval(environ, os.getpid() if pid is None else pid)
        self._monotonic = monotonic
        self._policy = policy or NotifyPolicy()
        self._wanted = self._told = ""
        self._told_at: float | None = None

    def __repr__(self) -> str:
        return f"<ServiceManager {'present' if self.is_present else 'absent'}>"

    @property
    def is_present(self) -> bool:
        """Whether there is somebody to tell."""
        return self._address is not None

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between two calls of `watchdog`, half of what the manager allows; `None` when it does not watch."""
        return self._watchdog_interval

    def ready(self) -> None:
        """Say that the start, or a reload, is done."""
        self._send("READY=1", *self._status_line())

    def status(self, text: str) -> None:
        """Show `text` in `systemctl status`, on change and not too often; what comes too soon goes later."""
        self._wanted = " ".join(text.split())[: self._policy.status_longest]
        if line := self._status_line():
            self._send(*line)

    def watchdog(self) -> None:
        """Say that the daemon makes progress."""
        self._send("WATCHDOG=1", *self._status_line())

    def reloading(self) -> None:
        """Say that a reload begins; `ready` ends it, whether the new configuration was good or not."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={_microseconds(self._monotonic())}", *self._status_line())

    def stopping(self) -> None:
        """Say that the daemon has begun to stop."""
        self._send("STOPPING=1", *self._status_line())

    def extend_timeout(self, seconds: float) -> None:
        """Ask for `seconds` more from now on before a start, a reload or a stop counts as hung."""
        self._send(f"EXTEND_TIMEOUT_USEC={_microseconds(seconds)}", *self._status_line())

    def _status_line(self) -> tuple[str, ...]:
        now = self._monotonic()
        too_soon = self._told_at is not None and now - self._told_at < self._policy.status_interval
        if self._wanted == self._told or too_soon:
            return ()
        self._told, self._told_at = self._wanted, now
        return (f"STATUS={self._wanted}",)

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
                # The manager may be slow; waiting for it would stop the event loop.
                notifier.settimeout(0)
                notifier.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError as error:
            logger.debug("service manager not told", extra={"error": str(error), "notification": lines[0]})


def _address(notify_socket: str) -> str | None:
    if notify_socket.startswith("@"):
        return "\0" + notify_socket[1:]
    # Others (vsock:...) are for virtual machines.
    return notify_socket if notify_socket.startswith("/") else None


def _watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    allowed, watched = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not (allowed.isascii() and allowed.isdigit() and int(allowed)) or watched not in {"", str(pid)}:
        return None
    return int(allowed) / 1_000_000 / 2


def _microseconds(seconds: float) -> int:
    return int(seconds * 1_000_000)
