"""The reporter: keeps the status board true.

What changed is written soon, in one batch; everything is confirmed well before its ttl ends, so that a reader can tell
a status that holds from one that nobody confirms any more. While Redis is away, which statuses changed is kept, at most
one for each integration, and written later as they are then; on return everything is confirmed at once, because what
was there may be gone.

What another daemon has the lease of is not reported: that daemon does. It stays on the board all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NoReturn

import anyio
import msgspec

from wa_supervisor.domain.hub_status import hub_status
from wa_supervisor.domain.names import AgentId, IntegrationId
from wa_supervisor.domain.observations import Observer, Trouble
from wa_supervisor.domain.status import DaemonStatus, SessionStatus
from wa_supervisor.engine.policies import SupervisorPolicy
from wa_supervisor.engine.ports import StatusBoard
from wa_supervisor.engine.retrying import keep_doing
from wa_supervisor.engine.switch import Bell

GATHER = 0.2
"""Seconds in which changes are gathered into one write: a person does not see the difference, Redis does."""

LEASED_ELSEWHERE = "LeasedElsewhere"
"""Reason of an integration that another daemon runs."""

LEASE = "lease"
"""Name of the blocker that an integration has as long as its lease is not ours."""


class Reporter:
    """Writes statuses to the board."""

    def __init__(
        self,
        *,
        board: StatusBoard,
        statuses: Callable[[], Sequence[SessionStatus]],
        describe: Callable[[Sequence[SessionStatus]], DaemonStatus],
        daemon: str,
        pid: int,
        policy: SupervisorPolicy,
        observe: Observer,
    ) -> None:
        self._board = board
        self._statuses = statuses
        self._describe = describe
        self._daemon = daemon
        self._pid = pid
        self._policy = policy
        self._observe = observe
        self._dirty: set[IntegrationId] = set()
        self._bell = Bell()
        self._confirmed_at = -math.inf
        self._left_to_others: frozenset[IntegrationId] = frozenset()

    def note(self, name: IntegrationId) -> None:
        """Remember that the status of `name` may have changed."""
        self._dirty.add(name)
        self._bell.ring()

    async def run(self) -> NoReturn:
        """Write until cancelled."""
        await keep_doing(
            self._write_for_ever,
            initial=self._policy.retry_initial,
            longest=self._policy.retry_max,
            tell=self._tell,
        )

    async def write(self, *, everything: bool) -> None:
        """Write what changed, or `everything`. Raises `StoreUnavailableError`; then it is still to be written."""
        there = self._statuses()
        current = [self._stamped(status) for status in there if not self._is_left_out(status)]
        dirty, self._dirty = self._dirty, set()
        try:
            chosen = [status for status in current if everything or status.id in dirty]
            gone = dirty - {status.id for status in there}
            await self._board.publish(chosen, _for_hub(current, {status.agent_id for status in chosen}))
            if everything or gone:
                await self._board.keep_only(
                    frozenset(status.id for status in there),
                    frozenset(status.agent_id for status in there if status.agent_id),
                )
        except BaseException:
            self._dirty |= dirty
            raise

    async def farewell(self) -> None:
        """Take back that this daemon is alive. Raises `StoreUnavailableError`; then that ends with its ttl."""
        await self._board.farewell(self._daemon)

    def leave_to_others(self) -> None:
        """Leave out from now on what others run now, whatever becomes of it here: call it before leases are given up.

        A daemon that stops says of its own sessions that they are stopped, and of no others.
        """
        self._left_to_others = frozenset(status.id for status in self._statuses() if _is_elsewhere(status))

    def _is_left_out(self, status: SessionStatus) -> bool:
        return status.id in self._left_to_others or _is_elsewhere(status)

    async def _write_for_ever(self) -> NoReturn:
        while True:
            is_due = anyio.current_time() - self._confirmed_at >= self._policy.status_refresh
            if is_due or self._dirty:
                await self.write(everything=is_due)
            if is_due:
                await self._board.announce(self._describe(self._statuses()), self._policy.status_ttl)
                self._confirmed_at = anyio.current_time()
            await self._bell.wait_for(self._confirmed_at + self._policy.status_refresh - anyio.current_time())
            await anyio.sleep(GATHER)

    def _stamped(self, status: SessionStatus) -> SessionStatus:
        return msgspec.structs.replace(status, ttl=self._policy.status_ttl, daemon=self._daemon, pid=self._pid)

    def _tell(self, error: BaseException, delay: float, attempt: int) -> None:
        self._confirmed_at = -math.inf  # nobody knows what is on the board when it is back
        message = f"the status board cannot be written (try {attempt}, next in {delay:.1f} s): {error}"
        self._observe(Trouble(where="status", message=message, error=error))


def _is_elsewhere(status: SessionStatus) -> bool:
    return status.reason == LEASED_ELSEWHERE or any(blocker.name == LEASE for blocker in status.blockers)


def _for_hub(statuses: Sequence[SessionStatus], agents: set[AgentId | None]) -> dict[AgentId, dict[str, str]]:
    by_agent: dict[AgentId, list[SessionStatus]] = {}
    for status in statuses:
        if status.agent_id is not None and status.agent_id in agents:
            by_agent.setdefault(status.agent_id, []).append(status)
    return {agent: hub_status(group) for agent, group in by_agent.items()}
