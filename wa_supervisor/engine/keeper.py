"""The keeper of one integration: what is wanted, done one after the other.

There is one keeper, and one task, for each integration, so there never are two incarnations of a session. It is told
what is wanted as a level; what it was told in between does not matter. A claim on a session of a gateway is held until
the session is drained and closed, so that another integration that takes the session over cannot be cut off by the end
of this one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from wa_supervisor.domain.errors import WaSupervisorError
from wa_supervisor.domain.gateway import GatewayStatus
from wa_supervisor.domain.integration import Integration, InvalidIntegration
from wa_supervisor.domain.lifecycle import TRANSITIONS, Cause
from wa_supervisor.domain.names import GatewayName, IntegrationId
from wa_supervisor.domain.observations import Trouble
from wa_supervisor.domain.plan import Wanted
from wa_supervisor.domain.succession import keeps_carriage, must_close
from wa_supervisor.domain.wish import Claim
from wa_supervisor.engine.life import Restart
from wa_supervisor.engine.policies import SupervisorPolicy
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.reply_router import ReplyRouter
from wa_supervisor.engine.retrying import patient
from wa_supervisor.engine.room import GatewayRoom
from wa_supervisor.engine.session import Services, Session
from wa_supervisor.engine.situation import access_of
from wa_supervisor.engine.switch import Bell


class Claims:
    """Who has which session of which gateway; one at a time, the others wait."""

    def __init__(self) -> None:
        self._locks: dict[Claim, anyio.Lock] = {}

    @asynccontextmanager
    async def held(self, claim: Claim) -> AsyncIterator[None]:
        """Wait for the claim, then have it."""
        lock = self._locks.setdefault(claim, anyio.Lock())
        async with lock:
            yield
        if not lock.locked() and not lock.statistics().tasks_waiting:
            self._locks.pop(claim, None)


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
        self._stays_open = False

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
        self.follow(None)

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
                self.record.move(Cause.INVALIDATED, wanted.reason, wanted.message)
                await self._until_changed(wanted)
            elif wanted.paused:
                self.record.move(Cause.PAUSED, "Paused", wanted.pause_reason or "paused by the operator")
                await self._pause(wanted)
            else:
                await self._serve(wanted)
        reason = "DaemonStopped" if self._stays_open else "Removed"
        self.record.move(Cause.STOPPED, reason, "the daemon stopped" if self._stays_open else "removed from the wish")

    async def _until_changed(self, wanted: Wanted) -> None:
        while self._wanted == wanted:
            await self._bell.wait()

    async def _pause(self, wanted: Integration) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._close_leftover, wanted)
            await self._until_changed(wanted)
            tasks.cancel_scope.cancel()

    async def _close_leftover(self, wanted: Integration) -> None:
        """Close a session that was paused while no daemon was there to close it."""
        room = self._rooms.get(wanted.gateway)
        if room is None:
            return
        await room.gate.wait_open()
        # Shielded: were it cancelled on its way, the gateway might close what a resumed session starts.
        with anyio.move_on_after(self._services.sessions.close_timeout, shield=True):
            try:
                report = await room.gateway.report(access_of(wanted))
                if report.status is not GatewayStatus.CLOSED:
                    await room.gateway.close(access_of(wanted))
            except WaSupervisorError as error:
                message = f"the paused session may still be open at its gateway: {error}"
                self._services.observe(Trouble(where="close", message=message, integration=self.id))

    async def _serve(self, wanted: Integration) -> None:
        async for attempt in patient(self._policy.retry_initial, self._policy.retry_max, tell=self._failed):
            with attempt:
                async with self._claims.held(wanted.claim):
                    await self._serve_once(wanted)

    async def _serve_once(self, wanted: Integration) -> None:
        room = self._rooms.get(wanted.gateway)
        if room is None:  # taken out of the configuration; the next round says so
            await self._until_changed(wanted)
            return
        if (self.record.state, Cause.WANTED) in TRANSITIONS:
            self.record.move(Cause.WANTED, "Wanted", "wanted again")
        session = Session(wanted, self.record, room, self._services)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.run)
            self._join(session)
            try:
                await self._until_other_carriage(session)
            finally:
                self._leave(session)
            await session.drain(self._policy.drain_timeout)
            tasks.cancel_scope.cancel()
        await self._close_if_asked(session)

    def _join(self, session: Session) -> None:
        self._session = session
        session.room.feed.join(session.integration.session, session)
        self._router.join(session)

    def _leave(self, session: Session) -> None:
        self._session = None
        self._router.leave(session)
        session.room.feed.leave(session.integration.session, session)

    async def _until_other_carriage(self, session: Session) -> None:
        while True:
            wanted = self._wanted
            if (
                not keeps_carriage(session.integration, wanted)
                or self._rooms.get(session.room.name) is not session.room
            ):
                return
            if isinstance(wanted, Integration) and wanted != session.integration:
                session.follow(wanted)
            await self._bell.wait()

    async def _close_if_asked(self, session: Session) -> None:
        if self._stays_open or not must_close(session.integration, self._wanted):
            return
        try:
            with anyio.fail_after(self._services.sessions.close_timeout):
                await session.room.gateway.close(access_of(session.integration))
        except (WaSupervisorError, TimeoutError) as error:
            message = f"session {session.integration.session} may still be open at its gateway: {error}"
            self._services.observe(Trouble(where="close", message=message, integration=self.id))

    def _failed(self, error: BaseException, delay: float, attempt: int) -> None:
        message = f"the session's keeper failed {attempt} times, next try in {delay:.1f} s"
        self._services.observe(Trouble(where="keeper", message=message, error=error, integration=self.id))
        if (self.record.state, Cause.RESTART) in TRANSITIONS:
            self.record.move(Cause.RESTART, "InternalError", f"{type(error).__name__}: {error}")
