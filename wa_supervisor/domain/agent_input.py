"""A message as an agent gets it: the hub's payload, with fields of ours beside it.

A reader of the hub's fields is not disturbed: `text`, `chat_id`, `platform_user_id`, `user_data` and `channel` are as
they were; `user_source`, `session`, `integration_id`, `message_id`, `message_type`, `sent_at` and `protocol` are added,
and `recovered` where the message was missed and fetched later.
"""

from __future__ import annotations

import msgspec

from wa_supervisor.domain.messages import InboundMessage
from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.people import Person

PROTOCOL = 1
"""Version of what agents and the daemon say to each other (docs/protocol.md)."""


def agent_input(
    message: InboundMessage, person: Person, integration: IntegrationId, *, is_recovered: bool = False
) -> bytes:
    """Give the JSON for `agent:{agent_id}:input`."""
    payload: dict[str, object] = {
        "text": message.text,
        "chat_id": message.chat,
        "platform_user_id": message.sender.id,
        "user_data": person.user_data(),
        "user_source": person.source,
        "channel": "whatsapp",
        "session": message.session,
        "integration_id": integration,
        "message_id": message.message_id,
        "message_type": message.type,
        "sent_at": message.sent_at,
        "protocol": PROTOCOL,
    }
    if is_recovered:
        payload["recovered"] = True
    if message.quoted:
        payload["quoted_message"] = message.quoted
    return msgspec.json.encode(payload)
