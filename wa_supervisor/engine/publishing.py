"""Publishing what waits: messages that nobody heard on an agent's channel are published, in order, when somebody does.

One for the daemon. There is no event for a subscriber that comes, so it looks every second, in one call for all agents
for whom something waits.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.names import AgentId
from wa_supervisor.domain.observations import AgentWaiting, MessagesDropped, Observer, Trouble
from wa_supervisor.engine.policies import InboundPolicy
from wa_supervisor.engine.ports import AgentInbox, Published
from wa_supervisor.engine.retrying import patient


class Publishing:
    """Publishes for all agents."""

    def __init__(self, inbox: AgentInbox, policy: InboundPolicy, observe: Observer) -> None:
        self._inbox = inbox
        self._policy = policy
        self._observe = observe
        self._waiting: dict[AgentId, int] = {}

    def __repr__(self) -> str:
        return f"<Publishing for {len(self._waiting)} agents that are away>"

    async def run(self) -> None:
        """Look and publish until cancelled."""
        while True:
            await anyio.sleep(self._policy.publish_every)
            try_for_ever = patient(self._policy.retry_initial, self._policy.retry_max, tell=self._tell)
            has_more = True
            while has_more:
                has_more = self._note(await try_for_ever(self._inbox.publish_waiting))

    def _note(self, found: Sequence[Published]) -> bool:
        """Tell what became of it; say whether more can be published at once."""
        for each in found:
            self._note_one(each)
        for agent in self._waiting.keys() - {each.agent_id for each in found}:  # another daemon published it
            self._say_waiting(agent, 0, 0)
        return any(each.published and each.waiting for each in found)

    def _note_one(self, each: Published) -> None:
        for count, reason in ((each.too_old, "age"), (each.lost, "length")):
            if count:
                self._observe(MessagesDropped(agent=each.agent_id, count=count, reason=reason))
        self._say_waiting(each.agent_id, each.waiting, each.published)

    def _say_waiting(self, agent: AgentId, waiting: int, published: int) -> None:
        if published or waiting != self._waiting.get(agent, 0):
            self._observe(AgentWaiting(agent=agent, waiting=waiting, published=published))
        self._waiting[agent] = waiting
        if not waiting:
            del self._waiting[agent]

    def _tell(self, error: BaseException, delay: float, attempt: int) -> None:
        if attempt == 1 and not isinstance(error, StoreUnavailableError):
            message = f"what waits for agents cannot be published, next try in {delay:.1f} s"
            self._observe(Trouble(where="publishing", message=message, error=error))
