"""How things stand with one integration: what is wanted of it as of now, where its gateway is, whose lease it is.

What the keeper of an integration looks at, again and again, as levels: whoever changes any of it rings, and the answer
to each question may be another one every time it is asked. A pause that ends by itself changes the answer without
anybody ringing, so whoever waits for one looks at the clock. What it does not do: act on any of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.lifecycle import TRANSITIONS, Cause
from wa_supervisor.domain.names import GatewayName, IntegrationId
from wa_supervisor.domain.plan import Wanted
from wa_supervisor.domain.succession import resumed
from wa_supervisor.engine.ports import Lease
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.room import GatewayRoom
from wa_supervisor.engine.switch import Bell

CLOCK_LOOK = 30.0
"""Seconds after which a pause that ends by itself looks at the clock again, because clocks are set."""


class Standing:
    """What is wanted, and whether it can be."""

    def __init__(
        self,
        wanted: Wanted,
        *,
        record: Record,
        rooms: Mapping[GatewayName, GatewayRoom],
        lease: Callable[[IntegrationId], Lease | None],
        is_surely_ours: Callable[[IntegrationId], bool] = lambda _: True,
    ) -> None:
        self.record = record
        self.told: Wanted | None = wanted
        """What the wish says; `None` when it is to end."""
        self.stays_open = False
        """Whether the session is to stay open at its gateway, because only the daemon stops."""
        self.rooms = rooms
        self.bell = Bell()
        """Rung whenever an answer may have changed."""
        self._lease = lease
        self._is_surely_ours = is_surely_ours
        self._over: Integration | None = None
        self._is_waiting = False

    def __repr__(self) -> str:
        return f"<Standing of {self.record!r}>"

    @property
    def id(self) -> IntegrationId:
        """The integration's id."""
        return self.record.wanted.id

    def tell(self, wanted: Wanted | None) -> None:
        """Take what the wish says now."""
        self.told = wanted
        self.bell.ring()

    def wanted(self) -> Wanted | None:
        """Give what is wanted as of now: a pause that is over is none, and stays over whatever the clock does."""
        told = self.told
        if not isinstance(told, Integration) or not told.paused:
            return told
        if told != self._over and told.is_paused(self.record.now):
            return told
        self._over = told
        return resumed(told)

    def to_run(self) -> Integration | None:
        """Give what is to run as of now, if anything is."""
        wanted = self.wanted()
        return wanted if isinstance(wanted, Integration) and not wanted.paused else None

    def room_of(self, wanted: Wanted) -> GatewayRoom | None:
        """Give the room of its gateway, if that is configured."""
        return self.rooms.get(wanted.gateway) if isinstance(wanted, Integration) else None

    def lease(self) -> Lease | None:
        """Give the lease as last seen."""
        return self._lease(self.id)

    def has_lease(self, fence: int) -> bool:
        """Whether the lease still is ours, and has been all the time."""
        lease = self.lease()
        return lease is not None and lease.is_ours and lease.fence == fence

    def may_send(self) -> bool:
        """Whether nobody else can be sending for it now."""
        return self._is_surely_ours(self.id)

    async def look_later(self, wanted: Wanted) -> None:
        """Wait until somebody rings, or the clock may say something else of `wanted`."""
        seconds = math.inf
        if isinstance(wanted, Integration) and wanted.paused and wanted.paused_until is not None:
            seconds = min(max(wanted.paused_until - self.record.now, 0.0), CLOCK_LOOK)
        await self.bell.wait_for(seconds)

    def wait_for(self, reason: str, message: str) -> None:
        """Say what it waits for before it can begin."""
        self._is_waiting = True
        self._be_pending(reason, message)

    def be_wanted(self) -> None:
        """Say that it begins."""
        self.record.unblock("drain")
        if self._is_waiting or (self.record.state, Cause.WANTED) in TRANSITIONS:
            self._be_pending("Wanted", "wanted again")
        self._is_waiting = False

    def _be_pending(self, reason: str, message: str) -> None:
        cause = Cause.WANTED if (self.record.state, Cause.WANTED) in TRANSITIONS else Cause.CHANGED
        self.record.move(cause, reason, message)
