"""Where a reply that cannot be delivered ends: told, kept with its reason, told to its agent, and only then settled.

The order matters: a stream entry is settled after its dead letter is kept, so that a crash between the two leaves the
entry, and the next daemon finds it. While Redis is away the letter waits for it; only a stop ends that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wa_supervisor.domain.dead_letters import LONGEST_PAYLOAD, DeadLetter
from wa_supervisor.domain.errors import TemporaryError
from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.observations import Observer, ReplyDead, Trouble
from wa_supervisor.domain.receipts import Fate, Receipt
from wa_supervisor.domain.replies import IncomingReply, Reply
from wa_supervisor.engine.ports import AgentOutbox, DeadLetters, Receipts
from wa_supervisor.engine.retrying import insist

RECORD_TIMEOUT = 4.0
"""Seconds that recording a reply's fate may take once everything is being cancelled: less than
`SupervisorPolicy.cancel_timeout`, so that a stop ends in time even if Redis is away."""


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
        self,
        *,
        letters: DeadLetters,
        outbox: AgentOutbox,
        receipts: Receipts,
        wall: Callable[[], float],
        observe: Observer,
    ) -> None:
        self._letters = letters
        self._receipts = receipts
        self._outbox = outbox
        self._wall = wall
        self._observe = observe

    async def bury(
        self,
        source: IncomingReply,
        death: Death,
        integration: Integration | None = None,
        reply: Reply | None = None,
    ) -> None:
        """Keep one reply as a dead letter, tell it, and settle its stream entry. Raises nothing.

        Not interrupted, so that nothing is kept twice: whoever is cancelled meanwhile learns it afterwards. If Redis
        does not take the letter before a stop ends it, that is told as trouble: a stream entry is given back unsettled
        and comes again, a channel reply is lost, and the log says so.
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
        letter = self._letter(source, death, integration, reply)
        if await self._insist(lambda: self._letters.bury(letter), letter, "waits to be kept"):
            receipt = _receipt(letter, source, reply)
            await self._insist(lambda: self._receipts.tell(receipt), letter, "waits to be told to its agent")
            if not await self._insist(lambda: self._outbox.settle(source), letter, "waits to be settled"):
                self._trouble(letter, "is kept, but its reply is not settled: it may come a second time")
        else:
            self._outbox.give_back(source)
            fate = "is lost" if source.entry is None else "stays in its stream and comes again"
            self._trouble(letter, f"could not be kept: the reply {fate}")

    async def _insist(self, work: Callable[[], Awaitable[None]], letter: DeadLetter, what: str) -> bool:
        def tell(error: BaseException, delay: float, attempt: int) -> None:
            is_surprise = not isinstance(error, TemporaryError)
            if attempt == 1 or is_surprise:
                self._trouble(letter, f"{what}, next try in {delay:.1f} s: {error}", error if is_surprise else None)

        return await insist(work, limit=RECORD_TIMEOUT, tell=tell)

    def _trouble(self, letter: DeadLetter, what: str, error: BaseException | None = None) -> None:
        message = f"a dead letter ({letter.reason}) {what}"
        self._observe(Trouble(where="dead_letters", message=message, error=error, integration=letter.integration_id))

    def _letter(
        self, source: IncomingReply, death: Death, integration: Integration | None, reply: Reply | None
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
            chat_id=reply.chat if reply else None,
            payload=source.payload[: 4 * LONGEST_PAYLOAD].decode("utf-8", "replace")[:LONGEST_PAYLOAD],
        )


def _receipt(letter: DeadLetter, source: IncomingReply, reply: Reply | None) -> Receipt:
    return Receipt(
        agent_id=source.agent_id,
        status=Fate.UNKNOWN if letter.is_unknown else Fate.FAILED,
        at=letter.at,
        chat_id=reply.chat if reply else None,
        reply_id=reply.reply_id if reply else None,
        entry=source.entry,
        session=letter.session,
        integration_id=letter.integration_id,
        reason=letter.reason,
    )
