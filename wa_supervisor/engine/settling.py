"""Settling: a send of which nobody knows whether it had its effect is looked for before anything is repeated.

WhatsApp's own word comes first: an ack, or the own message among the events. Else the chat's history is read. A message
that is there was sent; one that is there but not acknowledged yet may still go out. One that is not there was not sent,
if two looks some seconds apart do not find it and the call that should have sent it certainly has ended: an answer
that said it failed, a gateway that began anew since, or enough time.

A message that was named beforehand is found by its name. Any other, and one whose name the gateway did not take, is
found by its text among the own messages since the send began, leaving out those that are known to be something else's.

What it does not do: send. Whoever asks gets what was found and decides.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import anyio

from wa_supervisor.domain.chat_history import ChatRow, Found
from wa_supervisor.domain.chats import ChatKind, chat_kind
from wa_supervisor.domain.errors import GatewayAnswerError, GatewayTimeoutError, WaSupervisorError
from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.messages import OwnMessage
from wa_supervisor.domain.names import AgentId, ChatId, StanzaId
from wa_supervisor.domain.observations import Observer, OutcomeSettled
from wa_supervisor.engine.acks import Acks
from wa_supervisor.engine.gate import Gate
from wa_supervisor.engine.line import Line
from wa_supervisor.engine.policies import OutboundPolicy
from wa_supervisor.engine.ports import Receipts
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.situation import access_of

REMEMBERED = 500
"""Own messages of one session that are remembered from its events: minutes of a busy one."""

CLOCKS_APART = 5
"""Seconds by which WhatsApp's clock may be behind this machine's."""

PAGE, PAGES = 20, 5
"""Messages of the chat read at once, and pages read at most: the send was the last thing that happened there."""

PAGES_LOAD = 3
"""Times that a chat may take to show a message, within which a page that connected is not believed to be complete."""

FIRST_LOOK, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before the first look at the history, and the longest pause between two; each is twice the one before."""


class Verdict(Enum):
    """What is known of a send."""

    SENT = "sent"
    ABSENT = "not_sent"
    OPEN = "unknown"
    """Not settled yet."""
    REFUSED = "refused"
    """WhatsApp reported an error for it."""


@dataclass(slots=True, kw_only=True)
class Doubt:
    """A send of which nobody knows whether it had its effect."""

    chat: ChatId
    text: str = field(repr=False)
    stanza: StanzaId | None
    """The message's name, if it had one."""
    began: float
    """When it was sent, by the engine's clock."""
    began_at: float
    """The same in seconds since the epoch."""
    ended_by: float
    """When it certainly can have no effect any more, by the engine's clock."""
    since: float
    """When it began to be doubted in this process, by the engine's clock."""
    agent_id: AgentId
    entry: str | None
    """Of the reply's stream, if it has one."""
    absent_since: float | None = None
    """Since when, by the engine's clock, looks do not find it although the call has ended."""
    pause: float = FIRST_LOOK
    found: StanzaId | None = None
    """Which message it turned out to be."""


class Settling:
    """Finds out for one session."""

    def __init__(
        self,
        *,
        integration: Integration,
        record: Record,
        gateway: Line,
        gate: Gate,
        acks: Acks,
        receipts: Receipts,
        policy: OutboundPolicy,
        settle: float,
        observe: Observer,
    ) -> None:
        """`settle`: seconds that a chat may take to show a message."""
        self.integration = integration
        self._gateway = gateway
        self._gate = gate
        self._acks = acks
        self._receipts = receipts
        self._policy = policy
        self._settle = settle
        self._observe = observe
        self._record = record
        self.honours_names = False
        """Whether the gateway is known to take names: then a named message is looked for by nothing else."""
        self._own: OrderedDict[StanzaId, OwnMessage] = OrderedDict()
        self._shown_at: dict[StanzaId, float] = {}
        """When each was shown, by the engine's clock."""

    def __repr__(self) -> str:
        return f"<Settling {self.integration.id}>"

    def own_seen(self, message: OwnMessage) -> None:
        """Remember an own message that the gateway showed."""
        self._own[message.stanza] = message
        self._shown_at[message.stanza] = anyio.current_time()
        if message.ack:
            self._acks.take(message.stanza, message.ack)
        if len(self._own) > REMEMBERED:
            oldest, _ = self._own.popitem(last=False)
            del self._shown_at[oldest]

    async def look(self, doubt: Doubt) -> Verdict:
        """Wait a while for WhatsApp's word, then look at the chat. Raises `StoreUnavailableError`."""
        verdict = await self._word_on(doubt)
        by = "event" if doubt.found in self._own else "ack"
        if verdict is Verdict.OPEN:
            verdict, by = await self._look_at_history(doubt), "history"
        if verdict is not Verdict.OPEN:
            self._tell(doubt, verdict, by)
        return verdict

    def give_up(self, doubt: Doubt) -> None:
        """Say that it could not be settled."""
        self._tell(doubt, Verdict.OPEN, "nothing")

    async def _word_on(self, doubt: Doubt) -> Verdict:
        pause = min(doubt.pause, max(FIRST_LOOK, doubt.ended_by - anyio.current_time()))
        doubt.pause = min(2 * doubt.pause, LONGEST_PAUSE)
        stanza = await self._stanza_among_own(doubt) or doubt.stanza
        if stanza is None:
            await anyio.sleep(pause)
            stanza = await self._stanza_among_own(doubt)
        if stanza is None:
            return Verdict.OPEN
        ack = await self._acks.wait(stanza, pause)
        return Verdict.OPEN if ack is None else self._found(doubt, stanza, ack)

    async def _stanza_among_own(self, doubt: Doubt) -> StanzaId | None:
        if doubt.stanza in self._own:
            return doubt.stanza
        return await self._stanza_among(doubt, [own for own in self._own.values() if own.place.chat == doubt.chat])

    async def _stanza_among(self, doubt: Doubt, own: Sequence[OwnMessage]) -> StanzaId | None:
        """Give the stanza of the one that has the text, the last one first, if it is nothing else's."""
        if doubt.stanza is not None and self.honours_names:
            return None
        last = doubt.began_at + (doubt.ended_by - doubt.began)  # what comes later is somebody else's
        for message in reversed(own):
            is_in_time = doubt.began_at - CLOCKS_APART <= message.place.at <= last + CLOCKS_APART
            if is_in_time and message.text.strip() == doubt.text.strip() and await self._may_be_it(message, doubt):
                return message.stanza
        return None

    async def _may_be_it(self, message: OwnMessage, doubt: Doubt) -> bool:
        """Whether a message is not known to be for another reply; it may be known to be for this one."""
        recorded = await self._receipts.receipt_of(self.integration.gateway, message.stanza)
        if recorded is not None:
            return doubt.entry is not None and (recorded.agent_id, recorded.entry) == (doubt.agent_id, doubt.entry)
        return not self._acks.is_sent(message.stanza)

    async def _look_at_history(self, doubt: Doubt) -> Verdict:
        began = anyio.current_time()
        try:
            own = await self._own_messages(doubt)
        except GatewayTimeoutError:
            return Verdict.OPEN
        except GatewayAnswerError:
            own = await self._of_unread_chat(doubt)
        except WaSupervisorError:
            return Verdict.OPEN
        if own is None:
            return Verdict.OPEN
        there = next((message for message in own if message.stanza == doubt.stanza), None)
        if there is None:
            stanza = await self._stanza_among(doubt, own)
            there = next((message for message in own if message.stanza == stanza), None)
        if there is not None:
            return self._found(doubt, there.stanza, there.ack)
        return await self._absent(doubt, began)

    async def _own_messages(self, doubt: Doubt) -> list[OwnMessage] | None:
        """Give the own messages of the chat since the send began."""
        access, found = access_of(self.integration), list[Found]()
        before: str | None = None
        for _ in range(PAGES):
            page = await self._gateway.messages(access, doubt.chat, count=PAGE, before=before)
            places = [each.place for each in page if each.place is not None]
            found = [*page, *found]
            is_far_enough = bool(places) and 0 < min(place.at for place in places) < doubt.began_at - CLOCKS_APART
            if len(page) < PAGE or not places or is_far_enough:
                return [each.message for each in found if isinstance(each.message, OwnMessage)]
            before = places[0].id.serialized
        return None  # a chat that is busier than that cannot be searched for it

    async def _of_unread_chat(self, doubt: Doubt) -> list[OwnMessage] | None:
        """Give no messages if the gateway has no such chat; `None` if that is not certain."""
        try:
            rows = await self._gateway.chats(access_of(self.integration), count=PAGE)
        except WaSupervisorError:
            return None
        if not rows:
            return None  # the page has not loaded its chats
        return None if any(_may_be_it(row, doubt) for row in rows) else []

    def _found(self, doubt: Doubt, stanza: StanzaId, ack: int) -> Verdict:
        doubt.absent_since, doubt.found = None, stanza
        ack = self._acks.of(stanza) or ack
        if ack < 0:
            return Verdict.REFUSED
        return Verdict.SENT if ack > 0 else Verdict.OPEN  # pending: it may still go out

    async def _absent(self, doubt: Doubt, began: float) -> Verdict:
        shown_at = self._shown_at.get(doubt.stanza) if doubt.stanza else None
        if shown_at is not None and shown_at > self._record.serving_since:
            return Verdict.OPEN  # this very page showed it: it is not for a look to say that it is not there
        if began < doubt.ended_by and not await self._has_begun_anew(doubt):
            return Verdict.OPEN
        loaded = self._record.serving_since + PAGES_LOAD * self._settle
        if began < loaded:  # a page that has only just connected may not show its chats yet
            doubt.absent_since = None
            return Verdict.OPEN
        if doubt.absent_since is None:
            doubt.absent_since = began
            doubt.pause = max(FIRST_LOOK, self._settle)
            return Verdict.OPEN
        return Verdict.ABSENT if began - doubt.absent_since >= self._settle else Verdict.OPEN

    async def _has_begun_anew(self, doubt: Doubt) -> bool:
        """Whether the gateway itself restarted since: what it was doing then has ended."""
        try:
            return await self._gate.began_after(doubt.began)
        except WaSupervisorError:
            return False

    def _tell(self, doubt: Doubt, verdict: Verdict, by: str) -> None:
        self._observe(
            OutcomeSettled(
                integration=self.integration.id,
                gateway=self.integration.gateway,
                found="sent" if verdict is Verdict.SENT else "not_sent" if verdict is Verdict.ABSENT else "unknown",
                by=by,
                seconds=max(0.0, anyio.current_time() - doubt.began),
            )
        )


_TWO_NAMES = frozenset({ChatKind.PERSON, ChatKind.LID})


def _may_be_it(row: ChatRow, doubt: Doubt) -> bool:
    """Whether a row may be the chat that the send went to: a person's may be listed under another id of theirs."""
    kinds = frozenset({chat_kind(row.chat), chat_kind(doubt.chat)})
    return row.chat == doubt.chat or (kinds == _TWO_NAMES and row.at >= doubt.began_at - CLOCKS_APART)
