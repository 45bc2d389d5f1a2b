"""Port `Receipts`: the streams `agent:{agent_id}:receipts`, and a hash for each sent message that acks may come for.

A message is remembered and told in one step, and an ack is told if it says more than the last one, so that repetitions
and several daemons that hear the same ack tell nothing twice.

An agent whose receipts have a key of a wrong type is not told, which is said once: whoever tells goes on until it
succeeded, and would tell no other agent.
"""

from __future__ import annotations

import logging
from typing import cast

import msgspec

from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.keys import Keys, agent_receipts, to_text
from wa_supervisor.adapters.redis.refusals import RefusalError
from wa_supervisor.adapters.redis.scripts import Script
from wa_supervisor.domain.names import GatewayName, StanzaId
from wa_supervisor.domain.receipts import Receipt, SentMessage, fate_of_ack

_log = logging.getLogger(__name__)


class RedisReceipts:
    """What becomes of replies, as the agents may read it."""

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._sent = Script(client, "sent")
        self._acked = Script(client, "acked")
        self._ttl = b"%d" % max(1, round(client.policy.sent_ttl))
        self._maxlen = b"%d" % client.policy.receipts_maxlen
        self._complained: set[bytes] = set()

    async def sent(self, message: SentMessage, receipt: Receipt, ack: int) -> None:
        """Remember a sent message and tell its agent. Raises `StoreUnavailableError`; it may then be repeated."""
        keys = (self._keys.sent(message.gateway, message.stanza), agent_receipts(receipt.agent_id))
        arguments = (msgspec.json.encode(receipt), b"%d" % ack, self._ttl, self._maxlen)
        self._complain(await self._sent.call(keys, arguments))

    async def acked(self, gateway: GatewayName, stanza: StanzaId, ack: int, at: float) -> bool:
        """Tell of an ack what is news. Raises `StoreUnavailableError`; it may then be repeated."""
        arguments = (b"%d" % ack, fate_of_ack(ack).value.encode(), b"%.3f" % at, self._maxlen)
        answer = await self._acked.call((self._keys.sent(gateway, stanza),), arguments)
        self._complain(answer)
        return bool(answer)

    async def receipt_of(self, gateway: GatewayName, stanza: StanzaId) -> Receipt | None:
        """Give what was told first of a remembered message. Raises `StoreUnavailableError`."""
        answer = await self._client.call(b"HGET", self._keys.sent(gateway, stanza), b"receipt")
        try:
            return None if answer is None else msgspec.json.decode(cast("bytes", answer), type=Receipt)
        except msgspec.DecodeError:  # somebody's writing
            return None

    async def tell(self, receipt: Receipt) -> None:
        """Tell something of a reply that was not sent. Raises `StoreUnavailableError`; repeating tells it twice."""
        stream, bound = agent_receipts(receipt.agent_id), (b"MAXLEN", b"~", self._maxlen, b"*")
        try:
            await self._client.call(b"XADD", stream, *bound, b"receipt", msgspec.json.encode(receipt))
        except RefusalError as error:
            if error.code != "WRONGTYPE":
                raise
            self._complain(stream)

    def _complain(self, answer: object) -> None:
        """Say once of a stream, if that is what was answered, that it is none."""
        if isinstance(answer, bytes) and answer not in self._complained:
            self._complained.add(answer)
            _log.warning("an agent's receipts have a key of a wrong type", extra={"key": to_text(answer)})
