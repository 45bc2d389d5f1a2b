""" "typing" in a chat from the hand-over of a message until the reply; never left on.

Every chat that may show it is remembered in the store by the hand-over itself, in the same step, and forgotten only
after it was switched off. So a daemon that was killed leaves a list, and the next one switches off what is on it.

What it does not do: hold anything up. A gateway that refuses costs the indicator, not the message.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from wa_supervisor.domain.errors import WaSupervisorError
from wa_supervisor.domain.gateway import SessionAccess
from wa_supervisor.domain.names import ChatId, IntegrationId
from wa_supervisor.domain.observations import Observer, Trouble
from wa_supervisor.engine.policies import TypingPolicy
from wa_supervisor.engine.ports import AgentInbox, Gateway
from wa_supervisor.engine.switch import Switch

AT_ONCE = 64
"""Chats of one session that show it at the same time; beyond, a chat goes without."""

_REFUSED = (WaSupervisorError, TimeoutError)


@dataclass(slots=True)
class _Shown:
    scope: anyio.CancelScope
    """Cancelled, or past its deadline: it is being switched off."""
    is_wanted_again: bool = False
    """Asked for anew while it was being switched off."""

    @property
    def is_wanted(self) -> bool:
        return self.is_wanted_again or not self.scope.cancel_called


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
        observe: Observer = lambda _: None,
    ) -> None:
        self.access = access
        self._integration = integration
        self._gateway = gateway
        self._inbox = inbox
        self._serving = serving
        self._policy = policy
        self._observe = observe
        self._shown: dict[ChatId, _Shown] = {}
        self._tasks: TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<TypingIndicator {self._integration} in {len(self._shown)} chats>"

    def can_start(self, chat: ChatId) -> bool:
        """Whether it may be shown in `chat` now."""
        has_room = chat in self._shown or len(self._shown) < AT_ONCE
        return self._policy.enabled and self._tasks is not None and self._serving.is_on and has_room

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
        if self._tasks is None or not self.can_start(chat):
            return
        shown = self._shown.get(chat)
        if shown is None:
            shown = self._shown[chat] = _Shown(anyio.CancelScope(deadline=self._deadline()))
            self._tasks.start_soon(self._show, chat, shown)
        elif shown.scope.cancel_called:
            shown.is_wanted_again = True
        else:
            shown.scope.deadline = self._deadline()

    def stop(self, chat: ChatId) -> None:
        """Hide it in `chat`."""
        shown = self._shown.get(chat)
        if shown is not None:
            shown.is_wanted_again = False
            shown.scope.cancel()

    async def switch_off_leftovers(self) -> None:
        """Switch off what an earlier daemon, or a lost connection, may have left on. Raises nothing."""
        try:
            for chat in await self._inbox.typing_left_on(self._integration):
                if chat not in self._shown:
                    with anyio.fail_after(self._policy.off_timeout):
                        await self._hide(chat)
        except _REFUSED:
            return  # remembered still: the next time that the session connects
        except Exception as error:  # noqa: BLE001  # supervision border: a session must not fail over an indicator
            self._failed(error)

    def _deadline(self) -> float:
        return anyio.current_time() + self._policy.longest

    async def _show(self, chat: ChatId, shown: _Shown) -> None:
        try:
            with shown.scope:
                await self._keep_on(chat)
        except _REFUSED:
            pass  # no indicator, but the attempt may have had its effect
        except Exception as error:  # noqa: BLE001  # supervision border: a session must not fail over an indicator
            self._failed(error)
        finally:
            shown.scope.cancel()  # whoever asks for it from now on asks anew
            with anyio.move_on_after(self._policy.off_timeout, shield=True):
                await self._hide_quietly(chat)
            del self._shown[chat]
        if shown.is_wanted_again:
            self.start(chat)

    async def _keep_on(self, chat: ChatId) -> None:
        while True:
            await anyio.lowlevel.checkpoint()  # the reply may have been quicker
            # Shielded: were it cancelled on its way, the gateway might carry it out after the "off".
            with anyio.fail_after(self._policy.off_timeout, shield=True):
                await self._gateway.set_typing(self.access, chat, on=True)
            await anyio.sleep(self._policy.refresh)

    async def _hide_quietly(self, chat: ChatId) -> None:
        try:
            await self._hide(chat)
        except WaSupervisorError:
            return  # remembered still: switched off when the session connects again
        except Exception as error:  # noqa: BLE001  # supervision border: a session must not fail over an indicator
            self._failed(error)

    async def _hide(self, chat: ChatId) -> None:
        await self._gateway.set_typing(self.access, chat, on=False)
        shown = self._shown.get(chat)
        if shown is None or not shown.is_wanted:  # else it must stay remembered: it will be on again
            await self._inbox.typing_ended(self._integration, chat)

    def _failed(self, error: Exception) -> None:
        message = 'showing or hiding "typing" failed in a way that nobody foresaw'
        self._observe(Trouble(where="typing", message=message, error=error, integration=self._integration))
