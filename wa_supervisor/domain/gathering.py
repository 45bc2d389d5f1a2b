"""Gathering: what the engine tells for each message, made fit for a history that people read and that is bounded.

A full stream or a gateway that refuses everything would fill the history with one and the same event. So the first of
its kind is told at once, and what follows within a while is told together, once, at the end of that while. An agent
that is away is told when that begins and when it ends.

Pure but for what it remembers; the time is handed in, and nothing here waits.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from wa_supervisor.domain.names import AgentId
from wa_supervisor.domain.observations import (
    AgentWaiting,
    MessagesDropped,
    Observation,
    OutcomeSettled,
    ReplyDead,
)

QUIET = 60.0
"""Seconds after which the same may be told again: a minute is what one looks for in a history."""


class _Gathered:
    __slots__ = ("last", "more", "until")

    def __init__(self, last: Observation, until: float) -> None:
        self.last = last
        self.until = until
        """When the rest is told."""
        self.more = 0


class Gathering:
    """What is to be told, and of how much it stands for."""

    def __init__(self, quiet: float = QUIET) -> None:
        self._quiet = quiet
        self._gathered: dict[Hashable, _Gathered] = {}
        self._away: set[AgentId] = set()

    def take(self, observation: Observation, now: float) -> int:
        """Give for how many of its kind `observation` is to be told now; 0: not now, or not at all.

        `now` is in seconds of any steady clock.
        """
        if isinstance(observation, AgentWaiting):
            return int(self._has_changed(observation))
        kind = _kind_of(observation)
        if kind is None:
            return 1
        known = self._gathered.get(kind)
        if known is None:
            self._gathered[kind] = _Gathered(last=observation, until=now + self._quiet)
            return _amount_of(observation)
        known.last = observation
        known.more += _amount_of(observation)
        return 0

    @property
    def due_at(self) -> float:
        """When `due` next has something to do; infinite if nothing was told lately."""
        return min((each.until for each in self._gathered.values()), default=float("inf"))

    def due(self, now: float) -> Iterator[tuple[Observation, int]]:
        """Give what was gathered and is to be told now, with how many it stands for; `now` infinite: everything."""
        for kind, each in list(self._gathered.items()):
            if each.until > now:
                continue
            if each.more:
                yield each.last, each.more
                each.more, each.until = 0, now + self._quiet
            else:
                del self._gathered[kind]

    def _has_changed(self, observed: AgentWaiting) -> bool:
        was_away, is_away = observed.agent in self._away, observed.waiting > 0
        (self._away.add if is_away else self._away.discard)(observed.agent)
        return was_away is not is_away


def _kind_of(observation: Observation) -> Hashable | None:
    match observation:
        case MessagesDropped(agent=agent, reason=reason):
            return MessagesDropped, agent, reason
        case ReplyDead(agent=agent, integration=integration, reason=reason, is_unknown=is_unknown):
            return ReplyDead, agent, integration, reason, is_unknown
        case OutcomeSettled(integration=integration, found="unknown"):
            return OutcomeSettled, integration
    return None


def _amount_of(observation: Observation) -> int:
    return observation.count if isinstance(observation, MessagesDropped) else 1
