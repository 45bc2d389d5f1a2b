"""What the operator wants, and what that and the faults call for: the only truth that states are judged by.

Plain memory, kept by `operator` and `misfortune`: whoever plays a fault that lasts notes here what it calls for, and
takes it back when it is undone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from wa_supervisor.domain.lifecycle import State

RUNNING = frozenset({State.RUNNING})


@dataclass(slots=True, kw_only=True)
class Declared:
    """One integration of the wish."""

    id: str
    gateway: str
    keys: dict[str, object] = field(default_factory=dict)
    """More keys of its record."""
    raw: str | None = None
    """Written instead of a record, if it is poisoned."""
    calls_for: frozenset[State] = RUNNING
    """The states that are right in a calm."""

    @property
    def session(self) -> str:
        """Its name at the gateway."""
        return f"{self.id}-number"

    @property
    def agent(self) -> str:
        """Its agent."""
        return agent_of(self.id)

    @property
    def record(self) -> bytes:
        """What stands in the hash."""
        if self.raw is not None:
            return self.raw.encode()
        return json.dumps(
            {"agent_id": self.agent, "session": self.session, "gateway": self.gateway, **self.keys}
        ).encode()


class Book:
    """The wish as the operator means it, and what is owed to its sessions."""

    def __init__(self, names: tuple[str, ...], gateways: tuple[str, ...]) -> None:
        self._gateways = gateways
        self.declared: dict[str, Declared] = {}
        self.is_emptied = False
        """Whether the hash was emptied by accident: what is written then would be lost."""
        self.owed: set[str] = set()
        """Integrations whose permanent cause was played and taken back: the operator releases them if need be."""
        self.unscanned: set[str] = set()
        """Integrations whose code nobody scans."""
        for name in names:
            self.declare(name)

    def __repr__(self) -> str:
        return f"<Book of {len(self.declared)} integrations>"

    def declare(self, name: str) -> Declared:
        """Want one more, at the gateway that its name leads to."""
        gateway = self._gateways[int(name[1:]) % len(self._gateways)]
        self.declared[name] = Declared(id=name, gateway=gateway)
        return self.declared[name]

    def wish(self) -> Mapping[str, bytes]:
        """Give what the hash should hold."""
        return {} if self.is_emptied else {name: each.record for name, each in self.declared.items()}

    def should_run(self) -> list[Declared]:
        """Give those that should run."""
        return [each for each in self.declared.values() if each.calls_for == RUNNING]


def agent_of(name: str) -> str:
    """Give the agent of an integration, declared or not."""
    return f"agent-{name}"
