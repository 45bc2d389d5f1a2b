"""What all sessions of a simulated gateway share: time, ids, events, the ledger and who exists.

It lives as long as the gateway object. The feed and the moment of boot belong to one life of the server process and are
replaced at every restart (`generation` counts them, so that a timer set in an earlier life does nothing).
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, Protocol

from wa_supervisor.simulator.bell import Bell
from wa_supervisor.simulator.ledger import Ledger
from wa_supervisor.simulator.timers import Line
from wa_supervisor.simulator.timings import Manners, Timings

NumberFate = Literal["missing", "denied"]
"""`missing`: no such number, what is sent to it reaches nobody. `denied`: it exists, but the gateway says it does not
(a network error in its look-up ends in the same answer)."""


class Emitter(Protocol):
    """Where events go."""

    def emit(self, event: str, payload: object) -> bool:
        """Send to whoever is connected; whether anybody was."""
        ...


class Nowhere:
    """The feed of a gateway that is down."""

    def emit(self, event: str, payload: object) -> bool:  # noqa: ARG002 - nobody is there
        """Lose it."""
        return False


def _wall_clock() -> float:
    return datetime.now(UTC).timestamp()


class World:
    """Shared by the sessions of one gateway; plain memory, no waiting."""

    def __init__(self, *, timings: Timings, manners: Manners, wall_clock: Callable[[], float] = _wall_clock) -> None:
        self.timings = timings
        self.manners = manners
        self.bell = Bell()
        self.ledger = Ledger(limit=manners.ledger_limit, bell=self.bell)
        self.feed: Emitter = Nowhere()
        self.generation = 0
        self.booted_at = time.monotonic()
        self.wall_clock = wall_clock
        self.numbers: dict[str, NumberFate] = {}
        """Digits -> what is wrong with the number; every other number exists."""
        self.phones: dict[str, str] = {}
        """Lid -> phone number id, where WhatsApp knows it."""
        self.names: dict[str, str] = {}
        """Id -> what the person calls himself."""
        self.listed_as: dict[str, str] = {}
        """Chats that HTTP answers name otherwise than events do: id in events -> id in answers."""
        self.leaking_proxy: object = None
        """The last `proxy` given to any session; later sessions without one get it too."""
        self.acks = (
            (1, Line(timings.ack_sent)),
            (2, Line(timings.ack_delivered)),
            (3, Line(timings.ack_read)),
        )
        """The acks that follow a send, each with the line in which it waits."""
        self._mute_until: dict[str | None, float] = {}
        self._to_lose: Counter[str | None] = Counter()
        self._seq = itertools.count(1)
        self._prefix = f"3EB0{secrets.token_hex(4).upper()}"

    def mute(self, session: str | None, seconds: float) -> None:
        """Emit no messages and no acks of this session, or of any, for so long from now."""
        self._mute_until[session] = time.monotonic() + seconds

    def is_mute(self, session: str) -> bool:
        """Whether messages of this session are not emitted now."""
        now = time.monotonic()
        return any(self._mute_until.get(each, 0.0) > now for each in (session, None))

    def lose(self, session: str | None, times: int) -> None:
        """Emit none of the next `times` messages of this session, or of any; their acks are emitted."""
        self._to_lose[session] = times

    def loses(self, session: str) -> bool:
        """Whether this message of the session is not emitted; counts it."""
        if self.is_mute(session):
            return True
        for each in (session, None):
            if self._to_lose[each] > 0:
                self._to_lose[each] -= 1
                return True
        return False

    def next_seq(self) -> int:
        """A number above all before it."""
        return next(self._seq)

    def stanza(self, seq: int) -> str:
        """A message id of WhatsApp's looks, unique in this gateway and unlike any other gateway's."""
        return f"{self._prefix}{seq:08X}"

    def later(
        self, delay: float, act: Callable[[], None], *, outlives_server: bool = False
    ) -> asyncio.TimerHandle | None:
        """Call `act` after `delay` seconds unless the server process has died by then; now if there is no delay."""
        if delay <= 0:
            act()
            return None
        born = self.generation

        def fire() -> None:
            if outlives_server or self.generation == born:
                act()

        return asyncio.get_running_loop().call_later(delay, fire)
