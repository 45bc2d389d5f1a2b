"""A session's line to its gateway: every call of the session goes through it.

It does three things that a port cannot be trusted with: a call that does not end is ended and called hung, a
cancellation that nobody gave becomes an error, and the line of a session that was abandoned is cut, so that two
incarnations can never act. Limits of calls that end by themselves are the adapter's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

from wa_supervisor.domain.chat_history import ChatRow, Found
from wa_supervisor.domain.errors import CutOffError, HungError, LeakedCancellationError
from wa_supervisor.domain.gateway import GatewayHealth, SessionAccess, SessionReport, StartOptions
from wa_supervisor.domain.names import ChatId, GatewayName, StanzaId
from wa_supervisor.domain.sending import NotSent, Repeat, SendOutcome, Unknown
from wa_supervisor.engine.ports import Gateway, MayLeave, always
from wa_supervisor.engine.retrying import is_being_cancelled

T = TypeVar("T")


class Line:
    """Port `Gateway` for one incarnation of one session. Raises `HungError` and `CutOffError` too."""

    def __init__(self, gateway: Gateway, limit: float) -> None:
        self._gateway = gateway
        self._limit = limit
        self._is_cut = False

    def __repr__(self) -> str:
        return f"<Line to {self.name}{', cut' if self._is_cut else ''}>"

    @property
    def name(self) -> GatewayName:
        """The gateway's name."""
        return self._gateway.name

    def cut(self) -> None:
        """Let nothing through any more."""
        self._is_cut = True

    async def health(self) -> GatewayHealth:
        """Ask `healthz`."""
        return await self._through("healthz", self._gateway.health)

    async def start(self, access: SessionAccess, options: StartOptions) -> None:
        """Start the session's browser."""
        await self._through("start-session", lambda: self._gateway.start(access, options))

    async def report(self, access: SessionAccess) -> SessionReport:
        """Ask `status-session`."""
        return await self._through("status-session", lambda: self._gateway.report(access))

    async def is_connected(self, access: SessionAccess) -> bool:
        """Ask `check-connection-session`."""
        return await self._through("check-connection-session", lambda: self._gateway.is_connected(access))

    async def close(self, access: SessionAccess) -> None:
        """Close the session's browser."""
        await self._through("close-session", lambda: self._gateway.close(access))

    async def set_typing(self, access: SessionAccess, chat: ChatId, on: bool) -> None:
        """Show or hide "typing"."""
        await self._through("typing", lambda: self._gateway.set_typing(access, chat, on))

    async def send_text(
        self,
        access: SessionAccess,
        chat: ChatId,
        text: str,
        *,
        stanza: StanzaId | None = None,
        may_leave: MayLeave = always,
    ) -> SendOutcome:
        """Send one text; a call that hung has an unknown outcome."""

        async def send() -> SendOutcome:
            return await self._gateway.send_text(access, chat, text, stanza=stanza, may_leave=may_leave)

        try:
            return await self._through("send-message", send)
        except CutOffError as error:
            return NotSent(reason=error.reason, message=str(error), repeat=Repeat.NEVER)
        except (HungError, LeakedCancellationError) as error:
            return Unknown(reason=error.reason, message=str(error))

    async def chats(self, access: SessionAccess, *, count: int, start: ChatId | None = None) -> Sequence[ChatRow]:
        """Ask `list-chats`."""
        return await self._through("list-chats", lambda: self._gateway.chats(access, count=count, start=start))

    async def messages(
        self, access: SessionAccess, chat: ChatId, *, count: int, after: str | None = None, before: str | None = None
    ) -> Sequence[Found]:
        """Ask `get-messages`."""

        async def ask() -> Sequence[Found]:
            return await self._gateway.messages(access, chat, count=count, after=after, before=before)

        return await self._through("get-messages", ask)

    async def number_exists(self, access: SessionAccess, chat: ChatId) -> bool:
        """Ask `check-number-status`."""
        return await self._through("check-number-status", lambda: self._gateway.number_exists(access, chat))

    async def _through(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        if self._is_cut:
            raise CutOffError("this session did not stop when it was told to, and was cut off")
        with anyio.move_on_after(self._limit):
            try:
                return await call()
            except anyio.get_cancelled_exc_class() as error:
                if is_being_cancelled():
                    raise
                message = f"{what} was cancelled, and nobody did it"
                raise LeakedCancellationError(message) from error  # noqa: ASYNC104  # ours is raised as it is
        raise HungError(f"{what} neither answered nor failed in {self._limit:g} s")
