"""Closing sessions that are not wanted any more: patiently, because a gateway that is away comes back.

Closing ends the browser and keeps the login; nothing here ever logs a session out. It goes on until the session is
closed, or is wanted again, or the daemon stops, or the gateway refused a few times; then it is said that the session
may still be open. It needs the gateway to answer, and not its events.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from wa_supervisor.domain.errors import GatewayUnreachableError, PermanentError, WaSupervisorError
from wa_supervisor.domain.gateway import GatewayStatus
from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.masking import redacted
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

    def __init__(
        self,
        *,
        policy: SupervisorPolicy,
        services: Services,
        say: Callable[[str], None],
        room_of: Callable[[Wanted], GatewayRoom | None],
        bell: Bell,
    ) -> None:
        self._policy = policy
        self._services = services
        self._say = say
        self._room_of = room_of
        self._bell = bell
        self._is_calling = Switch()
        self._call_scope = anyio.CancelScope()

    async def wait_idle(self) -> None:
        """Wait until no call is on its way: one that is cut off might be carried out later, after a new start."""
        await self._is_calling.wait_off()

    def give_up(self) -> None:
        """Cut off the call that is on its way: the daemon stops and waits for nothing that hangs."""
        self._call_scope.cancel()

    async def close(self, session: Session, *, must_close: Callable[[], bool], is_awaited: Callable[[], bool]) -> None:
        """Close the session as long as `must_close()`; not for long at a gateway that is away, if `is_awaited()`.

        The keeper's bell rings when the answers to these may have changed.
        """
        integration = session.integration
        patience_ends = anyio.current_time() + self._services.sessions.close_timeout
        tries = 0
        while must_close() and tries < self._policy.close_tries:
            known = self._successor_of(session)
            room = known or session.room
            if room.gate.answers:
                if await self._is_over(room, integration):
                    return
                tries += 1
            elif (is_awaited() or known is None) and anyio.current_time() >= patience_ends:
                self._tell(integration, f"{self._may_be_open(integration)}: gateway {room.name} is away")
                return
            else:
                message = f"waits to close session {integration.session}: gateway {room.name} is away"
                self._say(f"{message}: {room.gate.reason}")
            await self._bell.wait_for(self._policy.close_look)

    def tell_moved(self, session: Session) -> None:
        """Say so if the session goes on at another address of its gateway and may be open at the old one."""
        room = self._room_of(session.integration)
        if room is not None and room.address != session.room.address:
            old = redacted(session.room.address)
            message = f"session {session.integration.session} may still be open at {old}, where its gateway was before"
            self._tell(session.integration, f"{message}; close it there, or WhatsApp has it twice")

    def _successor_of(self, session: Session) -> GatewayRoom | None:
        """Give the room in which the session's browser can be reached now, if its gateway is still configured."""
        room = self._room_of(session.integration)
        return room if room is not None and room.address == session.room.address else None

    async def _is_over(self, room: GatewayRoom, integration: Integration) -> bool:
        """Try to close it; say whether it is closed, or never will be by trying again."""
        try:
            await self._call(room, integration, only_if_open=False)
        except PermanentError as error:
            self._tell(integration, f"{self._may_be_open(integration)}: {error}")
            return True
        except GatewayUnreachableError as error:
            room.gate.report_unreachable(error)
        except (WaSupervisorError, TimeoutError) as error:
            self._tell(integration, f"{self._may_be_open(integration)}: {error}")
        else:
            return True
        return False

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
        await room.gate.wait_answers()
        try:
            await self._call(room, integration, only_if_open=True)
        except GatewayUnreachableError as error:
            room.gate.report_unreachable(error)
            raise

    async def _call(self, room: GatewayRoom, integration: Integration, *, only_if_open: bool) -> None:
        access = access_of(integration)
        self._is_calling.turn(on=True)
        try:
            with anyio.fail_after(self._services.sessions.close_timeout) as self._call_scope:
                if only_if_open and (await room.gateway.report(access)).status is GatewayStatus.CLOSED:
                    return
                await room.gateway.close(access)
        finally:
            self._is_calling.turn(on=False)

    def _may_be_open(self, integration: Integration) -> str:
        return f"session {integration.session} may still be open at its gateway"

    def _tell(self, integration: Integration, message: str) -> None:
        self._services.observe(Trouble(where="close", message=message, integration=integration.id))
