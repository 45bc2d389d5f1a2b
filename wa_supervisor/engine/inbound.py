"""In: from a gateway's event, or from its chats' history, to the agent's stream, for one session.

A message goes into its chat's lane, so one chat stays in order and a slow one holds up nobody else's. The hand-over is
repeated until Redis takes it; it is atomic with the seen-check, so repeating cannot double it. The mark of the chat
moves in the same step, but only if nothing may be missing before the message (`wa_supervisor.engine.gap`).

Taking never waits: a full queue opens the gap, and what did not fit is fetched by `wa_supervisor.engine.catch_up`, as
is everything that was missed. So a session that cannot hand over slows itself only.

What it does not do: decide what is for the agent, or when to catch up.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from tenacity import AsyncRetrying

from wa_supervisor.domain.agent_input import agent_input
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.marks import Mark, Place
from wa_supervisor.domain.messages import InboundMessage
from wa_supervisor.domain.names import ChatId, StanzaId
from wa_supervisor.domain.observations import (
    Abandoned,
    DuplicateDropped,
    MessageHandedOver,
    MessageLeftOut,
    MessagesDropped,
    Observer,
    Trouble,
)
from wa_supervisor.engine.backlog import Backlog
from wa_supervisor.engine.gap import Gap
from wa_supervisor.engine.lanes import Lanes, LanesFullError, LanesOverError
from wa_supervisor.engine.people import CachedPeople
from wa_supervisor.engine.policies import InboundPolicy
from wa_supervisor.engine.ports import AgentInbox, HandedOver, HandOver, SeenBefore
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.retrying import patient
from wa_supervisor.engine.typing_indicator import TypingIndicator

MOST_UNDECRYPTED = 1000
"""Messages of one session that are waited for to be decrypted; older ones are given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrived:
    place: Place
    message: InboundMessage | None
    """`None`: not for the agent; it only moves the mark."""
    at: float
    wall: float
    is_held: bool
    """It arrived while something before it may be missing."""
    is_recovered: bool = False
    """It was read from the history, in its chat's order."""
    epoch: int | None
    """The life of the store in which it may move its chat's mark, if it may."""


class Inbound:
    """Carries one session's messages to its agent."""

    def __init__(
        self,
        *,
        integration: Integration,
        record: Record,
        people: CachedPeople,
        inbox: AgentInbox,
        typing: TypingIndicator,
        gap: Gap,
        backlog: Backlog,
        policy: InboundPolicy,
        observe: Observer,
    ) -> None:
        self.integration = integration
        self._record = record
        self._people = people
        self._inbox = inbox
        self._typing = typing
        self._gap = gap
        self._policy = policy
        self._observe = observe
        self._epoch = 0
        self.unread: set[ChatId] = set()
        """Chats whose history could not be read: what is live there moves no mark until it could."""
        self._undecrypted: dict[ChatId, dict[StanzaId, float]] = {}
        self._lanes: Lanes[ChatId, _Arrived] = Lanes(
            self._carry,
            bound=policy.queue_per_session,
            side_by_side=policy.queue_per_session,
            on_error=self._failed,
            on_count=backlog.moved,
        )

    def __repr__(self) -> str:
        return f"<Inbound {self.integration.id} {self._lanes.count} messages, {self._gap!r}>"

    async def run(self) -> None:
        """Carry until cancelled; then say how many are left behind."""
        try:
            await self._lanes.run()
        finally:
            self._abandon(len(self._lanes.take_rest()))

    def take(self, message: InboundMessage) -> None:
        """Take one message that has just arrived; one that finds no room is left to catching up."""
        self._put(message.place, message)

    def pass_by(self, place: Place, *, is_undecrypted: bool = False) -> None:
        """Take that something stands there that is not for the agent, or that cannot be read yet."""
        if is_undecrypted:
            self.await_decryption(place)
        else:
            self._put(place, None)

    def await_decryption(self, place: Place) -> None:
        """Keep the chat's mark before this message until it comes readable, or for long enough."""
        waiting = self._undecrypted.setdefault(place.chat, {})
        waiting.setdefault(place.id.stanza, anyio.current_time())
        if sum(map(len, self._undecrypted.values())) > MOST_UNDECRYPTED:
            del self._undecrypted[next(iter(self._undecrypted))]

    def store_restarted(self) -> None:
        """Let nothing that has arrived move a mark: the store may have forgotten what came before it."""
        self._epoch += 1

    @property
    def epoch(self) -> int:
        """Number of the store's life, as far as marks are concerned: whoever read them gives it back to move them."""
        return self._epoch

    async def recover(self, message: InboundMessage, *, epoch: int | None) -> bool:
        """Hand over a message of the history; False: it had been handed over before. Raises `StoreUnavailableError`."""
        arrived = self._arrived(message.place, message, epoch=epoch, is_held=False, is_recovered=True)
        done = await self._hand_over(message, arrived, is_recovered=True)
        if not isinstance(done, HandedOver):
            return False
        self._record.traffic.recovered += 1
        self._count(done, arrived)
        return True

    async def advance(self, place: Place, *, epoch: int | None) -> None:
        """Move the mark of a chat to where its history was read to. Raises `StoreUnavailableError`."""
        if epoch == self._epoch and not self._is_blocked(place.chat):
            await self._inbox.advance(self.integration.gateway, self.integration.session, place.mark)

    async def wait_empty(self) -> None:
        """Wait until everything taken is handed over."""
        await self._lanes.wait_empty()

    def leave_out_old(self, count: int) -> None:
        """Count messages that were missed and are too old to be handed over now."""
        for _ in range(count):
            self._record.traffic.left_out += 1
            integration = self.integration
            self._observe(
                MessageLeftOut(gateway=integration.gateway, reason="too_old", detail="", integration=integration.id)
            )

    def _put(self, place: Place, message: InboundMessage | None) -> None:
        epoch = None if self._gap.is_open else self._epoch
        arrived = self._arrived(place, message, epoch=epoch, is_held=self._gap.is_open)
        try:
            self._lanes.put_nowait(place.chat, arrived)
        except LanesFullError:
            self._gap.open("overflow")
        except LanesOverError:  # whoever carries this session next begins by catching up
            if message is not None:
                self._abandon(1)

    def _arrived(
        self,
        place: Place,
        message: InboundMessage | None,
        *,
        epoch: int | None,
        is_held: bool,
        is_recovered: bool = False,
    ) -> _Arrived:
        return _Arrived(
            place=place,
            message=message,
            at=anyio.current_time(),
            wall=self._record.now,
            epoch=epoch,
            is_held=is_held,
            is_recovered=is_recovered,
        )

    async def _carry(self, chat: ChatId, arrived: _Arrived) -> None:
        if arrived.is_held:
            await self._gap.wait_free(chat, arrived.at)
        message = arrived.message
        if message is None:
            await self._move_mark(arrived)
            return
        if self._is_too_old(arrived):
            self.leave_out_old(1)
            return
        async for attempt in self._patient():
            with attempt:
                done = await self._hand_over(message, arrived, is_recovered=False)
                if isinstance(done, HandedOver):
                    self._count(done, arrived)
                else:
                    self._record.traffic.duplicates += 1
                    integration = self.integration
                    self._observe(DuplicateDropped(integration=integration.id, gateway=integration.gateway))
                self._record.touched()

    def _is_too_old(self, arrived: _Arrived) -> bool:
        """Whether it waited here for so long, a stopped process included, that others may have handed it over since."""
        return self._record.now - arrived.wall > self._policy.horizon

    async def _move_mark(self, arrived: _Arrived) -> None:
        mark = self._mark_of(arrived)
        if mark is None:
            return
        try:
            await self._inbox.advance(self.integration.gateway, self.integration.session, mark)
        except StoreUnavailableError:
            return  # a mark that stays behind costs a look at the chat, no message

    async def _hand_over(
        self, message: InboundMessage, arrived: _Arrived, *, is_recovered: bool
    ) -> HandedOver | SeenBefore:
        integration, chat = self.integration, message.chat
        person = await self._people.person(integration.agent_id, message.sender)
        self._decrypted(arrived.place)
        handover = HandOver(
            agent_id=integration.agent_id,
            integration_id=integration.id,
            identity=message.identity,
            chat=chat,
            payload=agent_input(message, person, integration.id, is_recovered=is_recovered),
            marks_typing=integration.typing and self._typing.can_start(chat),
            mark=self._mark_of(arrived),
        )
        done = await self._inbox.hand_over(handover)
        if isinstance(done, HandedOver) and handover.marks_typing:
            self._typing.start(chat)
        return done

    def _mark_of(self, arrived: _Arrived) -> Mark | None:
        chat = arrived.place.chat
        is_known = arrived.is_recovered or chat not in self.unread
        may_move = arrived.epoch == self._epoch and is_known and not self._is_blocked(chat)
        return arrived.place.mark if may_move else None

    def _is_blocked(self, chat: ChatId) -> bool:
        """Whether a message of this chat still waits to be decrypted, so that its mark must stay before it."""
        waiting = self._undecrypted.get(chat)
        if waiting is None:
            return False
        given_up = anyio.current_time() - self._policy.undecrypted
        for stanza in [stanza for stanza, since in waiting.items() if since <= given_up]:
            del waiting[stanza]
        if not waiting:
            del self._undecrypted[chat]
        return bool(waiting)

    def _decrypted(self, place: Place) -> None:
        waiting = self._undecrypted.get(place.chat)
        if waiting is not None:
            waiting.pop(place.id.stanza, None)

    def _count(self, done: HandedOver, arrived: _Arrived) -> None:
        integration, traffic = self.integration, self._record.traffic
        traffic.messages_in += 1
        traffic.last_in_at = self._record.now
        self._record.touched()
        self._observe(
            MessageHandedOver(
                integration=integration.id,
                gateway=integration.gateway,
                listeners=done.listeners,
                latency=anyio.current_time() - arrived.at,
            )
        )
        if done.dropped:
            self._observe(MessagesDropped(agent=integration.agent_id, count=done.dropped, reason="length"))

    def _patient(self) -> AsyncRetrying:
        return patient(self._policy.retry_initial, self._policy.retry_max, tell=self._tell)

    def _abandon(self, count: int) -> None:
        if count:
            self._observe(Abandoned(integration=self.integration.id, what="messages_in", count=count))

    def _tell(self, error: BaseException, delay: float, attempt: int) -> None:
        if attempt == 1:
            message = f"a message waits for Redis, next try in {delay:.1f} s: {error}"
            self._trouble(message, error)

    def _failed(self, error: BaseException) -> None:
        self._epoch += 1  # what waits behind it must not move a mark beyond it
        self._gap.open("failure")
        self._trouble("a message was not handed over", error)

    def _trouble(self, message: str, error: BaseException) -> None:
        self._observe(Trouble(where="hand_over", message=message, error=error, integration=self.integration.id))
