"""The keeper of one integration: what is wanted, done one after the other.

There is one keeper, and one task, for each integration, so there never are two incarnations of a session. It is told
what is wanted as a level; what it was told in between does not matter. It holds the claim on its session until that is
drained and closed, or cut off, and while one session gives way to the next (another agent, a changed gateway) what
arrives for it waits at the gateway's feed.

Before anything runs, whatever keeps it from running must be gone: a pause, which may end by itself, and another
daemon's lease, without which nothing is done at the gateway at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import anyio

from wa_supervisor.domain.integration import Integration, InvalidIntegration
from wa_supervisor.domain.lifecycle import Cause, State
from wa_supervisor.domain.names import GatewayName, IntegrationId
from wa_supervisor.domain.observations import Abandoned
from wa_supervisor.domain.plan import Wanted
from wa_supervisor.engine.claims import Claims
from wa_supervisor.engine.closing import Closing
from wa_supervisor.engine.policies import SupervisorPolicy
from wa_supervisor.engine.ports import Lease
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.reply_router import ReplyRouter
from wa_supervisor.engine.room import GatewayRoom
from wa_supervisor.engine.serving import Serving
from wa_supervisor.engine.session import Services
from wa_supervisor.engine.standing import Standing
from wa_supervisor.engine.yard import Yard


class Keeper:
    """Does what is wanted of one integration."""

    def __init__(
        self,
        wanted: Wanted,
        *,
        record: Record,
        rooms: Mapping[GatewayName, GatewayRoom],
        claims: Claims,
        lease: Callable[[IntegrationId], Lease | None],
        is_surely_ours: Callable[[IntegrationId], bool],
        yard: Yard,
        router: ReplyRouter,
        services: Services,
        policy: SupervisorPolicy,
    ) -> None:
        self._claims = claims
        self._observe = services.observe
        self._standing = standing = Standing(
            wanted, record=record, rooms=rooms, lease=lease, is_surely_ours=is_surely_ours
        )
        self._closing = Closing(
            policy=policy, services=services, say=self._say_closing, room_of=standing.room_of, bell=standing.bell
        )
        self._serving = Serving(
            standing, closing=self._closing, yard=yard, router=router, services=services, policy=policy
        )
        self.failed = self._serving.failed

    def __repr__(self) -> str:
        return f"<Keeper {self.record!r}>"

    @property
    def id(self) -> IntegrationId:
        """The integration's id."""
        return self._standing.id

    @property
    def record(self) -> Record:
        """What is known of it."""
        return self._standing.record

    @property
    def wanted(self) -> Wanted | None:
        """What it was last told; `None` when it is to end."""
        return self._standing.told

    @property
    def needs_lease(self) -> bool:
        """Whether it does, or is to do, anything at a gateway."""
        return self._serving.incarnation is not None or not isinstance(self.wanted, InvalidIntegration)

    def follow(self, wanted: Wanted | None) -> None:
        """Do this from now on; `None`: the integration was removed, close the session and end."""
        self._standing.tell(wanted)

    def leave(self) -> None:
        """End without closing the session at its gateway: the daemon stops, the session stays logged in there."""
        self._standing.stays_open = True
        self.record.block("drain", "the daemon stops")
        self._closing.give_up()
        self.follow(None)

    def look_up(self) -> None:
        """Look again: something else than the wish may have changed, such as the lease."""
        self._standing.bell.ring()

    def store_restarted(self) -> None:
        """Take that the store may have forgotten the last that it was told."""
        if self._serving.incarnation is not None:
            self._serving.incarnation.session.store_restarted()

    def gateways_changed(self) -> None:
        """Look whether the session's gateway is still the same; what a new one reports meanwhile waits there."""
        self._serving.gateways_changed()
        self._standing.bell.ring()

    def restart(self, reason: str) -> tuple[bool, str]:
        """Restart the session, browser and all; say whether that is done, and why not."""
        record = self.record
        if record.state is State.QUARANTINED:
            return False, f"{self.id} is quarantined ({record.reason}): wa-supervisor release {self.id}"
        if record.blockers:
            first = record.blockers[0]
            return False, f"{self.id} is kept from running ({first.name}): {first.message}"
        if self._serving.session is None or not self._serving.session.restart(reason):
            return False, f"{self.id} is {record.state.value}, so nothing can be restarted: {record.message}"
        return True, "restarting"

    def release(self, reason: str) -> tuple[bool, str]:
        """End the session's quarantine; say whether that is done, and why not."""
        session = self._serving.session
        if self._serving.release() or (session is not None and session.release(reason)):
            return True, "released from quarantine"
        return False, f"{self.id} is not quarantined but {self.record.state.value}: {self.record.message}"

    def hurry(self) -> None:
        """Stop what is in flight: the time for it is over."""
        if self._serving.incarnation is not None:
            self._serving.incarnation.hurry()

    def give_up(self) -> tuple[str, ...]:
        """Cut off what did not end in time; name what does not run in the yard, which names its own."""
        now = self._serving.incarnation
        if now is not None:
            now.cut_off()
            return ()
        self._observe(Abandoned(integration=self.id, what="closing", count=1))
        return (f"closing {self.id}",)

    async def run(self) -> None:
        """Do what is wanted until nothing is."""
        standing = self._standing
        while (wanted := standing.wanted()) is not None:
            self.record.wanted = wanted
            self.record.unblock("drain")
            if isinstance(wanted, InvalidIntegration):
                self._serving.let_go_of_messages()
                self.record.move(Cause.INVALIDATED, wanted.reason, wanted.message)
                await self._until_changed(wanted)
            elif await self._has_claim(wanted):
                try:
                    await self._do_with_lease(wanted)
                finally:
                    self._claims.give_up(wanted.claim, standing.bell)
        self._serving.let_go_of_messages()
        reason = "DaemonStopped" if standing.stays_open else "Removed"
        self.record.move(
            Cause.STOPPED, reason, "the daemon stopped" if standing.stays_open else "removed from the wish"
        )

    async def _has_claim(self, wanted: Integration) -> bool:
        """Wait for the claim; say no when something else is wanted meanwhile."""
        standing = self._standing
        while not self._claims.take(wanted.claim, standing.bell):
            standing.wait_for("Waiting", f"waits until another integration has let go of session {wanted.session}")
            await standing.look_later(wanted)
            if standing.wanted() != wanted:
                return False
        return True

    async def _do_with_lease(self, wanted: Integration) -> None:
        lease = await self._wait_for_lease(wanted)
        self.record.unblock("lease")
        if lease is None:
            return
        self.record.fence = lease.fence or None
        if wanted.paused:
            await self._be_paused(wanted, lease.fence)
        else:
            await self._serving.serve(wanted, lease.fence)

    async def _wait_for_lease(self, wanted: Integration) -> Lease | None:
        """Wait until the lease is ours; `None` when something else is wanted meanwhile."""
        standing = self._standing
        while (lease := standing.lease()) is None or not lease.is_ours:
            if lease is None:
                reason, message = "LeaseUnknown", "waits for the word of Redis that no other daemon runs it"
            else:
                reason, message = "LeasedElsewhere", f"runs at daemon {lease.holder}"
                self._serving.let_go_of_messages()
            self.record.fence = None
            self.record.block("lease", message)
            standing.wait_for(reason, message)
            await standing.look_later(wanted)
            if standing.wanted() != wanted:
                return None
        return lease

    async def _until_changed(self, wanted: Wanted, room: GatewayRoom | None = None, fence: int | None = None) -> None:
        """Wait until something else is wanted, the lease is lost, or the gateway is another one than `room`."""
        standing = self._standing
        while (
            standing.wanted() == wanted
            and (room is None or standing.room_of(wanted) is room)
            and (fence is None or standing.has_lease(fence))
        ):
            await standing.look_later(wanted)

    async def _be_paused(self, wanted: Integration, fence: int) -> None:
        self._serving.let_go_of_messages()
        until, message = wanted.paused_until, wanted.pause_reason or "paused by the operator"
        next_in = None
        if until is not None:
            message = f"{message}, until {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M:%S} UTC"
            next_in = until - self.record.now
        self.record.block("operator", message, until)
        self.record.move(Cause.PAUSED, "Paused", message, next_in=next_in)
        try:
            await self._pause(wanted, fence)
        finally:
            self.record.unblock("operator")

    async def _pause(self, wanted: Integration, fence: int) -> None:
        room = self._standing.room_of(wanted)
        if room is None:
            await self._until_changed(wanted, fence=fence)
            return
        async with anyio.create_task_group() as tasks:
            with room.used():
                tasks.start_soon(self._closing.close_leftover, room, wanted)
                await self._until_changed(wanted, room, fence)
                if not self._standing.stays_open:
                    await self._closing.wait_idle()
                tasks.cancel_scope.cancel()

    def _say_closing(self, message: str) -> None:
        self.record.move(Cause.DRAIN, "Closing", message)
