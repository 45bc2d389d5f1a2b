"""Where a reply that cannot be delivered ends: kept with its reason, told, and only then settled.

The order matters: a stream entry is settled after its dead letter is kept, so that a crash between the two leaves the
entry, and the next daemon finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wa_supervisor.domain.dead_letters import DeadLetter
from wa_supervisor.domain.errors import WaSupervisorError
from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.names import ChatId
from wa_supervisor.domain.observations import Observer, ReplyDead, Trouble
from wa_supervisor.domain.replies import IncomingReply
from wa_supervisor.engine.ports import AgentOutbox, DeadLetters
from wa_supervisor.engine.retrying import patient

LONGEST_PAYLOAD = 65_536
"""Characters of a payload that are kept: a whole text fits, a flood of megabytes does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Why a reply cannot be delivered."""

    reason: str
    message: str
    is_unknown: bool = False
    """It may have been delivered all the same."""
    attempts: int = 0


class DeadLetterOffice:
    """Keeps what could not be delivered."""

    def __init__(
        self, *, letters: DeadLetters, outbox: AgentOutbox, wall: Callable[[], float], observe: Observer
    ) -> None:
        self._letters = letters
        self._outbox = outbox
        self._wall = wall
        self._observe = observe

    async def bury(
        self,
        source: IncomingReply,
        death: Death,
        integration: Integration | None = None,
        chat: ChatId | None = None,
    ) -> None:
        """Keep one reply as a dead letter, tell it, and settle its stream entry.

        When Redis does not take the letter after a few tries, that is told as trouble: a stream entry then stays
        unsettled and comes again, a channel reply is lost, and the log says so.
        """
        self._observe(
            ReplyDead(
                agent=source.agent_id,
                integration=integration.id if integration else None,
                gateway=integration.gateway if integration else None,
                reason=death.reason,
                is_unknown=death.is_unknown,
            )
        )
        letter = self._letter(source, death, integration, chat)
        try:
            async for attempt in patient(0.2, 2.0, attempts=5):
                with attempt:
                    await self._letters.bury(letter)
            await self._outbox.settle(source)
        except WaSupervisorError as error:
            message = f"a dead letter ({death.reason}) could not be kept: {error}"
            self._observe(
                Trouble(where="dead_letters", message=message, integration=integration.id if integration else None)
            )

    def _letter(
        self, source: IncomingReply, death: Death, integration: Integration | None, chat: ChatId | None
    ) -> DeadLetter:
        return DeadLetter(
            at=self._wall(),
            direction="out",
            reason=death.reason,
            message=death.message,
            is_unknown=death.is_unknown,
            attempts=death.attempts,
            agent_id=source.agent_id,
            integration_id=integration.id if integration else None,
            session=integration.session if integration else None,
            gateway=integration.gateway if integration else None,
            chat_id=chat,
            payload=source.payload[:LONGEST_PAYLOAD].decode("utf-8", "replace"),
        )
