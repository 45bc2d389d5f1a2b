"""Port `AgentInbox`: messages go to an agent by one script, so that seen-check and hand-over are one step.

Nothing is remembered in the process: two daemons that get the same message at the same time hand it over once, and a
daemon that repeats after a lost answer learns that it had been handed over.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

import msgspec

from wa_supervisor.adapters.redis import keys as names
from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.keys import Keys, to_bytes, to_text
from wa_supervisor.adapters.redis.refusals import RefusalError
from wa_supervisor.adapters.redis.scripts import Script
from wa_supervisor.adapters.redis.wire import as_refusal
from wa_supervisor.domain.marks import Mark
from wa_supervisor.domain.names import AgentId, ChatId, GatewayName, IntegrationId, SessionName
from wa_supervisor.engine.ports import HandedOver, HandOver, Marks, Published, SeenBefore

_log = logging.getLogger(__name__)

PAGE, PAGES = b"100", b"10"
"""Entries read at once while publishing what waited, and how often in one call: milliseconds of the server's time."""

AT_ONCE = b"4000000"
"""Bytes published in one call: the server cuts a listener off that has 8 MB for long, or 32 MB, not read yet."""

_OF_ONE_AGENT = frozenset({"WRONGTYPE", "NOPERM"})
"""Refusals that are about one agent's key or channel."""


class _Shown(msgspec.Struct):
    """The part of a payload that a reader of the stream may want without decoding the rest."""

    message_id: str = ""


class RedisAgentInbox:
    """The agents' input streams and channels."""

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._hand_over = Script(client, "hand_over")
        self._publish_waiting = Script(client, "publish_waiting")
        self._advance = Script(client, "advance_mark")
        self._forget = Script(client, "forget_marks")
        self._complained: set[AgentId] = set()
        policy = client.policy
        numbers = (policy.seen_ttl, policy.owner_ttl, policy.typing_ttl, policy.stream_maxlen)
        self._limits = tuple(b"%d" % max(1, round(number)) for number in numbers)

    async def hand_over(self, handover: HandOver) -> HandedOver | SeenBefore:
        """Hand one message over. Raises `StoreUnavailableError`; it may then be repeated."""
        stream = names.agent_input(handover.agent_id)
        seen = self._keys.seen(handover.identity.key)
        owner = self._keys.owner(handover.agent_id, handover.chat)
        typing = self._keys.typing(handover.integration_id)
        marks = self._keys.marks(handover.identity.gateway, handover.identity.session)
        waiting, away = self._keys.unheard(handover.agent_id), self._keys.agents_away
        mark = b"" if handover.mark is None else _written(handover.mark)
        answer = await self._hand_over.call(
            (stream, seen, owner, typing, marks, waiting, away),
            (*_facts(handover), *self._limits, mark, to_bytes(handover.agent_id)),
        )
        if answer is None:
            return SeenBefore()
        entry, listeners, is_waiting, dropped = cast("tuple[bytes, int, int, int]", answer)
        return HandedOver(entry=to_text(entry), listeners=listeners, is_waiting=bool(is_waiting), dropped=dropped)

    async def publish_waiting(self) -> Sequence[Published]:
        """Publish what waits, for each agent by itself. Raises `StoreUnavailableError`."""
        answer = cast("Sequence[bytes]", await self._client.call(b"SMEMBERS", self._keys.agents_away))
        found = [await self._publish_for(AgentId(to_text(agent))) for agent in sorted(answer)]
        return [each for each in found if each is not None]

    async def marks(self, gateway: GatewayName, session: SessionName, now: float) -> Marks:
        """Give the session's marks. Raises `StoreUnavailableError`."""
        since = self._keys.since(gateway, session)
        answers = await self._client.call_all(
            [
                (b"SET", since, b"%.3f" % now, b"NX"),
                (b"GET", since),
                (b"HGETALL", self._keys.marks(gateway, session)),
            ]
        )
        _, began, flat = (as_refusal(answer) for answer in answers)
        rows = cast("Sequence[bytes]", flat)
        read = (_read_mark(chat, text) for chat, text in zip(rows[::2], rows[1::2], strict=True))
        return Marks(since=_seconds(began, now), by_chat={mark.chat: mark for mark in read if mark is not None})

    async def advance(self, gateway: GatewayName, session: SessionName, mark: Mark) -> None:
        """Move a mark forward. Raises `StoreUnavailableError`; it may then be repeated."""
        await self._advance.call([self._keys.marks(gateway, session)], [to_bytes(mark.chat), _written(mark)])

    async def forget_marks(self, gateway: GatewayName, session: SessionName, marks: Sequence[Mark]) -> None:
        """Forget marks that have not moved since. Raises `StoreUnavailableError`; it may then be repeated."""
        size = self._client.policy.batch
        for start in range(0, len(marks), size):
            words = [word for mark in marks[start : start + size] for word in (to_bytes(mark.chat), _written(mark))]
            await self._forget.call([self._keys.marks(gateway, session)], words)

    async def _publish_for(self, agent: AgentId) -> Published | None:
        """Publish for one agent; a key of a wrong type is that agent's trouble."""
        keys = (names.agent_input(agent), self._keys.unheard(agent), self._keys.agents_away)
        age = b"%d" % round(self._client.policy.unheard_longest * 1000)
        try:
            answer = await self._publish_waiting.call(keys, (to_bytes(agent), age, PAGE, PAGES, AT_ONCE))
        except RefusalError as error:
            if error.code not in _OF_ONE_AGENT:
                raise
            if agent not in self._complained:
                self._complained.add(agent)
                _log.warning("what waits for an agent cannot be published", extra={"agent": agent, "why": str(error)})
            return None
        published, waiting, too_old, lost = cast("tuple[int, int, int, int]", answer)
        if not (published or waiting or too_old or lost):  # another daemon did it, or a group reads the stream now
            return None
        return Published(agent_id=agent, published=published, waiting=waiting, too_old=too_old, lost=lost)

    async def owner_of(self, agent_id: AgentId, chat: ChatId) -> IntegrationId | None:
        """Give who last received a message from `chat`. Raises `StoreUnavailableError`."""
        answer = cast("bytes | None", await self._client.call(b"GET", self._keys.owner(agent_id, chat)))
        return None if answer is None else IntegrationId(to_text(answer))

    async def typing_left_on(self, integration_id: IntegrationId) -> Sequence[ChatId]:
        """Give the marked chats, in the order of their ids. Raises `StoreUnavailableError`."""
        answer = cast("Sequence[bytes]", await self._client.call(b"SMEMBERS", self._keys.typing(integration_id)))
        return sorted(ChatId(to_text(chat)) for chat in answer)

    async def typing_ended(self, integration_id: IntegrationId, chat: ChatId) -> None:
        """Take the mark away. Raises `StoreUnavailableError`."""
        await self._client.call(b"SREM", self._keys.typing(integration_id), to_bytes(chat))


def _written(mark: Mark) -> bytes:
    return b"%d %b" % (mark.at, to_bytes(mark.message_id))


def _read_mark(chat: bytes, text: bytes) -> Mark | None:
    at, _, message_id = to_text(text).partition(" ")
    return Mark(chat=ChatId(to_text(chat)), message_id=message_id, at=int(at)) if at.isdecimal() else None


def _seconds(answer: object, otherwise: float) -> float:
    try:
        return float(cast("bytes", answer))
    except (TypeError, ValueError):
        return otherwise


def _facts(handover: HandOver) -> tuple[bytes, ...]:
    return (
        to_bytes(handover.integration_id),
        to_bytes(handover.chat),
        to_bytes(handover.identity.session),
        to_bytes(_message_id(handover)),
        handover.payload,
        b"1" if handover.marks_typing else b"0",
    )


def _message_id(handover: HandOver) -> str:
    try:
        return msgspec.json.decode(handover.payload, type=_Shown).message_id or handover.identity.stanza
    except msgspec.DecodeError:
        return handover.identity.stanza
