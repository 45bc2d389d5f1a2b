"""What could not be delivered, kept for the operator with its reason."""

from __future__ import annotations

import msgspec

from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One payload that was not delivered, or of which nobody knows whether it was."""

    at: float
    direction: str
    """`out` (a reply to a person) or `in` (a message to an agent)."""
    reason: str
    message: str
    is_unknown: bool
    """Whether it may have been delivered all the same: a replay could repeat it."""
    attempts: int
    agent_id: AgentId | None
    integration_id: IntegrationId | None = None
    session: SessionName | None = None
    gateway: GatewayName | None = None
    chat_id: str | None = None
    payload: str = ""
    """As it came, cut at 65,536 characters."""

    def __repr__(self) -> str:
        """Say what it is about, not what a person was to read."""
        return f"DeadLetter(direction={self.direction!r}, reason={self.reason!r}, integration={self.integration_id!r})"
