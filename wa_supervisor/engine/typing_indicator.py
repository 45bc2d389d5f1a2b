""" "typing" in a chat from the hand-over of a message until the reply; never left on.

Every chat that may show it is remembered in the store by the hand-over itself, in the same step, and forgotten only
after it was switched off. So a daemon that was killed leaves a list, and the next one switches off what is on it.

What it does not do: hold anything up. A gateway that refuses costs the indicator, not the message.
"""

from __future__ import annotations

import anyio
from anyio.abc import TaskGroup

from wa_supervisor.domain.errors import WaSupervisorError
from wa_supervisor.domain.gateway import SessionAccess
from wa_supervisor.domain.names import ChatId, IntegrationId
from wa_supervisor.engine.policies import TypingPolicy
from wa_supervisor.engine.ports import AgentInbox, Gateway
from wa_supervisor.engine.switch import Switch

AT_ONCE = 64
"""Chats of one session that show it at the same time; beyond, a chat goes without."""


class TypingIndicator:
    """Shows and hides "typing" in the chats of one session."""

    def __init__(
        self,
        *,
        integration: IntegrationId,
        access: SessionAccess,
        gateway: Gateway,
        inbox: AgentInbox,
        serving: Switch,
        policy: TypingPolicy,
    ) -> None:
        self.access = access
        self._integration = integration
        self._gateway = gateway
        self._inbox = inbox
        self._serving = serving
        self._policy = policy
        self._shown: dict[ChatId, anyio.CancelScope] = {}
        self._tasks: TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<TypingIndicator {self._integration} in {len(self._shown)} chats>"

    @property
    def can_start(self) -> bool:
        """Whether it may be shown at all now."""
        return self._policy.enabled and self._tasks is not None and self._serving.is_on

    async def run(self) -> None:
        """Host the chats' tasks until cancelled; then switch everything off."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                await anyio.sleep_forever()
            finally:
                self._tasks = None

    def start(self, chat: ChatId) -> None:
        """Show it in `chat`, or go on showing it, until `stop` or the policy's longest time."""
        scope = self._shown.get(chat)
        if scope is not None:
            scope.deadline = anyio.current_time() + self._policy.longest
        elif self._tasks is not None and self.can_start and len(self._shown) < AT_ONCE:
            scope = self._shown[chat] = anyio.CancelScope(deadline=anyio.current_time() + self._policy.longest)
            self._tasks.start_soon(self._show, chat, scope)

    def stop(self, chat: ChatId) -> None:
        """Hide it in `chat`."""
        scope = self._shown.get(chat)
        if scope is not None:
            scope.cancel()

    async def switch_off_leftovers(self) -> None:
        """Switch off what an earlier daemon, or a lost connection, may have left on."""
        try:
            for chat in await self._inbox.typing_left_on(self._integration):
                if chat not in self._shown:
                    await self._hide(chat)
        except WaSupervisorError:
            return  # remembered still: the next time that the session connects

    async def _show(self, chat: ChatId, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                while True:
                    # Shielded: were it cancelled on its way, the gateway might carry it out after the "off".
                    with anyio.move_on_after(self._policy.off_timeout, shield=True):
                        await self._gateway.set_typing(self.access, chat, on=True)
                    await anyio.sleep(self._policy.refresh)
        except WaSupervisorError:
            pass  # the gateway refuses: no indicator, but the attempt may have had its effect
        finally:
            with anyio.move_on_after(self._policy.off_timeout, shield=True):
                await self._hide_quietly(chat)
            self._shown.pop(chat, None)

    async def _hide_quietly(self, chat: ChatId) -> None:
        try:
            await self._hide(chat)
        except WaSupervisorError:
            return  # remembered still: switched off when the session connects again

    async def _hide(self, chat: ChatId) -> None:
        await self._gateway.set_typing(self.access, chat, on=False)
        await self._inbox.typing_ended(self._integration, chat)
