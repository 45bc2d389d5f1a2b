"""The daemon in one line and in one value: for the service manager, for `status`, for readiness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.status import SessionStatus

_SHOWN = tuple(state for state in State if state is not State.RUNNING)


def by_state(statuses: Sequence[SessionStatus]) -> dict[str, int]:
    """Count integrations by state; states that none has are left out."""
    return dict(Counter(status.state.value for status in statuses))


def one_line(statuses: Sequence[SessionStatus]) -> str:
    """Give e.g. `498/500 running, 1 held (gateway main), 1 quarantined`."""
    counts = Counter(status.state for status in statuses)
    parts = [f"{counts[State.RUNNING]}/{len(statuses)} running"]
    for state in _SHOWN:
        if counts[state]:
            where = _gateways(statuses) if state is State.HELD else ""
            parts.append(f"{counts[state]} {state.value.replace('_', ' ')}{where}")
    return ", ".join(parts)


def _gateways(statuses: Sequence[SessionStatus]) -> str:
    names = sorted({str(status.gateway) for status in statuses if status.state is State.HELD})
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f" (gateway{'s' if len(names) > 1 else ''} {shown})"
