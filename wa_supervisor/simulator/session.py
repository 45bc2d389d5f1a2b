"""The life of one simulated session, and what can be scripted to go wrong with it.

It follows the server's source: `status` is only the memory of the last event, and a session whose browser has crashed
or whose WhatsApp socket is dead goes on saying CONNECTED. Everything happens in plain calls and timers of the running
event loop; the object lives as long as the gateway, so logins and chats survive closing, drops and restarts of the
server, as they do on disk and on the phone.

It does not know HTTP: `start`, `close` and `logout` are what the routes call, the verbs after them are for the script.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Literal

from wa_supervisor.simulator.page import PageState, WebPage
from wa_supervisor.simulator.world import World

QR_PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
"""A PNG of one pixel in place of a drawn QR; what a phone would scan is `urlcode`."""

DeadSends = Literal["timeout", "ack0"]
"""How sends end over a dead WhatsApp socket: 500 after the page's time-out, or 201 with `ack` 0."""


class Status(StrEnum):
    """What status-session may say."""

    CLOSED = "CLOSED"
    INITIALIZING = "INITIALIZING"
    QRCODE = "QRCODE"
    PHONECODE = "PHONECODE"
    CONNECTED = "CONNECTED"


class SimulatedSession:
    """A session of the simulated gateway. By default its login is stored, so that a start connects it."""

    def __init__(self, name: str, own_id: str, world: World) -> None:
        self.name = name
        self.own_id = own_id
        self.page = WebPage(name, own_id, world)
        self.has_login = True
        self.settings: dict[str, Any] = {}
        """The body of the last start that had one."""
        self.proxy_in_use: object = None
        self.urlcode: str | None = None
        """What the QR says; the server keeps it after the QR was given up, and after the login."""
        self.code: str | None = None
        """The shown pairing code."""
        self.dead_sends: DeadSends = "timeout"
        self.was_started = False
        """Whether it was ever started; if so, and its login is stored, the server starts it at its own boot."""
        self._world = world
        self._status: Status | None = None
        self._known = False
        self._named = True
        self._stuck_starts = 0.0
        self._is_profile_kept = False
        self._broken_pages = 0.0
        self._refusals = 0.0
        self._secret_refusals = 0.0
        self._qr_number = 0
        self._timers: list[asyncio.TimerHandle] = []

    def __repr__(self) -> str:
        return f"<SimulatedSession {self.name} {self.status} page={self.page.state.value} login={self.has_login}>"

    @property
    def status(self) -> Status:
        """What the server would say; CLOSED for a session that it never heard of."""
        return self._status or Status.CLOSED

    @property
    def is_running(self) -> bool:
        """CONNECTED and true: the page is alive and the server listens to it."""
        return self._status is Status.CONNECTED and self.page.state is PageState.ALIVE and self.page.listening

    @property
    def remembered_name(self) -> str | None:
        """The name that the server puts into its answers: "" if it never heard of it, None if it has lost it."""
        if not self._known:
            return ""
        return self.name if self._named or self.page.state is not PageState.NONE else None

    def state(self) -> dict[str, Any]:
        """The body of status-session."""
        if self._status is None:
            return {"status": "CLOSED", "qrcode": None}
        body: dict[str, Any] = {"status": self._status.value, "qrcode": None}
        if self.urlcode is not None:
            body |= {"qrcode": f"data:image/png;base64,{QR_PICTURE}", "urlcode": self.urlcode}
        return body | {"version": self._world.manners.version}

    # What the routes call

    def start(self, body: dict[str, Any]) -> None:
        """Begin to start, unless the server believes that the session is starting or running."""
        if self._status not in (None, Status.CLOSED):
            return
        self._close_page()
        if not self._known:
            self._known, self._named = True, True
        self.settings = body or self.settings
        self._status = Status.INITIALIZING
        self.was_started = True
        self._world.ledger.starts[self.name] += 1
        self._take_proxy()
        self._unlink_if_code_is_asked(body)
        if self._stuck_starts > 0:
            self._stuck_starts -= 1
        else:
            self._after(self._world.timings.browser_start, self._page_loaded)
        self._world.bell.ring()

    def close(self) -> bool:
        """Reset the session, keeping its login; False where the server answers 500 and (mostly) resets it anyway."""
        self._world.ledger.closes[self.name] += 1
        if not self._known or self._status is None:
            return self._known
        could_close = self.page.state is not PageState.NONE
        self._end(known=True, named=False)
        if could_close:
            self._world.feed.emit("whatsapp-status", False)  # noqa: FBT003 - the payload is a bare boolean
        return could_close

    def logout(self) -> None:
        """Unlink the device: the login is gone."""
        self._world.ledger.logouts[self.name] += 1
        self.has_login = False
        self._end(known=False, named=True)
        self._world.feed.emit("whatsapp-status", False)  # noqa: FBT003 - the payload is a bare boolean

    def server_died(self) -> None:
        """The server process has ended, old browsers with it; only what is on disk and on the phone stays."""
        if self._is_profile_kept:
            self._is_profile_kept, self._stuck_starts = False, 0.0
        self._end(known=False, named=True)

    def refuses_token(self) -> bool:
        """Whether this authenticated call is to be refused; counts down."""
        if self._refusals <= 0:
            return False
        self._refusals -= 1
        return True

    def refuses_secret(self) -> bool:
        """Whether no token is made for it this time, although the secret is right; counts down."""
        if self._secret_refusals <= 0:
            return False
        self._secret_refusals -= 1
        return True

    # What the script calls

    def needs_login(self) -> None:
        """The stored login is gone: the next start shows a QR, or a pairing code if it is given a `phone`."""
        self.has_login = False

    def scan(self) -> None:
        """Somebody scans the shown QR or enters the shown pairing code. Raises `RuntimeError` if none is shown."""
        if self._status not in (Status.QRCODE, Status.PHONECODE):
            raise RuntimeError(f"session {self.name} shows no QR or pairing code; it is {self.status}")
        self._cancel_timers()
        self._after(self._world.timings.login, self._connect)

    def stick(self, starts: float = 1) -> None:
        """The next `starts` starts stay INITIALIZING for ever: `math.inf` until unstuck, 0 to mend it."""
        self._stuck_starts, self._is_profile_kept = starts, False

    def keep_profile(self) -> None:
        """An old browser keeps the profile: every start gets stuck until the server process is restarted."""
        self._stuck_starts, self._is_profile_kept = math.inf, True

    def break_pages(self, pages: float = 1) -> None:
        """The next `pages` logins end in `session-error`, not `session-logged`; the status stays as it was."""
        self._broken_pages = pages

    def crash_browser(self) -> None:
        """The browser is gone. The status still says CONNECTED, check-connection-session says false."""
        self._turn(PageState.CRASHED)

    def die(self, sends: DeadSends = "timeout") -> None:
        """WhatsApp's socket is dead: status and check still say connected, nothing arrives, sends fail as `sends`."""
        self.dead_sends = sends
        self._turn(PageState.DEAD)

    def revive(self) -> None:
        """WhatsApp's socket is back by itself; what had arrived meanwhile is in the chats and is not emitted."""
        self._turn(PageState.ALIVE)
        self.page.history.load_absent()

    def drop(self, *, keep_login: bool = False) -> None:
        """CLOSED without any event. The phone removed the device, so a login is needed, unless `keep_login`."""
        self.has_login = self.has_login and keep_login
        self._end(known=False, named=True)

    def refuse_tokens(self, times: float = math.inf) -> None:
        """Answer the next `times` authenticated calls with 401; 0 ends it."""
        self._refusals = times

    def refuse_secret(self, times: float = math.inf) -> None:
        """Make no token for it the next `times` it is asked, as if the secret were wrong; 0 ends it."""
        self._secret_refusals = times

    def lose_name(self) -> None:
        """From now on `qrCode` and `phoneCode` come without the session, as after a close and a start."""
        self._known, self._named = True, False

    # What happens by itself

    def _page_loaded(self) -> None:
        if self.has_login:
            self._connect()
        elif self.settings.get("phone"):
            self._offer_code()
        else:
            self._status = Status.QRCODE
            self._after(self._world.timings.qr_give_up, self._give_up)
            self._offer_qr()

    def _offer_qr(self) -> None:
        self._qr_number += 1
        self.urlcode = f"2@simulated{self._qr_number},{self.name}"
        self._emit_named("qrCode", {"data": f"data:image/png;base64,{QR_PICTURE}"})
        self._after(self._world.timings.qr_renewal, self._offer_qr)
        self._world.bell.ring()

    def _offer_code(self) -> None:
        self._status = Status.PHONECODE
        self._qr_number += 1
        self.code = f"SIMU{self._qr_number:04d}"
        self._emit_named("phoneCode", {"data": self.code, "phone": self.settings["phone"]})
        self._after(self._world.timings.qr_give_up, self._give_up)
        self._world.bell.ring()

    def _emit_named(self, event: str, payload: dict[str, Any]) -> None:
        if self._named:
            payload["session"] = self.name
        self._world.feed.emit(event, payload)

    def _give_up(self) -> None:
        self._cancel_timers()
        self._status = Status.CLOSED
        self._world.bell.ring()

    def _connect(self) -> None:
        world = self._world
        self.has_login = True
        if self._broken_pages > 0:
            self._broken_pages -= 1
            self.page.open(PageState.CRASHED)
            world.feed.emit("session-error", self.name)
            return
        self.page.open()
        self._status = Status.CONNECTED
        world.feed.emit("session-logged", {"status": True, "session": self.name})
        self._after(world.timings.listeners_late_by, self._listen)
        self._after(world.timings.chats_late_by, self.page.history.load_absent)
        world.bell.ring()

    def _listen(self) -> None:
        self.page.listening = True
        self._world.bell.ring()

    def _turn(self, state: PageState) -> None:
        if self._status is not Status.CONNECTED:
            raise RuntimeError(f"session {self.name} is {self.status}, not CONNECTED")
        self.page.state = state
        self._world.bell.ring()

    def _take_proxy(self) -> None:
        given = self.settings.get("proxy")
        if given is not None:
            self._world.leaking_proxy = given
        self.proxy_in_use = self._world.leaking_proxy

    def _unlink_if_code_is_asked(self, body: dict[str, Any]) -> None:
        if body.get("phone") and self.has_login:
            self.has_login = False
            self._world.ledger.unlinked[self.name] += 1

    def _end(self, *, known: bool, named: bool) -> None:
        self._close_page()
        self.urlcode = self.code = None
        self._known, self._named, self._status = known, named, None
        self._world.bell.ring()

    def _close_page(self) -> None:
        self._cancel_timers()
        self.page.close()
        self._world.ledger.clear_indicators(self.name)

    def _after(self, delay: float, act: Callable[[], None]) -> None:
        handle = self._world.later(delay, act)
        if handle is not None:
            self._timers.append(handle)

    def _cancel_timers(self) -> None:
        for handle in self._timers:
            handle.cancel()
        self._timers.clear()
