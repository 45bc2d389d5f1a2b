"""What the steps of a session's life share: whose it is, where it runs, what proves it alive."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from wa_supervisor.domain.gateway import SessionAccess, StartOptions
from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.status import LoginOffer
from wa_supervisor.engine.gate import Gate
from wa_supervisor.engine.policies import SessionPolicy
from wa_supervisor.engine.ports import Gateway
from wa_supervisor.engine.record import Record
from wa_supervisor.engine.switch import Bell

DOUBTS = 3
"""Looks in a row that must go wrong before a session counts as failed: a page may be offline for a moment."""


@dataclass(slots=True, kw_only=True)
class Situation:
    """One session at its gateway. `integration` may be replaced by a newer record of the same session."""

    integration: Integration
    record: Record
    gateway: Gateway
    gate: Gate
    policy: SessionPolicy
    show_login: Callable[[LoginOffer | None], Awaitable[None]]
    bell: Bell = field(default_factory=Bell)
    """Rung when somebody knows that a look at the gateway is worth it now."""
    last_proof: float = -math.inf
    """When a message or an ack last proved the session alive, by the engine's clock."""
    login_code: LoginOffer | None = None
    """The pairing code on offer: it comes as an event, no poll gives it."""
    stuck_starts: int = 0
    """Starts in a row that ended stuck."""

    @property
    def access(self) -> SessionAccess:
        """What every call for this session needs."""
        return access_of(self.integration)

    @property
    def start_options(self) -> StartOptions:
        """The full settings, which a start replaces at the gateway."""
        return StartOptions(phone=self.integration.phone, proxy=self.integration.proxy)

    def prove_alive(self) -> None:
        """Take a message or an ack as proof of life."""
        self.last_proof = anyio.current_time()

    @property
    def is_proved_alive(self) -> bool:
        """Whether traffic proved it alive so lately that a poll would tell nothing new."""
        return anyio.current_time() - self.last_proof < self.policy.alive_evidence


def access_of(integration: Integration) -> SessionAccess:
    """Give what every call for the integration's session needs."""
    return SessionAccess(session=integration.session, token=integration.token)
