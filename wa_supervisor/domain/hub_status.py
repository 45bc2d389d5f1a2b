"""The same status in the words of a PlatformAI-HUB: the fields of `integration_status:{agent_id}:whatsapp`.

The hub has one status for an agent's WhatsApp, however many sessions the agent has: the best of them speaks. Fields are
strings; `pid` is the daemon's or absent, because the hub takes a status with a dead local pid for a lost process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.status import SessionStatus

_WORDS: Mapping[State, str] = MappingProxyType(
    {
        State.RUNNING: "running",
        State.DEGRADED: "running",
        State.AWAITING_LOGIN: "initializing",
        State.STARTING: "starting",
        State.PENDING: "starting",
        State.BACKOFF: "error",
        State.HELD: "error",
        State.QUARANTINED: "error",
        State.INVALID: "error",
        State.DRAINING: "stopping",
        State.PAUSED: "stopped",
        State.STOPPED: "stopped",
    }
)
_BEST_FIRST = tuple(_WORDS)


def hub_status(statuses: Sequence[SessionStatus]) -> dict[str, str]:
    """Give the hub's fields for the sessions of one agent; `statuses` must not be empty."""
    best = min(statuses, key=lambda status: (_BEST_FIRST.index(status.state), status.id))
    word = _WORDS[best.state]
    last_active = max(
        (at for s in statuses for at in (s.traffic.last_in_at, s.traffic.last_out_at) if at is not None),
        default=best.since,
    )
    fields = {
        "status": word,
        "last_active": repr(float(last_active)),
        "error_detail": f"{best.reason}: {best.message}" if word == "error" else "",
        "start_attempt_utc": _iso(_started_at(best)),
        "last_updated_utc": _iso(best.observed_at),
        "reason": best.reason,
    }
    return fields | {"pid": str(best.pid)} if best.pid else fields


def _started_at(status: SessionStatus) -> float:
    starts = [step.at for step in status.transitions if step.target is State.STARTING]
    return starts[-1] if starts else status.since


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
