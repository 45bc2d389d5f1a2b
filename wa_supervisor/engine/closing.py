"""Closing sessions that are not wanted any more: patiently, because a gateway that is away comes back.

Closing ends the browser and keeps the login; nothing here ever logs a session out. It goes on until the session is
closed, or is wanted again, or the daemon stops, or the gateway refused a few times; then it is said that the session
may still be open.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from wa_supervisor.domain.errors import GatewayUnreachableError, PermanentError, WaSupervisorError
from wa_supervisor.domain.gateway import GatewayStatus
from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.observations import Trouble
from wa_supervisor.domain.plan import Wanted
from wa_supervisor.engine.policies import SupervisorPolicy
from wa_supervisor.engine.retrying import patient
from wa_supervisor.engine.room import GatewayRoom
from wa_supervisor.engine.session import Services, Session
from wa_supervisor.engine.situation import access_of
from wa_supervisor.engine.switch import Bell, Switch


class Closing:
    """Closes the sessions of one integration."""

    def __init__(self, policy: SupervisorPolicy, services: Services) -> None:
        self._policy = policy
        self._services = services
        self._is_calling = Switch()

    async def wait_idle(self) -> None:
        """Wait until no call is on its way: one that is cut off might be carried out later, after a new start."""
        await self._is_calling.wait_off()

    async def close(
        self,
        session: Session,
        must_close: Callable[[], bool],
        room_of: Callable[[Wanted], GatewayRoom | None],
        bell: Bell,
    ) -> None:
        """Close the session as long as `must_close()`; `bell` rings when the answer to that may have changed."""
        integration = session.integration
        tries = 0
        while must_close() and tries < self._policy.close_tries:
            room = room_of(integration) or session.room
            if not room.gate.is_open:
                await bell.wait_for(self._policy.close_look)
                continue
            try:
                await self._call(room, integration, only_if_open=False)
            except GatewayUnreachableError as error:
                room.gate.report_unreachable(error)
            except (WaSupervisorError, TimeoutError) as error:
                tries += 1
                self._tell(integration, f"session {integration.session} may still be open at its gateway: {error}")
                await bell.wait_for(self._policy.close_look)
            else:
                return

    async def close_leftover(self, room: GatewayRoom, integration: Integration) -> None:
        """Close a session that was paused while no daemon was there to close it; until it is closed or cancelled."""

        def tell(error: BaseException, delay: float, attempt: int) -> None:
            message = f"the paused session may still be open at its gateway ({attempt} tries, next in {delay:.0f} s)"
            self._tell(integration, f"{message}: {error}")

        try:
            async for attempt in patient(self._policy.close_look, 12 * self._policy.close_look, tell=tell):
                with attempt:
                    await self._close_leftover_once(room, integration)
        except PermanentError as error:
            self._tell(integration, f"the paused session may still be open at its gateway: {error}")

    async def _close_leftover_once(self, room: GatewayRoom, integration: Integration) -> None:
        await room.gate.wait_open()
        try:
            await self._call(room, integration, only_if_open=True)
        except GatewayUnreachableError as error:
            room.gate.report_unreachable(error)
            raise

    async def _call(self, room: GatewayRoom, integration: Integration, *, only_if_open: bool) -> None:
        access = access_of(integration)
        self._is_calling.turn(on=True)
        try:
            with anyio.fail_after(self._services.sessions.close_timeout):
                if only_if_open and (await room.gateway.report(access)).status is GatewayStatus.CLOSED:
                    return
                await room.gateway.close(access)
        finally:
            self._is_calling.turn(on=False)

    def _tell(self, integration: Integration, message: str) -> None:
        self._services.observe(Trouble(where="close", message=message, integration=integration.id))
