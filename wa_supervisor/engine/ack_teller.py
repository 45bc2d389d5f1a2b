"""Acks on their way to the agents: each ack for a message that somebody's reply became is told on the agent's receipts.

One for each gateway, because an ack names no session and comes to every daemon that listens. The store knows whose
message it is, and tells nothing twice. While it is away the newest acks are kept, one for each message, up to a bound;
they are for information, so the oldest may go.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import anyio

from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.gateway_events import AckSeen
from wa_supervisor.domain.names import GatewayName, StanzaId
from wa_supervisor.domain.observations import AckTold, Observer, Trouble
from wa_supervisor.domain.receipts import fate_of_ack
from wa_supervisor.engine.ports import Receipts
from wa_supervisor.engine.retrying import patient
from wa_supervisor.engine.switch import Bell

MOST_WAITING = 4096
"""Acks of one gateway that wait for Redis: minutes of a busy one."""

AT_ONCE = 16
"""Acks that are told at the same time: the store takes what has gathered in one go."""

RETRY_INITIAL, RETRY_LONGEST = 0.5, 5.0
"""Seconds: upper bound of the first delay before the store is tried again, and the cap of that delay."""


class AckTeller:
    """Tells the acks of one gateway."""

    def __init__(
        self, gateway: GatewayName, receipts: Receipts, *, wall: Callable[[], float], observe: Observer
    ) -> None:
        self._gateway = gateway
        self._receipts = receipts
        self._wall = wall
        self._observe = observe
        self._waiting: OrderedDict[StanzaId, int] = OrderedDict()
        self._bell = Bell()

    def __repr__(self) -> str:
        return f"<AckTeller {self._gateway}, {len(self._waiting)} wait>"

    def take(self, seen: AckSeen) -> None:
        """Take an ack for a message that was sent."""
        known = self._waiting.pop(seen.stanza, 0)
        self._waiting[seen.stanza] = max(known, seen.ack) if known and seen.ack > 0 else seen.ack or known
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popitem(last=False)
        self._bell.ring()

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await self._bell.wait()
            while self._waiting:
                batch = [self._waiting.popitem(last=False) for _ in range(min(AT_ONCE, len(self._waiting)))]
                async with anyio.create_task_group() as tasks:
                    for stanza, ack in batch:
                        tasks.start_soon(self._tell, stanza, ack)

    async def _tell(self, stanza: StanzaId, ack: int) -> None:
        async for attempt in patient(RETRY_INITIAL, RETRY_LONGEST, tell=self._failed):
            with attempt:
                if await self._receipts.acked(self._gateway, stanza, ack, self._wall()):
                    self._observe(AckTold(gateway=self._gateway, fate=fate_of_ack(ack)))

    def _failed(self, error: BaseException, delay: float, attempt: int) -> None:
        if attempt == 1 and not isinstance(error, StoreUnavailableError):
            message = f"an ack was not told, next try in {delay:.1f} s"
            self._observe(Trouble(where="receipts", message=message, error=error, gateway=self._gateway))
