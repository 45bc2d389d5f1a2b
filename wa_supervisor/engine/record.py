"""What is known of one integration while the daemon runs: its state, its history, its traffic.

The only place where a session's state changes. Every step goes through the table of `wa_supervisor.domain.lifecycle`,
is told to the observer, and is kept among the last 20. It also is the only place that knows what keeps the session from
running: each blocker has a name, whoever set it takes it back, and the session runs when none is left. What it does not
do: carry that out; the keeper and the session's life look here.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

import anyio

from wa_supervisor.domain.budget import Budget
from wa_supervisor.domain.decisions import GivenUp
from wa_supervisor.domain.integration import Integration, InvalidIntegration
from wa_supervisor.domain.lifecycle import Cause, State, is_serving, next_state
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.observations import Observer, SessionMoved
from wa_supervisor.domain.status import Blocker, CommandResult, SessionStatus, Traffic, Transition
from wa_supervisor.engine.switch import Switch

HISTORY = 20
"""Transitions that are remembered for `describe`."""


@dataclass(slots=True)
class Counters:
    """Traffic of one session since its daemon started; see `Traffic`."""

    messages_in: int = 0
    duplicates: int = 0
    left_out: int = 0
    recovered: int = 0
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
        self.serving_since = -math.inf
        """Since when it is on, by the engine's clock."""
        self.restarts = 0
        self.attempt = 0
        self.budget: Budget | None = None
        """The session's restart budget, once it has one; it outlives whoever charges it."""
        self.given_up: GivenUp | None = None
        """Why it is quarantined, as long as it is."""
        self.fence: int | None = None
        """Number of the lease under which it runs."""
        self._is_closed = False
        self._blockers: dict[str, Blocker] = {}
        self._notice = ""
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
    def reason(self) -> str:
        """Why it stands there, in a word."""
        return self._reason

    @property
    def message(self) -> str:
        """Why it stands there, in a sentence."""
        return self._message

    @property
    def now(self) -> float:
        """The wall clock: seconds since the epoch."""
        return self._wall()

    def move(self, cause: Cause, reason: str, message: str, *, next_in: float | None = None) -> None:
        """Take the step that `cause` means; `next_in` seconds is when something will be tried next, if that is known.

        A step that changes neither state nor reason only renews the message.
        """
        if self._is_closed:
            return
        source, target = self._state, next_state(self._state, cause)
        now = self._wall()
        self._next_attempt_at = None if next_in is None else now + next_in
        is_new = source is not target or reason != self._reason
        self._message = message
        self._changed(self.wanted.id)
        if is_new:
            self._enter(source, target, cause, reason, now)

    @property
    def blockers(self) -> tuple[Blocker, ...]:
        """What keeps the session from running, oldest first."""
        return tuple(self._blockers.values())

    def block(self, name: str, message: str, until: float | None = None) -> None:
        """Say that `name` keeps the session from running; `until` (epoch) is when that ends by itself, if known.

        One that is there already keeps its beginning and takes the new message and end.
        """
        if self._is_closed:
            return
        known = self._blockers.get(name)
        since = self._wall() if known is None else known.since
        new = Blocker(name=name, since=since, message=message, until=until)
        if new != known:
            self._blockers[name] = new
            self._changed(self.wanted.id)

    def unblock(self, name: str) -> None:
        """Say that `name` keeps the session no longer; nothing happens if it did not."""
        if self._blockers.pop(name, None) is not None:
            self._changed(self.wanted.id)

    def notice(self, text: str) -> None:
        """Add `text` to whatever message the status has, until it is replaced; an empty one takes it away."""
        if text != self._notice:
            self._notice = text
            self._changed(self.wanted.id)

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
            message="; ".join(filter(None, (self._message, self._notice))),
            since=self._since,
            next_attempt_at=self._next_attempt_at,
            attempt=self.attempt,
            restarts=self.restarts,
            failures=self.budget.score(anyio.current_time()) if self.budget else 0.0,
            blockers=self.blockers,
            fence=self.fence,
            traffic=self.traffic.freeze(),
            observed_generation=wanted.revision,
            observed_at=self._wall(),
            last_command=self._last_command,
            transitions=tuple(self._transitions),
        )

    def hand_on(self) -> Record:
        """Give the record that goes on from here, and let this one be closed: what is written into it is lost.

        For an incarnation that was abandoned and may still write: it sees that nothing can be sent any more.
        """
        new = copy(self)
        new.serving = Switch()
        new._blockers = {}  # noqa: SLF001  # of the same kind
        new._transitions = self._transitions.copy()  # noqa: SLF001  # of the same kind
        self._is_closed = True
        self.serving.turn(on=False)
        return new

    def _enter(self, source: State, target: State, cause: Cause, reason: str, now: float) -> None:
        lasted = anyio.current_time() - self._entered
        if source is not target:
            self._since, self._entered = now, anyio.current_time()
        self._state, self._reason = target, reason
        if target is not State.QUARANTINED:
            self.given_up = None
        if target is not State.DRAINING:  # what waits may still go out while draining
            if is_serving(target) and not self.serving.is_on:
                self.serving_since = anyio.current_time()
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
