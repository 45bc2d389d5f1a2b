"""One incarnation of a session: from its beginning to the moment from which it can do nothing any more.

It runs in the yard, so that a part of it that swallows its cancellation keeps nobody waiting. It is drained, told to
stop, and given some seconds to clean up; what has not ended then is named, cut off from its gateway and its record, and
left to itself. Only after that may another incarnation begin.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from wa_supervisor.domain.errors import LeakedCancellationError
from wa_supervisor.domain.observations import Abandoned, Observer, Trouble
from wa_supervisor.engine.crash import CrashError
from wa_supervisor.engine.policies import SupervisorPolicy
from wa_supervisor.engine.reply_router import ReplyRouter
from wa_supervisor.engine.session import Session
from wa_supervisor.engine.yard import Yard

LAST_INSTANTS = 1.0
"""Seconds for what arrived while a session was leaving; it takes milliseconds."""


class Incarnation:
    """A session while it lives."""

    def __init__(
        self,
        session: Session,
        *,
        yard: Yard,
        router: ReplyRouter,
        policy: SupervisorPolicy,
        observe: Observer,
        on_end: Callable[[], None],
    ) -> None:
        self.session = session
        self.is_cut_off = self._is_told = False
        self._router = router
        self._policy = policy
        self._observe = observe
        self._on_end = on_end
        self._draining = anyio.CancelScope()
        self._stay = yard.take_in(f"session {session.id}", session.run, self._ended)
        router.join(session)

    def __repr__(self) -> str:
        return f"<Incarnation of {self.session!r}>"

    @property
    def has_ended(self) -> bool:
        """Whether it ended, asked or not."""
        return self._stay.has_ended

    async def take_over(self) -> None:
        """Take what waits at the gateway's feed for this session, and what the gateway reports from now on."""
        session = self.session
        for message in session.room.feed.join(session.integration.session, session):
            session.take_message(message)

    def check(self) -> None:
        """Raise `CrashError` if it ended although nobody asked it to."""
        if self._stay.has_ended:
            self._is_told = True
            why = self._stay.error or LeakedCancellationError("the session ended, and nobody had asked it to")
            raise CrashError(f"{type(why).__name__}: {why}") from why

    async def drain(self, deadline: float) -> None:
        """End its life and carry what is in flight, for at most `deadline` seconds."""
        with self._draining:
            self._draining.deadline = anyio.current_time() + deadline + self._policy.cancel_timeout
            await self.session.drain(deadline)  # which waits for its life to stop, and that may not

    def hurry(self) -> None:
        """Drain no longer."""
        self._draining.cancel()

    async def finish(self) -> None:
        """Carry what arrived in the last instants, when nothing more can arrive."""
        await self.session.finish(LAST_INSTANTS)

    def leave(self, *, holds: bool) -> None:
        """Let nothing more reach it; with `holds` its messages wait at the feed for the next."""
        session = self.session
        self._router.leave(session)
        session.room.feed.leave(session.integration.session, session, holds=holds)

    def stop(self) -> None:
        """Ask it to stop."""
        self._stay.stop()

    async def wait(self) -> None:
        """Wait until it has ended."""
        await self._stay.wait()

    def settle(self) -> None:
        """Cut it off if it has not ended; it can do nothing from now on."""
        if not self._stay.has_ended:
            self.cut_off()
        elif self._stay.error is not None and not self._is_told:
            message = "the session failed while it was ending"
            self._observe(
                Trouble(where="session", message=message, error=self._stay.error, integration=self.session.id)
            )

    def cut_off(self) -> None:
        """Cut it off from its gateway, and name the parts of it that did not stop."""
        if not self.is_cut_off:
            self.is_cut_off = True
            parts = self.session.unfinished()
            self.session.cut_off()
            what = f"session: {', '.join(parts)}"
            self._observe(Abandoned(integration=self.session.id, what=what, count=max(len(parts), 1)))
            self._stay.name += f": {', '.join(parts)}"

    def _ended(self) -> None:
        self._draining.cancel()
        self._on_end()
