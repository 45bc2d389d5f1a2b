"""An observer that writes the log: transitions and troubles at info and above, single messages only at debug.

Within a second each kind of line (a state at a gateway, a place of trouble) is written a few times; what comes beyond
is counted and told in one line, `more sessions held count=412 gateway=main`: the journal drops lines beyond 10,000 in
30 seconds, whichever they are. There is no timer here: a count is told with the next observation after its second, or
on `flush`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from wa_supervisor.adapters.logs.delivery import DeliveryLines
from wa_supervisor.adapters.logs.kinds import Kind, shown_name
from wa_supervisor.adapters.logs.repeats import Repeats
from wa_supervisor.domain.errors import WaSupervisorError
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.observations import (
    Abandoned,
    CommandAnswered,
    DuplicateDropped,
    EventsDropped,
    EventUnattributed,
    GatewayAnswered,
    GatewayChanged,
    LeasesChanged,
    MessageHandedOver,
    MessageLeftOut,
    Observation,
    Reconciled,
    ReplyDead,
    ReplySent,
    SessionMoved,
    Trouble,
    WishGuarded,
)

_logger = logging.getLogger(__name__)

_LEVELS: Mapping[State, int] = {
    State.BACKOFF: logging.WARNING,
    State.DEGRADED: logging.WARNING,
    State.QUARANTINED: logging.ERROR,
    State.INVALID: logging.ERROR,
}

_GATEWAY_CHANGES: Mapping[str, tuple[int, str]] = {
    "gate_opened": (logging.INFO, "gateway's gate opened"),
    "gate_closed": (logging.WARNING, "gateway's gate closed; its sessions are held"),
    "feed_connected": (logging.INFO, "gateway's event connection stands"),
    "feed_lost": (logging.WARNING, "gateway's event connection lost"),
    "feed_let_go": (logging.WARNING, "gateway's event connection let go: too much waits for Redis"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPolicy:
    """How many lines are written."""

    lines: int = 10
    """Lines of one kind within `window`: enough to name the first sessions, and thirty kinds at once stay below the 333
    lines a second that the journal takes."""
    window: float = 1.0
    """Seconds that are looked at together: short enough that a summary is still news."""
    quiet: float = 60.0
    """Seconds before the same trouble, tried again and failed again, is told again, with how often: a store that is
    away for a night is told every minute, not at every try."""


class LogObserver:
    """Writes what it observes. `monotonic` gives seconds of any steady clock."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float],
        policy: LogPolicy | None = None,
        logger: logging.Logger = _logger,
    ) -> None:
        self._monotonic = monotonic
        self._policy = policy or LogPolicy()
        self._logger = logger
        self._window_began = monotonic()
        self._written: dict[Kind, int] = {}
        self._repeats = Repeats(monotonic, self._policy.quiet)
        self._round_error: str | None = None
        self._guarded: WishGuarded | None = None
        self._leases = LeasesChanged(held=0, elsewhere=0)
        self._delivery = DeliveryLines(self._write, self._repeats)
        self._writers = self._all_writers()

    def observe(self, observation: Observation) -> None:
        """Write what is worth a line. Never raises."""
        try:
            if self._monotonic() - self._window_began >= self._policy.window:
                self.flush()
            self._writers[type(observation)](observation)
        except Exception:  # the border between the engine and its observers; the engine must go on
            self._logger.exception("observation could not be logged", extra={"kind": type(observation).__name__})

    def _all_writers(self) -> Mapping[type, Callable[[Any], None]]:
        return {
            SessionMoved: self._moved,
            GatewayChanged: self._gateway_changed,
            ReplyDead: self._died,
            Reconciled: self._reconciled,
            Trouble: self._trouble,
            Abandoned: self._abandoned,
            CommandAnswered: self._command_answered,
            WishGuarded: self._wish_guarded,
            EventsDropped: self._events_dropped,
            LeasesChanged: self._leases_changed,
            MessageHandedOver: self._handed_over,
            ReplySent: self._sent,
            DuplicateDropped: self._duplicate,
            MessageLeftOut: self._left_out,
            EventUnattributed: self._unattributed,
            GatewayAnswered: self._answered,
            **self._delivery.writers(),
        }

    def flush(self) -> None:
        """Tell what was counted instead of written. Call it before the process ends."""
        written, self._written = self._written, {}
        self._window_began = self._monotonic()
        for kind, count in written.items():
            if (more := count - self._policy.lines) > 0:
                extra = {"count": more, "gateway": kind.gateway, "where": kind.where}
                self._logger.log(kind.level, kind.summary, extra=extra)
        self._delivery.flush()

    def _write(
        self, kind: Kind, message: str, fields: Mapping[str, object], error: BaseException | None = None
    ) -> None:
        count = self._written[kind] = self._written.get(kind, 0) + 1
        if count <= self._policy.lines:
            self._logger.log(kind.level, message, extra=dict(fields), exc_info=error)

    def _moved(self, observed: SessionMoved) -> None:
        step = observed.transition
        kind = Kind(
            level=_LEVELS.get(step.target, logging.INFO),
            summary=f"more sessions {step.target.value}",
            gateway=observed.gateway,
        )
        fields = {
            "integration": shown_name(observed.integration),
            "session": shown_name(observed.session),
            "gateway": observed.gateway,
            "was": step.source.value,
            "lasted": step.lasted,
            "reason": step.reason,
            "why": step.message,
            "attempt": step.attempt or None,
        }
        self._write(kind, f"session {step.target.value}", fields)

    def _gateway_changed(self, observed: GatewayChanged) -> None:
        level, message = _GATEWAY_CHANGES[observed.what]
        kind = Kind(level=level, summary=f"more of: {message}", gateway=observed.gateway)
        self._write(kind, message, {"gateway": observed.gateway, "why": observed.message or None})

    def _died(self, observed: ReplyDead) -> None:
        kind = Kind(level=logging.WARNING, summary="more replies became dead letters", gateway=observed.gateway)
        fields = {
            "agent": shown_name(observed.agent),
            "integration": shown_name(observed.integration),
            "gateway": observed.gateway,
            "reason": observed.reason,
            "may_have_been_sent": observed.is_unknown,
        }
        self._write(kind, "reply became a dead letter", fields)

    def _reconciled(self, observed: Reconciled) -> None:
        """Tell rounds that changed something, and where failing begins, changes its reason and ends."""
        fields = {
            "wanted": observed.wanted,
            "invalid": observed.invalid,
            "changed": observed.changed,
            "seconds": observed.seconds,
        }
        before, self._round_error = self._round_error, observed.error
        if observed.error is not None:
            kind = Kind(level=logging.WARNING, summary="more rounds failed")
            if observed.error != before:
                self._write(kind, "wish could not be read; what runs goes on", {"why": observed.error})
        elif before is not None or observed.changed:
            message = "wish followed again" if before is not None else "wish followed"
            self._write(Kind(level=logging.INFO, summary="more rounds changed something"), message, fields)

    def _trouble(self, observed: Trouble) -> None:
        is_expected = observed.error is None or _is_expected(observed.error)
        times: int | None = 1
        if observed.error is not None and is_expected:
            times = self._repeats.to_tell(_same(observed))
        if times is None:
            return
        kind = Kind(
            level=logging.WARNING if is_expected else logging.ERROR,
            summary="more troubles",
            gateway=observed.gateway,
            where=observed.where,
        )
        fields = {
            "where": observed.where,
            "why": observed.message,
            "error_type": type(observed.error).__name__ if observed.error is not None else None,
            "times": times if times > 1 else None,
            "integration": shown_name(observed.integration),
            "gateway": observed.gateway,
        }
        self._write(kind, "trouble", fields, None if is_expected else observed.error)

    def _abandoned(self, observed: Abandoned) -> None:
        kind = Kind(level=logging.ERROR, summary="more integrations with abandoned work")
        fields = {"integration": shown_name(observed.integration), "what": observed.what, "count": observed.count}
        self._write(kind, "work abandoned at the deadline", fields)

    def _command_answered(self, observed: CommandAnswered) -> None:
        result = "accepted" if observed.is_accepted else "refused"
        level = logging.INFO if observed.is_accepted else logging.WARNING
        kind = Kind(level=level, summary=f"more commands {result}", where=observed.verb[:40])
        fields = {
            "verb": observed.verb[:40],
            "integration": shown_name(observed.integration),
            "by": observed.by or None,
            "why": observed.message,
        }
        self._write(kind, f"command {result}", fields)

    def _wish_guarded(self, observed: WishGuarded) -> None:
        """Tell when a wish begins to be held back, when how much changes, and when it is followed whole again."""
        before, self._guarded = self._guarded, observed
        is_new = (before.held_back if before else 0) != observed.held_back
        level, message = (
            (logging.WARNING, "wish lost much at once and is not followed whole")
            if observed.held_back
            else (logging.INFO, "wish is followed whole again")
        )
        if is_new:
            fields = {"stops": observed.stops_wanted, "held_back": observed.held_back, "why": observed.message or None}
            self._write(Kind(level=level, summary=f"more of: {message}"), message, fields)

    def _events_dropped(self, observed: EventsDropped) -> None:
        kind = Kind(level=logging.WARNING, summary="more events dropped")
        self._write(kind, "events dropped: Redis did not take them in time", {"count": observed.count})

    def _leases_changed(self, observed: LeasesChanged) -> None:
        before, self._leases = self._leases, observed
        if observed != before:
            kind = Kind(level=logging.INFO, summary="more changes of leases")
            self._write(kind, "leases changed", {"held": observed.held, "elsewhere": observed.elsewhere})

    def _handed_over(self, observed: MessageHandedOver) -> None:
        fields = {"listeners": observed.listeners, "latency": observed.latency}
        self._debug("message handed over", observed, fields)

    def _sent(self, observed: ReplySent) -> None:
        self._debug("reply sent", observed, {"latency": observed.latency, "attempts": observed.attempts})

    def _duplicate(self, observed: DuplicateDropped) -> None:
        self._debug("duplicate dropped", observed, {})

    def _left_out(self, observed: MessageLeftOut) -> None:
        self._debug("payload left out", observed, {"reason": observed.reason, "detail": observed.detail or None})

    def _unattributed(self, observed: EventUnattributed) -> None:
        extra = {"gateway": observed.gateway, "event": observed.event}
        self._logger.debug("event of nobody", extra=extra)

    def _answered(self, observed: GatewayAnswered) -> None:
        """Say nothing, a hundred times a second: it is a number for the metrics."""

    def _debug(
        self,
        message: str,
        observed: MessageHandedOver | ReplySent | DuplicateDropped | MessageLeftOut,
        fields: Mapping[str, object],
    ) -> None:
        if self._logger.isEnabledFor(logging.DEBUG):
            extra = {"integration": shown_name(observed.integration), "gateway": observed.gateway, **fields}
            self._logger.debug(message, extra=extra)


def _same(observed: Trouble) -> Hashable:
    """Give what tells one trouble from another: its words change with each try."""
    return observed.where, observed.integration, observed.gateway, type(observed.error)


def _is_expected(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_expected(inner) for inner in error.exceptions)
    return isinstance(error, WaSupervisorError)
