"""The names of things, each with a type of its own so that one cannot be handed over as another."""

from __future__ import annotations

from typing import NewType

IntegrationId = NewType("IntegrationId", str)
"""Field of the wish hash: what the operator calls an integration."""

AgentId = NewType("AgentId", str)
"""The AI agent that an integration belongs to; part of its channel and stream names."""

SessionName = NewType("SessionName", str)
"""A session's name at its gateway: `[A-Za-z0-9_-]{1,40}`, because the gateway puts it into paths and splits at `:`."""

GatewayName = NewType("GatewayName", str)
"""The operator's name for a wppconnect-server, as in the configuration."""

ChatId = NewType("ChatId", str)
"""A whole WhatsApp chat id with its suffix (`...@c.us`, `...@g.us`, `...@lid`). Never stripped."""

StanzaId = NewType("StanzaId", str)
"""WhatsApp's own id of a message, the third part of `fromMe_chat_STANZA[_participant]`."""
