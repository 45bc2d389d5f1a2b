"""Who plays: sessions, their agents, their people, and what befalls some of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from wa_supervisor.simulator import Person, SimulatedGateway

SESSIONS_PER_GATEWAY = 50
"""A gateway is one host with a browser per session: tens of sessions, not hundreds."""


LIVELIEST = 40.0
"""Messages a second of everybody together: a demo shows the path and measures nothing, on one core with everything."""

EARLY = 0.3
"""Share of a short demo after which something befalls a session, so that there is time to see it pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What the demo is asked for."""

    sessions: int = 12
    """Integrations that are declared, at least 4: one of them is invalid, one needs a QR code, one drops."""
    seconds: float | None = None
    """How long people write; `None`: until told to stop."""
    pause: float = 1.5
    """Seconds, on average, between two messages of one person, if they are few."""
    scan_after: float = 4.0
    """Seconds after which somebody scans the QR code; sooner in a short demo."""
    drop_after: float = 8.0
    """Seconds after which one session drops; sooner in a short demo."""
    come_back: float = 60.0
    """Seconds at most to wait at the end for every session that can run: browsers start in turns."""
    settle: float = 20.0
    """Seconds at most to wait for the last replies."""
    quiet: float = 5.0
    """Seconds without any reply, with every session running, after which none is waited for: they take milliseconds."""
    is_throwaway: bool = True
    """Whether the folder is removed afterwards, and with it what the servers keep elsewhere."""

    def soon(self, after: float) -> float:
        """Give the seconds after which something happens that should happen `after` seconds."""
        return after if self.seconds is None else min(after, self.seconds * EARLY)

    def pause_among(self, people: int) -> float:
        """Give the average seconds between two messages of one of so many people."""
        return max(self.pause, people / LIVELIEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One session and its people."""

    integration: str
    session: str
    agent: str
    gateway: str
    people: tuple[Person, ...]
    group: str | None
    """A group that the first of the people writes in, too."""


def gateway_names(options: DemoOptions) -> list[str]:
    """Name the gateways that the demo needs."""
    count = -(-options.sessions // SESSIONS_PER_GATEWAY)
    return [f"gateway-{number + 1}" for number in range(count)]


def agents(options: DemoOptions) -> list[str]:
    """Name the agents; each has two sessions, so that replies must find the right one."""
    return sorted({_agent(number) for number in range(options.sessions)})


def records(options: DemoOptions) -> dict[str, bytes]:
    """Give the wish: integration id -> record. The last record has a key that does not exist."""
    wish: dict[str, dict[str, object]] = {}
    for number in range(options.sessions):
        names = gateway_names(options)
        wish[_integration(number)] = {
            "agent_id": _agent(number),
            "session": _session(number),
            "gateway": names[number // SESSIONS_PER_GATEWAY],
        }
    wish[_integration(options.sessions - 1)]["pausd"] = True
    return {name: json.dumps(record).encode() for name, record in wish.items()}


def cast_roles(options: DemoOptions, gateways: Mapping[str, SimulatedGateway]) -> list[Role]:
    """Give every session but the invalid one its people: numbers, privacy ids short and long, and some in groups."""
    names = gateway_names(options)
    return [_role(number, names[number // SESSIONS_PER_GATEWAY], gateways) for number in range(options.sessions - 1)]


def needs_scan(options: DemoOptions) -> str:
    """Name the session whose QR code must be scanned."""
    del options
    return _session(1)


def drops(options: DemoOptions) -> str:
    """Name the session that drops and comes back."""
    del options
    return _session(2)


def _role(number: int, gateway: str, gateways: Mapping[str, SimulatedGateway]) -> Role:
    home = gateways[gateway]
    ids = (
        f"55119{80_000_000 + number:08d}@c.us",
        f"{10_000_000_000_000 + number}@lid",
        f"{200_000_000_000_000 + number}@lid",
    )
    people = tuple(home.person(each, name=f"Person {number + 1}.{i + 1}") for i, each in enumerate(ids))
    return Role(
        integration=_integration(number),
        session=_session(number),
        agent=_agent(number),
        gateway=gateway,
        people=people,
        group=f"1203630{number:08d}@g.us" if number % 3 == 0 else None,
    )


def _integration(number: int) -> str:
    return f"demo-{number + 1:02d}"


def _session(number: int) -> str:
    return f"number-{number + 1:02d}"


def _agent(number: int) -> str:
    return f"agent-{number // 2 + 1}"
