"""What is known of one integration while the daemon runs: its state, its history, its traffic.

The only place where a session's state changes. Every step goes through the table of `wa_supervisor.domain.lifecycle`,
is told to the observer, and is kept among the last 20.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from wa_supervisor.domain.integration import Integration, InvalidIntegration
from wa_supervisor.domain.lifecycle import Cause, State, is_serving, next_state
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.observations import Observer, SessionMoved
from wa_supervisor.domain.status import CommandResult, SessionStatus, Traffic, Transition
from wa_supervisor.engine.switch import Switch

HISTORY = 20
"""Transitions that are remembered for `describe`."""


@dataclass(slots=True)
class Counters:
    """Traffic of one session since its daemon started; see `Traffic`."""

    messages_in: int = 0
    duplicates: int = 0
    left_out: int = 0
    messages_out: int = 0
    failed_out: int = 0
    last_in_at: float | None = None
    last_out_at: float | None = None

    def freeze(self) -> Traffic:
        """Give the counts as a value."""
        return Traffic(**{name: getattr(self, name) for name in self.__slots__})


class Record:
    """The state of one integration, and how it came there."""

    def __init__(
        self,
        wanted: Integration | InvalidIntegration,
        *,
        wall: Callable[[], float],
        observe: Observer,
        changed: Callable[[IntegrationId], None],
    ) -> None:
        self.wanted = wanted
        self.traffic = Counters()
        self.serving = Switch()
        """On while replies may be sent."""
        self.restarts = 0
        self.attempt = 0
        self._wall = wall
        self._observe = observe
        self._changed = changed
        self._state = State.PENDING
        self._reason, self._message = "New", "seen for the first time"
        self._since = wall()
        self._entered = anyio.current_time()
        self._next_attempt_at: float | None = None
        self._last_command: CommandResult | None = None
        self._transitions: deque[Transition] = deque(maxlen=HISTORY)
        changed(wanted.id)

    def __repr__(self) -> str:
        return f"<Record {self.wanted.id} {self._state.value} {self._reason}>"

    @property
    def state(self) -> State:
        """Where its life stands."""
        return self._state

    @property
    def now(self) -> float:
        """The wall clock: seconds since the epoch."""
        return self._wall()

    def move(self, cause: Cause, reason: str, message: str, *, next_in: float | None = None) -> None:
        """Take the step that `cause` means; `next_in` seconds is when something will be tried next, if that is known.

        A step that changes neither state nor reason only renews the message.
        """
        source, target = self._state, next_state(self._state, cause)
        now = self._wall()
        self._next_attempt_at = None if next_in is None else now + next_in
        is_new = source is not target or reason != self._reason
        self._message = message
        self._changed(self.wanted.id)
        if is_new:
            self._enter(source, target, cause, reason, now)

    def command_done(self, result: CommandResult) -> None:
        """Remember what became of the operator's last command."""
        self._last_command = result
        self._changed(self.wanted.id)

    def touched(self) -> None:
        """Say that the traffic changed."""
        self._changed(self.wanted.id)

    def status(self) -> SessionStatus:
        """Give everything that is told, without what the daemon adds (its name, the ttl)."""
        wanted = self.wanted
        known = wanted if isinstance(wanted, Integration) else None
        return SessionStatus(
            id=wanted.id,
            agent_id=wanted.agent_id,
            session=known.session if known else None,
            gateway=known.gateway if known else None,
            state=self._state,
            reason=self._reason,
            message=self._message,
            since=self._since,
            next_attempt_at=self._next_attempt_at,
            attempt=self.attempt,
            restarts=self.restarts,
            traffic=self.traffic.freeze(),
            observed_generation=wanted.revision,
            observed_at=self._wall(),
            last_command=self._last_command,
            transitions=tuple(self._transitions),
        )

    def _enter(self, source: State, target: State, cause: Cause, reason: str, now: float) -> None:
        lasted = anyio.current_time() - self._entered
        if source is not target:
            self._since, self._entered = now, anyio.current_time()
        self._state, self._reason = target, reason
        if target is not State.DRAINING:  # what waits may still go out while draining
            self.serving.turn(on=is_serving(target))
        step = Transition(
            at=now,
            source=source,
            target=target,
            cause=cause.value,
            reason=reason,
            message=self._message,
            attempt=self.attempt,
            lasted=lasted,
        )
        self._transitions.append(step)
        known = self.wanted if isinstance(self.wanted, Integration) else None
        self._observe(
            SessionMoved(
                integration=self.wanted.id,
                session=known.session if known else None,
                gateway=known.gateway if known else None,
                transition=step,
            )
        )
