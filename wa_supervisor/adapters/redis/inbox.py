"""Port `AgentInbox`: messages go to an agent by one script, so that seen-check and hand-over are one step.

Nothing is remembered in the process: two daemons that get the same message at the same time hand it over once, and a
daemon that repeats after a lost answer learns that it had been handed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from wa_supervisor.adapters.redis import keys as names
from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.keys import Keys, to_bytes, to_text
from wa_supervisor.adapters.redis.scripts import Script
from wa_supervisor.domain.names import AgentId, ChatId, IntegrationId
from wa_supervisor.engine.ports import HandedOver, HandOver, SeenBefore


class _Shown(msgspec.Struct):
    """The part of a payload that a reader of the stream may want without decoding the rest."""

    message_id: str = ""


class RedisAgentInbox:
    """The agents' input streams and channels."""

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._hand_over = Script(client, "hand_over")
        policy = client.policy
        numbers = (policy.seen_ttl, policy.owner_ttl, policy.typing_ttl, policy.stream_maxlen)
        self._limits = tuple(b"%d" % max(1, round(number)) for number in numbers)

    async def hand_over(self, handover: HandOver) -> HandedOver | SeenBefore:
        """Hand one message over. Raises `StoreUnavailableError`; it may then be repeated."""
        stream = names.agent_input(handover.agent_id)
        seen = self._keys.seen(handover.identity.key)
        owner = self._keys.owner(handover.agent_id, handover.chat)
        typing = self._keys.typing(handover.integration_id)
        answer = await self._hand_over.call((stream, seen, owner, typing), (*_facts(handover), *self._limits))
        if answer is None:
            return SeenBefore()
        entry, listeners = cast("tuple[bytes, int]", answer)
        return HandedOver(entry=to_text(entry), listeners=listeners)

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
