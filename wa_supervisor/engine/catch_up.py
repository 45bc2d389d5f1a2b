"""Catching up: what was missed of a session is fetched from the gateway's history and goes the same way as the rest.

Begins when the gap is open and the session is connected, and now and then without a cause. The chats are compared with
the marks; those that have gone on are read from their mark on, in their order, page by page, and each message is handed
over by the same atomic step that knows what was handed over before. Live messages of a chat wait until that is done.

After a connection it is done twice, because chats may take seconds to load: only the second look moves the marks and
closes the gap. A chat that cannot be read holds up no other; its mark stays, so that the next look finds it again.

A gateway is spared: a few of its sessions catch up at a time, one call after the other, paced by how fast it answers.
Only calls that leave unread marks alone are made.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import anyio

from wa_supervisor.domain.catching_up import (
    Behind,
    anchor_of,
    chats_behind,
    chats_lost,
    is_last_page,
    is_too_old,
    missed_of,
    reaches,
    without,
)
from wa_supervisor.domain.chat_history import ChatRow, Found
from wa_supervisor.domain.errors import (
    GatewayAnswerError,
    GatewayAwayError,
    GatewayTimeoutError,
    PermanentError,
    StoreUnavailableError,
)
from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.marks import Mark, Place
from wa_supervisor.domain.messages import InboundMessage, LeftOutReason, OwnMessage
from wa_supervisor.domain.names import ChatId
from wa_supervisor.domain.observations import CaughtUp, FellBehind, Observer, Trouble
from wa_supervisor.engine.gap import Gap
from wa_supervisor.engine.gate import Gate
from wa_supervisor.engine.inbound import Inbound
from wa_supervisor.engine.line import Line
from wa_supervisor.engine.policies import InboundPolicy
from wa_supervisor.engine.ports import AgentInbox
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.retrying import keep_doing
from wa_supervisor.engine.situation import access_of

YOUNG = frozenset({"started"})
"""Causes after which the page has only just been loaded: not even live messages go on before the second look."""

ONCE = frozenset({"overflow", "store", "failure", "routine"})
"""Causes after which one look is enough: the page was there all along."""

RETRY_INITIAL, RETRY_LONGEST = 1.0, 30.0
"""Seconds: upper bound of the first delay before catching up is tried again, and the cap of that delay."""

GIVE_UP_AFTER = 3
"""Chats in a row that cannot be read before it is the gateway that is to blame and not they."""

ANCHORS = 5
"""Chats tried one after the other as the beginning of a page, because those before have moved meanwhile."""

RETRY_UNREAD = 60.0
"""Seconds until chats that could not be read are tried again."""

FARTHEST = 10_000
"""Messages that are read backwards in one chat at most, where its mark is not found."""

REMEMBERED = 7.0
"""Horizons for which a mark is kept after its chat fell silent: then it costs a look again."""


@dataclass(slots=True)
class _Look:
    """What one look has found so far."""

    number: int
    """Of the gap that it is for."""
    holds_all: bool
    """Nothing live goes on before it is over."""
    moves_marks: bool
    epoch: int | None = None
    """The life of the store in which its marks were read, if it moves any."""
    since: float = 0.0
    """Seconds since the epoch from which on the session is ours."""
    floor: float = 0.0
    """Seconds since the epoch before which nothing is fetched."""
    chats: int = 0
    recovered: int = 0
    too_old: int = 0
    failed_in_a_row: int = 0


class CatchUp:
    """Fetches what one session has missed."""

    def __init__(
        self,
        *,
        integration: Integration,
        record: Record,
        gateway: Line,
        gate: Gate,
        inbox: AgentInbox,
        inbound: Inbound,
        gap: Gap,
        policy: InboundPolicy,
        observe: Observer,
        own_seen: Callable[[OwnMessage], None],
    ) -> None:
        self.integration = integration
        self._record = record
        self._gateway = gateway
        self._gate = gate
        self._inbox = inbox
        self._inbound = inbound
        self._gap = gap
        self._policy = policy
        self._observe = observe
        self._own_seen = own_seen
        self._has_begun = False

    def __repr__(self) -> str:
        return f"<CatchUp {self.integration.id} {self._gap!r}>"

    async def run(self) -> None:
        """Catch up whenever something was missed, until cancelled."""
        try:
            await keep_doing(self._once_or_later, initial=RETRY_INITIAL, longest=RETRY_LONGEST, tell=self._tell)
        finally:
            self._gap.free_all(
                self._gap.number
            )  # nobody fetches any more: what has arrived is handed over, out of order if need be

    async def _once_or_later(self) -> None:
        """Catch up once. What does not pass by itself is the session's life to decide on, and no reason to end."""
        try:
            await self._once()
        except PermanentError as error:
            raise GatewayAnswerError(str(error)) from error

    async def _once(self) -> None:
        await self._begin()
        routine = self._policy.routine * random.uniform(0.8, 1.2)  # noqa: S311  # jitter
        with anyio.move_on_after(min(routine, RETRY_UNREAD) if self._inbound.unread else routine):
            await self._gap.wait_open()
        await self._record.serving.wait_on()
        number, cause = self._gap.number, self._gap.cause if self._gap.is_open else "routine"
        began = anyio.current_time()
        found = await self._look_as_often_as_needed(number, cause)
        is_over = self._gap.close(number)
        self._tell_found(cause, anyio.current_time() - began, found)
        if not is_over:  # more may have been missed meanwhile: that is fetched next
            integration, cause = self.integration, self._gap.cause
            self._observe(FellBehind(integration=integration.id, gateway=integration.gateway, cause=cause))

    async def _begin(self) -> None:
        """Have the session be ours from now on if it never was: what comes while it is brought up is for us."""
        if not self._has_begun:
            await self._inbox.marks(self.integration.gateway, self.integration.session, self._record.now)
            self._has_begun = True

    async def _look_as_often_as_needed(self, number: int, cause: str) -> _Look:
        if cause in ONCE:
            return await self._look(_Look(number=number, holds_all=False, moves_marks=True))
        is_young = cause in YOUNG
        first = await self._look(_Look(number=number, holds_all=is_young, moves_marks=False))
        if not is_young:
            self._gap.free_all(number)
        await anyio.sleep(self._policy.settle)
        look = await self._look(_Look(number=number, holds_all=False, moves_marks=True))
        look.recovered += first.recovered
        return look

    async def _look(self, look: _Look) -> _Look:
        async with self._gate.catch_ups.turn():
            integration, now = self.integration, self._record.now
            look.epoch = self._inbound.epoch if look.moves_marks else None
            marks = await self._inbox.marks(integration.gateway, integration.session, now)
            look.since, look.floor = marks.since, max(marks.since, now - self._policy.horizon)
            rows = await self._rows(look.floor)
            behind = chats_behind(rows, marks.by_chat, look.floor)
            self._free_others(rows, behind, look)
            for each in behind:
                await self._catch_up_chat(each, look)
            if look.moves_marks:
                await self._give_up_old(chats_lost(rows, marks.by_chat, look.floor), look)
                await self._forget(marks.by_chat.values(), now)
        return look

    async def _rows(self, floor: float) -> list[ChatRow]:
        """Give the chats that were active since `floor`, and perhaps others."""
        found: dict[ChatId, ChatRow] = {}
        order: list[ChatId] = []
        start: ChatId | None = None
        tries = 0
        while True:
            rows = await self._ask_chats(start)
            fresh = [row.chat for row in rows if row.chat not in found]
            found.update((row.chat, row) for row in rows)
            order += fresh
            if not is_last_page(rows, len(fresh), self._policy.page, floor):
                start, tries = rows[-1].chat, 0
            elif not fresh and len(rows) > self._policy.page // 2 and tries < ANCHORS and len(order) > tries + 1:
                tries += 1  # the chat from which the page was to begin has moved to the front: from one before it
                start = order[-1 - tries]
            else:
                break
        if len(order) > self._policy.page:
            await self._add_what_moved(found)
        return list(found.values())

    async def _add_what_moved(self, found: dict[ChatId, ChatRow]) -> None:
        """Add the chats that went from a page not read yet to the front while pages were read."""
        for _ in range(ANCHORS):
            rows = await self._ask_chats(None)
            is_new = any(row.chat not in found for row in rows)
            found.update((row.chat, row) for row in rows)
            if not is_new:
                return

    def _free_others(self, rows: Sequence[ChatRow], behind: Sequence[Behind], look: _Look) -> None:
        # Only chats that the list names so: one that it does not may stand there under another id.
        late = {each.row.chat for each in behind}
        for row in rows:
            if row.chat not in late and not look.holds_all:
                self._gap.free(row.chat, look.number)

    async def _catch_up_chat(self, behind: Behind, look: _Look) -> None:
        look.chats += 1
        chat = behind.row.chat
        try:
            await self._read_on(behind, look)
        except GatewayAnswerError as error:
            look.failed_in_a_row += 1
            self._inbound.unread.add(chat)
            if look.failed_in_a_row >= GIVE_UP_AFTER:
                raise
            message = f"the history of a chat cannot be read; it is looked at again later: {error}"
            self._observe(Trouble(where="catch_up", message=message, integration=self.integration.id))
            return
        if look.moves_marks:
            self._inbound.unread.discard(chat)
        look.failed_in_a_row = 0
        if not look.holds_all:
            self._gap.free(chat, look.number)

    async def _read_on(self, behind: Behind, look: _Look) -> None:
        """Hand over what comes after the mark."""
        chat, mark = behind.row.chat, behind.mark
        page = [] if mark is None else await self._after(chat, anchor_of(mark, chat))
        if not page:  # the history does not know the mark (any more)
            await self._take(await self._backwards(behind, look.floor), behind, look)
            return
        before: Place | None = None
        while True:
            last = await self._take(page, behind, look)
            if len(page) < self._policy.page or (before is not None and before == last):
                return
            if last is None:
                raise GatewayAnswerError("a whole page of messages that say nothing of themselves")
            before, page = last, await self._ask_messages(chat, after=last.id.serialized)

    async def _after(self, chat: ChatId, anchor: str) -> Sequence[Found]:
        """Give the first page after a message; nothing if the history does not know it."""
        try:
            return await self._ask_messages(chat, after=anchor)
        except GatewayTimeoutError:
            raise
        except GatewayAnswerError:
            return ()

    async def _backwards(self, behind: Behind, floor: float) -> Sequence[Found]:
        """Give what comes after a chat's mark, or after `floor`, reading backwards; oldest first."""
        found = list(await self._ask_messages(behind.row.chat))
        is_whole = len(found) < self._policy.page
        while not is_whole and not reaches(found, behind.mark, floor):
            first = next((each.place for each in found if each.place is not None), None)
            if first is None or len(found) >= FARTHEST:
                message = f"more than {FARTHEST} messages of a chat may have been missed: those before are left out"
                self._observe(Trouble(where="catch_up", message=message, integration=self.integration.id))
                break
            page = await self._ask_messages(behind.row.chat, before=first.id.serialized)
            fresh = without(page, found)
            is_whole = len(page) < self._policy.page or not fresh
            found = fresh + found
        return missed_of(found, behind.mark)

    async def _take(self, page: Sequence[Found], behind: Behind, look: _Look) -> Place | None:
        """Let each message go its way, in order; give where the last one stands."""
        last: Place | None = None
        is_passed = False
        for each in page:
            message, place = each.message, each.place
            is_passed = not isinstance(message, InboundMessage)
            if isinstance(message, InboundMessage):
                await self._recover(message, behind, look)
            elif isinstance(message, OwnMessage):
                self._own_seen(message)
            elif message.reason is LeftOutReason.AWAITING_DECRYPTION and place is not None:
                self._await_decryption(place)
            last = place or last
        if last is not None and is_passed and look.epoch is not None:
            await self._inbound.advance(last, epoch=look.epoch)
        return last

    def _await_decryption(self, place: Place) -> None:
        if self._record.now - place.at < self._policy.undecrypted:
            self._inbound.await_decryption(place)

    async def _recover(self, message: InboundMessage, behind: Behind, look: _Look) -> None:
        if not is_too_old(message, look.floor):
            look.recovered += await self._inbound.recover(message, epoch=look.epoch)
        elif look.moves_marks and behind.mark is not None:
            look.too_old += message.sent_at >= max(behind.mark.at, look.since)

    async def _give_up_old(self, lost: Sequence[Behind], look: _Look) -> None:
        """Count chats whose messages were missed for too long, once."""
        for each in lost:
            last = each.row.last
            if last is None:
                continue
            look.too_old += not last.from_me
            await self._inbound.advance(Place(chat=each.row.chat, id=last, at=each.row.at), epoch=look.epoch)

    async def _forget(self, marks: Iterable[Mark], now: float) -> None:
        oldest = now - REMEMBERED * self._policy.horizon
        old = [mark for mark in marks if mark.at < oldest]
        if old:
            await self._inbox.forget_marks(self.integration.gateway, self.integration.session, old)

    async def _ask_chats(self, start: ChatId | None) -> Sequence[ChatRow]:
        async with self._gate.catch_ups.pacer.turn():
            self._check_gate()
            return await self._gateway.chats(access_of(self.integration), count=self._policy.page, start=start)

    async def _ask_messages(
        self, chat: ChatId, *, after: str | None = None, before: str | None = None
    ) -> Sequence[Found]:
        async with self._gate.catch_ups.pacer.turn():
            self._check_gate()
            return await self._gateway.messages(
                access_of(self.integration), chat, count=self._policy.page, after=after, before=before
            )

    def _check_gate(self) -> None:
        if self._gate.was_refused:
            raise GatewayAwayError(f"gateway {self._gate.name} is away: {self._gate.reason}")

    def _tell_found(self, cause: str, seconds: float, found: _Look) -> None:
        if found.too_old:
            self._inbound.leave_out_old(found.too_old)
        self._observe(
            CaughtUp(
                integration=self.integration.id,
                gateway=self.integration.gateway,
                cause=cause,
                seconds=seconds,
                chats=found.chats,
                recovered=found.recovered,
                too_old=found.too_old,
            )
        )

    def _tell(self, error: BaseException, delay: float, attempt: int) -> None:
        is_expected = isinstance(error, GatewayAwayError | StoreUnavailableError)
        if attempt == 1 and not is_expected:
            message = f"what was missed cannot be fetched, next try in {delay:.1f} s: {error}"
            self._observe(Trouble(where="catch_up", message=message, error=error, integration=self.integration.id))
