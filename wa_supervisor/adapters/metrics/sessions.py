"""Series about sessions, written from the live snapshot at every scrape.

Nothing is remembered between scrapes, so a session that is gone has no series. The text is written here and not by
prometheus_client, which needs a second for ten thousand sessions; it comes in small pieces so that whoever sends it
can let the event loop run in between. A test holds it to the official parser. No histogram has a session in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from wa_supervisor.adapters.metrics.labels import Names, escaped
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import GatewayName, IntegrationId
from wa_supervisor.domain.status import SessionStatus

PerSession = Literal["full", "state", "off"]
"""How much is shown of each session: everything, its state, nothing."""

PIECE = 64
"""Sessions in one piece of text: writing a line for each takes some 50 microseconds."""

CONNECTED = frozenset({State.RUNNING, State.DEGRADED})
"""States in which messages arrive."""

_T = TypeVar("_T")
_Row = tuple[str, SessionStatus]
"""The labels that all series of a session share, and what is told of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """All series of one name."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    line: Callable[[_Row], str]
    """Every line for one session; empty where there is nothing to tell."""

    def pieces(self, rows: Sequence[_Row]) -> Iterator[bytes]:
        """Write the family, head first."""
        yield _head(self.name, self.kind, self.help)
        for part in _parts(rows):
            yield _bytes("".join(map(self.line, part)))


def _valued(
    name: str, kind: Literal["counter", "gauge"], text: str, value: Callable[[SessionStatus], float | None]
) -> Family:
    def line(row: _Row) -> str:
        found = value(row[1])
        return "" if found is None else f"{name}{{{row[0]}}} {found!r}\n"

    return Family(name=name, kind=kind, help=text, line=line)


_HERE = "\0"
_STATE_LINES: Mapping[State, str] = {
    current: "".join(f'wa_session_state{{{_HERE},state="{state.value}"}} {int(state is current)}\n' for state in State)
    for current in State
}

_STATE = Family(
    name="wa_session_state",
    kind="gauge",
    help="1 for the state that the session is in, 0 for every other.",
    line=lambda row: _STATE_LINES[row[1].state].replace(_HERE, row[0]),
)

BLOCKERS = ("operator", "gate", "lease", "drain")
"""Names of what can keep a session from running; see `Blocker`."""


def _blocked(row: _Row) -> str:
    there = {blocker.name for blocker in row[1].blockers}
    names = (*BLOCKERS, *sorted(there.difference(BLOCKERS)))
    return "".join(f'wa_session_blocked{{{row[0]},blocker="{escaped(name)}"}} {int(name in there)}\n' for name in names)


_BLOCKED = Family(
    name="wa_session_blocked",
    kind="gauge",
    help="1 for each thing that keeps the session from running now.",
    line=_blocked,
)

_IN_FULL = (
    _BLOCKED,
    _valued(
        "wa_session_budget_used",
        "gauge",
        "Failures charged to the session's restart budget, each halved after every half-life.",
        lambda s: s.failures,
    ),
    _valued(
        "wa_session_restarts_total",
        "counter",
        "Restarts of the session since the daemon started.",
        lambda s: s.restarts,
    ),
    _valued(
        "wa_session_messages_in_total",
        "counter",
        "Messages of people that were handed over to the agent.",
        lambda s: s.traffic.messages_in,
    ),
    _valued(
        "wa_session_messages_recovered_total",
        "counter",
        "Of the messages that were handed over, those that were missed at first and fetched.",
        lambda s: s.traffic.recovered,
    ),
    _valued(
        "wa_session_messages_out_total",
        "counter",
        "Replies of the agent that the gateway took.",
        lambda s: s.traffic.messages_out,
    ),
    _valued(
        "wa_session_messages_failed_total",
        "counter",
        "Replies of the agent that became dead letters.",
        lambda s: s.traffic.failed_out,
    ),
    _valued(
        "wa_session_messages_duplicate_total",
        "counter",
        "Messages that had been handed over before and were dropped.",
        lambda s: s.traffic.duplicates,
    ),
    _valued(
        "wa_session_messages_left_out_total",
        "counter",
        "Messages that were not for the agent; wa_messages_left_out_total has the reasons.",
        lambda s: s.traffic.left_out,
    ),
    _valued(
        "wa_session_last_message_in_timestamp_seconds",
        "gauge",
        "When a message was last handed over to the agent; absent before the first.",
        lambda s: s.traffic.last_in_at,
    ),
    _valued(
        "wa_session_last_message_out_timestamp_seconds",
        "gauge",
        "When the gateway last took a reply; absent before the first.",
        lambda s: s.traffic.last_out_at,
    ),
    _valued(
        "wa_session_last_transition_timestamp_seconds",
        "gauge",
        "When the session came into its present state.",
        lambda s: s.since,
    ),
    _valued(
        "wa_session_next_attempt_timestamp_seconds",
        "gauge",
        "When the session is tried next; absent while no attempt is due.",
        lambda s: s.next_attempt_at,
    ),
)


class Sessions:
    """Writes what /metrics tells about sessions."""

    def __init__(
        self,
        *,
        per_session: PerSession,
        gateways: Iterable[GatewayName],
        names: Names,
        is_behind: Callable[[IntegrationId], bool],
    ) -> None:
        self._per_session = per_session
        self._gateways = tuple(gateways)
        self._names = names
        self._agent = Family(
            name="wa_session_info",
            kind="gauge",
            help="Always 1; says which agent the session belongs to.",
            line=lambda row: f'wa_session_info{{{row[0]},agent="{names(row[1].agent_id)}"}} 1\n',
        )

        self._behind = _valued(
            "wa_session_behind",
            "gauge",
            "1 while the session is connected and messages of it may be missing, until it has caught up.",
            lambda s: int(s.state in CONNECTED and is_behind(s.id)),
        )

    def pieces(self, statuses: Sequence[SessionStatus]) -> Iterator[bytes]:
        """Write every series, family by family, in pieces of some tens of microseconds."""
        found: Counter[tuple[str, State]] = Counter()
        rows: list[_Row] = []
        for part in _parts(statuses):
            found.update((status.gateway or "", status.state) for status in part)
            if self._per_session != "off":
                rows.extend((self._labels(status), status) for status in part)
            yield b""
        yield self._by_state(found)
        for family in self._families():
            yield from family.pieces(rows)

    def _families(self) -> tuple[Family, ...]:
        if self._per_session == "off":
            return ()
        return (_STATE,) if self._per_session == "state" else (_STATE, self._agent, self._behind, *_IN_FULL)

    def _labels(self, status: SessionStatus) -> str:
        names = self._names
        gateway = escaped(status.gateway or "")
        return f'integration="{names(status.id)}",session="{names(status.session)}",gateway="{gateway}"'

    def _by_state(self, found: Mapping[tuple[str, State], int]) -> bytes:
        gateways = dict.fromkeys([*self._gateways, *(gateway for gateway, _ in found)])
        lines = [
            f'wa_sessions{{gateway="{escaped(gateway)}",state="{state.value}"}} {found.get((gateway, state), 0)}\n'
            for gateway in gateways
            for state in State
        ]
        text = "Sessions by state; those whose record names no gateway have an empty one."
        return _head("wa_sessions", "gauge", text) + _bytes("".join(lines))


def _head(name: str, kind: str, text: str) -> bytes:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n".encode()


def _bytes(text: str) -> bytes:
    # A hash field may hold bytes that are no text; two such names must stay two.
    return text.encode("utf-8", "backslashreplace")


def _parts(rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (rows[start : start + PIECE] for start in range(0, len(rows), PIECE))
