"""The keeper of one integration: what is wanted, done one after the other.

There is one keeper, and one task, for each integration, so there never are two incarnations of a session. It is told
what is wanted as a level; what it was told in between does not matter. It holds the claim on its session until that is
drained and closed, and while one session gives way to the next (another agent, a changed gateway) what arrives for it
waits at the gateway's feed.
"""

from __future__ import annotations

import anyio

from wa_supervisor.domain.integration import Integration, InvalidIntegration
from wa_supervisor.domain.lifecycle import TRANSITIONS, Cause
from wa_supervisor.domain.names import GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.observations import Trouble
from wa_supervisor.domain.plan import Wanted
from wa_supervisor.domain.succession import keeps_carriage, must_close
from wa_supervisor.engine.claims import Claims
from wa_supervisor.engine.closing import Closing
from wa_supervisor.engine.life import Restart
from wa_supervisor.engine.policies import SupervisorPolicy
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.reply_router import ReplyRouter
from wa_supervisor.engine.retrying import patient
from wa_supervisor.engine.room import GatewayRoom
from wa_supervisor.engine.session import Services, Session
from wa_supervisor.engine.switch import Bell

LAST_INSTANTS = 1.0
"""Seconds for what arrived while a session was leaving; it takes milliseconds."""


class Keeper:
    """Does what is wanted of one integration."""

    def __init__(
        self,
        wanted: Wanted,
        *,
        record: Record,
        rooms: dict[GatewayName, GatewayRoom],
        claims: Claims,
        router: ReplyRouter,
        services: Services,
        policy: SupervisorPolicy,
    ) -> None:
        self.record = record
        self._wanted: Wanted | None = wanted
        self._rooms = rooms
        self._claims = claims
        self._router = router
        self._services = services
        self._policy = policy
        self._bell = Bell()
        self._session: Session | None = None
        self._last_session: SessionName | None = None
        self._stays_open = False
        self._closing = Closing(policy=policy, services=services, record=record, room_of=self._room_of, bell=self._bell)

    def __repr__(self) -> str:
        return f"<Keeper {self.record!r}>"

    @property
    def id(self) -> IntegrationId:
        """The integration's id."""
        return self.record.wanted.id

    @property
    def wanted(self) -> Wanted | None:
        """What it was last told; `None` when it is to end."""
        return self._wanted

    def follow(self, wanted: Wanted | None) -> None:
        """Do this from now on; `None`: the integration was removed, close the session and end."""
        self._wanted = wanted
        self._bell.ring()

    def leave(self) -> None:
        """End without closing the session at its gateway: the daemon stops, the session stays logged in there."""
        self._stays_open = True
        self._closing.give_up()
        self.follow(None)

    def gateways_changed(self) -> None:
        """Look whether the session's gateway is still the same; what a new one reports meanwhile waits there."""
        wanted = self._wanted
        if isinstance(wanted, Integration) and not wanted.paused and self._session is not None:
            room = self._room_of(wanted)
            if room is not None and room is not self._session.room:
                room.feed.hold(wanted.session)
        self._bell.ring()

    def restart(self, reason: str) -> bool:
        """Restart the session, browser and all; say whether there is one to restart."""
        if self._session is None:
            return False
        self._session.restart(Restart(reason="OperatorRestart", message=reason, closes_first=True))
        return True

    async def run(self) -> None:
        """Do what is wanted until nothing is."""
        while (wanted := self._wanted) is not None:
            self.record.wanted = wanted
            if isinstance(wanted, InvalidIntegration):
                self._let_go_of_messages()
                self.record.move(Cause.INVALIDATED, wanted.reason, wanted.message)
                await self._until_changed(wanted)
            elif await self._has_claim(wanted):
                try:
                    await self._do(wanted)
                finally:
                    self._claims.give_up(wanted.claim, self._bell)
        self._let_go_of_messages()
        reason = "DaemonStopped" if self._stays_open else "Removed"
        self.record.move(Cause.STOPPED, reason, "the daemon stopped" if self._stays_open else "removed from the wish")

    def failed(self, error: BaseException, delay: float, attempt: int) -> None:
        """Take the word that something here failed as it never should; it is begun anew in `delay` seconds."""
        message = f"the session's keeper failed {attempt} times, next try in {delay:.1f} s"
        self._services.observe(Trouble(where="keeper", message=message, error=error, integration=self.id))
        for cause in (Cause.RESTART, Cause.WANTED):
            if (self.record.state, cause) in TRANSITIONS:
                self.record.move(cause, "InternalError", f"{type(error).__name__}: {error}", next_in=delay)
                return

    async def _has_claim(self, wanted: Integration) -> bool:
        """Wait for the claim; say no when something else is wanted meanwhile."""
        while not self._claims.take(wanted.claim, self._bell):
            self._be_wanted("Waiting", f"waits until another integration has let go of session {wanted.session}")
            await self._bell.wait()
            if self._wanted != wanted:
                return False
        return True

    async def _do(self, wanted: Integration) -> None:
        if wanted.paused:
            self._let_go_of_messages()
            self.record.move(Cause.PAUSED, "Paused", wanted.pause_reason or "paused by the operator")
            await self._pause(wanted)
            return
        async for attempt in patient(self._policy.retry_initial, self._policy.retry_max, tell=self.failed):
            with attempt:
                await self._serve(wanted)

    async def _until_changed(self, wanted: Wanted, room: GatewayRoom | None = None) -> None:
        """Wait until something else is wanted, or the gateway of `wanted` is another one than `room`."""
        while self._wanted == wanted and (room is None or self._room_of(wanted) is room):
            await self._bell.wait()

    async def _pause(self, wanted: Integration) -> None:
        room = self._room_of(wanted)
        if room is None:
            await self._until_changed(wanted)
            return
        async with anyio.create_task_group() as tasks:
            with room.used():
                tasks.start_soon(self._closing.close_leftover, room, wanted)
                await self._until_changed(wanted, room)
                if not self._stays_open:
                    await self._closing.wait_idle()
                tasks.cancel_scope.cancel()

    async def _serve(self, wanted: Integration) -> None:
        room = self._room_of(wanted)
        if room is None:
            self._be_wanted("GatewayGone", "its gateway was taken out of the configuration")
            while self._wanted == wanted and self._room_of(wanted) is None:
                await self._bell.wait()
            return
        self._be_wanted("Wanted", "wanted again")
        with room.used():
            session = Session(wanted, self.record, room, self._services)
            try:
                await self._serve_until_other_carriage(session)
            finally:
                self._leave(session)
            await self._closing.close(
                session, must_close=lambda: self._must_close(session), is_awaited=self._is_awaited
            )

    async def _serve_until_other_carriage(self, session: Session) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.run)
            self._session, self._last_session = session, session.integration.session
            self._router.join(session)
            for message in session.room.feed.join(session.integration.session, session):
                await session.take_message(message)
            await self._until_other_carriage(session)
            self._session = None
            await session.drain(self._policy.drain_timeout)
            self._leave(session)
            await session.finish(LAST_INSTANTS)
            tasks.cancel_scope.cancel()

    async def _until_other_carriage(self, session: Session) -> None:
        while True:
            wanted = self._wanted
            if (
                not keeps_carriage(session.integration, wanted)
                or self._room_of(session.integration) is not session.room
            ):
                return
            if isinstance(wanted, Integration) and wanted != session.integration:
                session.follow(wanted)
            await self._bell.wait()

    def _leave(self, session: Session) -> None:
        self._session = None
        self._router.leave(session)
        session.room.feed.leave(session.integration.session, session, holds=self._has_successor(session))

    def _let_go_of_messages(self) -> None:
        """Nobody will take what is held for the session that ended last."""
        if self._last_session is not None:
            for room in self._rooms.values():
                room.feed.let_go(self._last_session)
            self._last_session = None

    def _has_successor(self, session: Session) -> bool:
        wanted = self._wanted
        return isinstance(wanted, Integration) and not wanted.paused and wanted.claim == session.integration.claim

    def _must_close(self, session: Session) -> bool:
        return not self._stays_open and must_close(session.integration, self._wanted)

    def _is_awaited(self) -> bool:
        return isinstance(self._wanted, Integration) and not self._wanted.paused

    def _room_of(self, wanted: Wanted) -> GatewayRoom | None:
        return self._rooms.get(wanted.gateway) if isinstance(wanted, Integration) else None

    def _be_wanted(self, reason: str, message: str) -> None:
        if (self.record.state, Cause.WANTED) in TRANSITIONS:
            self.record.move(Cause.WANTED, reason, message)
