"""Serving one integration: a session is begun, goes on while it can, is drained, stopped and, where needed, closed.

A session that ends although nobody asked it to, or with whatever exception, crashed: it is begun anew after a while,
charged to its budget, and in quarantine with a slow probe once that is spent. A lease that is lost ends it at once: it
closes nothing and carries nothing on, because another daemon already may.
"""

from __future__ import annotations

import random

import anyio

from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.lifecycle import TRANSITIONS, Cause, State
from wa_supervisor.domain.names import SessionName
from wa_supervisor.domain.observations import Trouble
from wa_supervisor.domain.succession import keeps_carriage, must_close
from wa_supervisor.engine.closing import Closing
from wa_supervisor.engine.crash import cause_of
from wa_supervisor.engine.incarnation import Incarnation
from wa_supervisor.engine.policies import SupervisorPolicy
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.reply_router import ReplyRouter
from wa_supervisor.engine.retrying import patient
from wa_supervisor.engine.session import Services, Session
from wa_supervisor.engine.standing import Standing
from wa_supervisor.engine.yard import Yard


class Serving:
    """Runs the sessions of one integration, one at a time."""

    def __init__(
        self,
        standing: Standing,
        *,
        closing: Closing,
        yard: Yard,
        router: ReplyRouter,
        services: Services,
        policy: SupervisorPolicy,
    ) -> None:
        self.incarnation: Incarnation | None = None
        """What may still act."""
        self.session: Session | None = None
        """The session while it serves; not while it is drained."""
        self._standing = standing
        self._closing = closing
        self._yard = yard
        self._router = router
        self._services = services
        self._policy = policy
        self._last: SessionName | None = None
        self._wanted: Integration | None = None
        self._fence = 0
        self._is_released = False

    def __repr__(self) -> str:
        return f"<Serving {self._standing.id} {self.incarnation!r}>"

    async def serve(self, wanted: Integration, fence: int) -> None:
        """Serve under this lease until something else is wanted, or the lease is lost."""
        policy = self._policy
        self._wanted, self._fence, self._is_released = wanted, fence, False
        async for attempt in patient(policy.retry_initial, policy.retry_max, tell=self.failed, sleep=self._rest):
            with attempt:
                await self._serve_once(wanted, fence)

    def failed(self, error: BaseException, delay: float, attempt: int) -> None:
        """Take the word that something here failed as it never should; it is begun anew in `delay` seconds."""
        error = cause_of(error)
        record = self._standing.record
        message = f"the session's keeper failed {attempt} times, next try in {delay:.1f} s"
        self._services.observe(Trouble(where="keeper", message=message, error=error, integration=record.wanted.id))
        record.restarts += 1
        if record.budget is not None:
            record.budget = record.budget.charged(anyio.current_time())
        for cause in (Cause.CRASHED, Cause.WANTED):  # neither leads out of quarantine, which a crash does not end
            if (record.state, cause) in TRANSITIONS:
                record.move(cause, "InternalError", f"{type(error).__name__}: {error}", next_in=delay)
                return

    def release(self) -> bool:
        """End a quarantine without a session; say whether there was one."""
        if self.session is not None or self._standing.record.state is not State.QUARANTINED:
            return False
        self._is_released = True
        self._standing.bell.ring()
        return True

    def gateways_changed(self) -> None:
        """Let wait at its new room what a gateway reports for a session that is about to move there."""
        wanted = self._standing.to_run()
        if wanted is not None and self.session is not None:
            room = self._standing.room_of(wanted)
            if room is not None and room is not self.session.room:
                room.feed.hold(wanted.session)

    def let_go_of_messages(self) -> None:
        """Nobody will take what is held for the session that ended last."""
        if self._last is not None:
            for room in self._standing.rooms.values():
                room.feed.let_go(self._last)
            self._last = None

    async def _rest(self, seconds: float) -> None:
        """Wait before it is begun anew, unless something else is wanted; long if it crashed too often."""
        record, budget = self._standing.record, self._standing.record.budget
        is_given_up = record.given_up is not None  # before, and a crash does not end that
        if not self._is_still_to_begin():
            await anyio.sleep(seconds)  # only the close of what is not wanted any more is owed
        is_spent = budget is not None and budget.is_spent(anyio.current_time()) and self._is_still_to_begin()
        if is_spent and not is_given_up and (record.state, Cause.GIVE_UP) in TRANSITIONS:
            seconds = self._services.sessions.quarantine_probe * random.uniform(0.8, 1.2)  # noqa: S311  # jitter
            advice = f"to try it now: wa-supervisor release {record.wanted.id}"
            record.move(Cause.GIVE_UP, record.reason, f"{record.message}; crashed too often; {advice}", next_in=seconds)
        with anyio.move_on_after(seconds):
            while self._is_still_to_begin() and not self._is_released:
                await self._standing.bell.wait()
        is_over = not is_given_up or self._is_released or not self._is_still_to_begin()
        if record.state is State.QUARANTINED and is_over:
            self._end_quarantine(record)
        self._is_released = False

    def _is_still_to_begin(self) -> bool:
        return self._standing.wanted() == self._wanted and self._standing.has_lease(self._fence)

    def _end_quarantine(self, record: Record) -> None:
        if self._is_released:
            record.move(Cause.RELEASE, "Released", "released by the operator")
        elif self._is_still_to_begin():
            record.move(Cause.PROBE, "Probing", "tried again, to see whether the cause has passed")
            return
        else:
            record.move(Cause.CHANGED, "RecordChanged", "the record changed")
        record.budget = None

    async def _serve_once(self, wanted: Integration, fence: int) -> None:
        standing = self._standing
        room = standing.room_of(wanted)
        if not standing.has_lease(fence):
            return
        if room is None:
            standing.wait_for("GatewayGone", "its gateway was taken out of the configuration")
            while standing.wanted() == wanted and standing.room_of(wanted) is None and standing.has_lease(fence):
                await standing.bell.wait()
            return
        with room.used():
            session = Session(wanted, standing.record, room, self._services, may_send=standing.may_send)
            if standing.wanted() == wanted:  # else the last one crashed, and is only to be closed now
                standing.be_wanted()
                await self._live(session, fence)
            if standing.has_lease(fence):
                self._closing.tell_moved(session)
            await self._closing.close(
                session,
                must_close=lambda: self._must_close(session, fence),
                is_awaited=lambda: standing.to_run() is not None,
            )

    async def _live(self, session: Session, fence: int) -> None:
        now = self.incarnation = Incarnation(
            session,
            yard=self._yard,
            router=self._router,
            policy=self._policy,
            observe=self._services.observe,
            on_end=self._standing.bell.ring,
        )
        self.session, self._last = session, session.integration.session
        try:
            await self._live_until_other_carriage(now, fence)
        finally:
            self.session = None
            now.leave(holds=self._has_successor(session))
            now.stop()
            with anyio.move_on_after(self._policy.cancel_timeout, shield=True):
                await now.wait()
            now.settle()
            self.incarnation = None
            if now.is_cut_off:
                self._go_on_without_it()

    async def _live_until_other_carriage(self, now: Incarnation, fence: int) -> None:
        session, record = now.session, self._standing.record
        await now.take_over()
        await self._until_other_carriage(now, fence)
        self.session = None
        now.check()
        record.block("drain", "finishing what is in flight")
        if not self._standing.has_lease(fence):
            record.serving.turn(on=False)  # another daemon may send; handing over is safe all the same
        await now.drain(self._policy.drain_timeout)
        now.leave(holds=self._has_successor(session))
        await now.finish()

    async def _until_other_carriage(self, now: Incarnation, fence: int) -> None:
        session, standing = now.session, self._standing
        while not now.has_ended and standing.has_lease(fence):
            wanted = standing.wanted()
            room = standing.room_of(session.integration)
            if not keeps_carriage(session.integration, wanted) or room is not session.room:
                return
            if isinstance(wanted, Integration) and wanted != session.integration:
                session.follow(wanted)
            await standing.bell.wait()

    def _go_on_without_it(self) -> None:
        """Keep what was cut off from writing into the record of those that follow."""
        record = self._standing.record = self._standing.record.hand_on()
        record.move(Cause.DRAIN, "Abandoned", "what did not stop was cut off")

    def _has_successor(self, session: Session) -> bool:
        wanted = self._standing.to_run()
        return wanted is not None and wanted.claim == session.integration.claim

    def _must_close(self, session: Session, fence: int) -> bool:
        standing = self._standing
        is_ours = not standing.stays_open and standing.has_lease(fence)
        return is_ours and must_close(session.integration, standing.wanted())
