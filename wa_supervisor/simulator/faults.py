"""Scripted answers: late, failing before or after the effect, empty, HTML, or none at all.

A `Fault` says which calls it is for, whether they have their effect, and what is answered; it is checked before every
call, first match first, and uses itself up after `times` calls. Examples:

    Fault(route="send-message", done=True, answer="error", times=1)   # 500, and yet the message was sent
    Fault(route="status-session", delay=3.0)                          # answers after three seconds
    Fault(route="*", answer="error")                                  # 500 for everything
    Fault(route="send-message", answer="empty")                       # 201 with [], nothing sent
    Fault(route="send-message", done=True, answer="nothing")          # sent, and never answered
    Fault(route="*", answer="html", status=502)                       # a proxy's page
    Fault(route="get-messages", answer="error")                       # 401 "Error on open list"
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

FaultAnswer = Literal["own", "error", "empty", "html", "nothing", "cut"]
"""`own`: what the call answers by itself. `nothing`: never. `cut`: the connection is cut instead of an answer."""

_FAILED: dict[str, Any] = {"level": "error"}

SEND_ERROR: dict[str, Any] = {"status": "Error", "message": "Erro ao enviar a mensagem.", "error": _FAILED}
OPEN_LIST_ERROR: dict[str, Any] = {"status": "error", "response": "Error on open list", "error": _FAILED}
CLOSE_ERROR: dict[str, Any] = {"status": False, "message": "Error closing session", "error": _FAILED}
ANY_ERROR: dict[str, Any] = {"status": "error", "message": "The session is not active", "error": _FAILED}

HTML_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Error</title>
</head>
<body>
<pre>{0}</pre>
</body>
</html>
"""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that goes wrong with matching calls."""

    route: str = "*"
    """The route's name (`send-message`); `*` for every route but the control interface."""
    session: str | None = None
    """Only this session; None for all, and for calls without a session."""
    after: int = 0
    """Matching calls that pass unharmed first."""
    times: int | None = None
    """Calls that it is for; None for ever."""
    delay: float = 0.0
    """Seconds before the call has its effect."""
    late: float = 0.0
    """Seconds between the effect and the answer."""
    done: bool | None = None
    """Whether the call has its effect; by default only with the call's own answer."""
    answer: FaultAnswer = "own"
    status: int | None = None
    """HTTP status of `error` and `html` answers, if not their usual one."""

    @property
    def has_effect(self) -> bool:
        """Whether the call does what it was asked."""
        return self.answer == "own" if self.done is None else self.done


class FaultBook:
    """The faults in force."""

    def __init__(self) -> None:
        self._faults: list[_Live] = []

    def add(self, fault: Fault) -> None:
        """From the next call on."""
        self._faults.append(_Live(fault))

    def clear(self) -> None:
        """Mend everything."""
        self._faults.clear()

    def standing(self) -> list[Fault]:
        """What is in force."""
        return [live.fault for live in self._faults]

    def take(self, route: str, session: str | None) -> Fault | None:
        """The fault for this call, if any; counts it."""
        for live in self._faults:
            if live.matches(route, session):
                return self._count(live)
        return None

    def _count(self, live: _Live) -> Fault | None:
        live.seen += 1
        fault = live.fault
        if live.seen <= fault.after:
            return None
        if fault.times is not None and live.seen >= fault.after + fault.times:
            self._faults.remove(live)
        return fault


class _Live:
    __slots__ = ("fault", "seen")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0

    def matches(self, route: str, session: str | None) -> bool:
        fault = self.fault
        return fault.route in ("*", route) and fault.session in (None, session)


def error_of(route: str) -> tuple[int, dict[str, Any]]:
    """Status and body with which the route fails in the real server."""
    if route == "get-messages":
        return 401, OPEN_LIST_ERROR
    if route == "close-session":
        return 500, CLOSE_ERROR
    if route.startswith("send-") and route != "send-seen":
        return 500, SEND_ERROR
    return 500, ANY_ERROR
