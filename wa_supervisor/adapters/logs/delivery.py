"""Lines about what was missed and made up for: catching up, agents that are away, sends that could not be settled.

What the engine tells for each message becomes a line for each change: an agent goes away and comes back, a full stream
is told once in a while with how much it has cost.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from wa_supervisor.adapters.logs.kinds import Kind, Write, shown_name
from wa_supervisor.adapters.logs.repeats import Repeats
from wa_supervisor.domain.names import AgentId
from wa_supervisor.domain.observations import (
    AckTold,
    AgentWaiting,
    CaughtUp,
    FellBehind,
    MessagesDropped,
    OutcomeSettled,
)

_OF_THE_SESSION = frozenset({"overflow", "failure"})
"""Causes that no other line tells: connections that come and go, and Redis, have their own."""


class DeliveryLines:
    """Writes them. `repeats` remembers what was told just now."""

    def __init__(self, write: Write, repeats: Repeats) -> None:
        self._write = write
        self._repeats = repeats
        self._untold: Counter[tuple[AgentId, str]] = Counter()
        self._away: dict[AgentId, int] = {}
        """Agents for whom messages wait, and how many were published since they began to."""

    def writers(self) -> Mapping[type, Callable[[Any], None]]:
        """Say what is done with which observation."""
        return {
            CaughtUp: self._caught_up,
            FellBehind: self._fell_behind,
            MessagesDropped: self._dropped,
            AgentWaiting: self._waiting,
            OutcomeSettled: self._settled,
            AckTold: self._ack_told,
        }

    def flush(self) -> None:
        """Tell what was lost since it was last told, where that is a while ago."""
        for which in tuple(self._untold):
            self._tell_dropped(which)

    def _caught_up(self, observed: CaughtUp) -> None:
        fields = {
            "integration": shown_name(observed.integration),
            "gateway": observed.gateway,
            "cause": observed.cause,
            "recovered": observed.recovered,
            "too_old": observed.too_old or None,
            "chats": observed.chats,
            "seconds": observed.seconds,
        }
        level, message, summary = logging.DEBUG, "nothing was missed", "more sessions missed nothing"
        if observed.too_old:
            level = logging.WARNING
            message, summary = "missed messages are too old and left out", "more sessions missed messages for too long"
        elif observed.recovered:
            level = logging.INFO
            message, summary = "missed messages were fetched", "more sessions had missed messages"
        self._write(Kind(level=level, summary=summary, gateway=observed.gateway), message, fields)

    def _fell_behind(self, observed: FellBehind) -> None:
        level = logging.WARNING if observed.cause in _OF_THE_SESSION else logging.DEBUG
        kind = Kind(level=level, summary="more sessions may miss messages", gateway=observed.gateway)
        fields = {
            "integration": shown_name(observed.integration),
            "gateway": observed.gateway,
            "cause": observed.cause,
        }
        self._write(kind, "session may miss messages until it has caught up", fields)

    def _dropped(self, observed: MessagesDropped) -> None:
        which = (observed.agent, observed.reason)
        self._untold[which] += observed.count
        self._tell_dropped(which)

    def _tell_dropped(self, which: tuple[AgentId, str]) -> None:
        if self._repeats.to_tell(("dropped", *which)) is not None:
            agent, reason = which
            kind = Kind(level=logging.WARNING, summary="more agents lost messages")
            fields = {"agent": shown_name(agent), "count": self._untold.pop(which), "reason": reason}
            self._write(kind, "messages to an agent will not be published any more", fields)

    def _waiting(self, observed: AgentWaiting) -> None:
        agent, published = observed.agent, self._away.pop(observed.agent, None)
        if observed.waiting:
            self._away[agent] = (published or 0) + observed.published
            if published is None:
                kind = Kind(level=logging.INFO, summary="more agents do not listen")
                fields = {"agent": shown_name(agent), "waiting": observed.waiting}
                self._write(kind, "messages wait for an agent that does not listen", fields)
        elif published is not None:
            kind = Kind(level=logging.INFO, summary="more agents listen again")
            fields = {"agent": shown_name(agent), "published": published + observed.published}
            self._write(kind, "nothing waits for the agent any more", fields)

    def _settled(self, observed: OutcomeSettled) -> None:
        is_unknown = observed.found == "unknown"
        level = logging.WARNING if is_unknown else logging.DEBUG
        message = "it could not be found out whether a reply was sent" if is_unknown else "outcome of a send found out"
        fields = {
            "integration": shown_name(observed.integration),
            "gateway": observed.gateway,
            "found": observed.found,
            "by": observed.by,
            "seconds": observed.seconds,
        }
        summary = "more replies may have been sent" if is_unknown else "more outcomes found out"
        self._write(Kind(level=level, summary=summary, gateway=observed.gateway), message, fields)

    def _ack_told(self, observed: AckTold) -> None:
        """Say nothing, several times for each reply: it is a number for the metrics."""
