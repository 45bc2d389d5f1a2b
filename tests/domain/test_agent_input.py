"""A message as an agent gets it: exactly the hub's fields, and ours beside them."""

from __future__ import annotations

import json
from typing import Any

from tests.domain.samples import payload, received
from wa_supervisor.domain.agent_input import PROTOCOL, agent_input
from wa_supervisor.domain.messages import InboundMessage, read_message
from wa_supervisor.domain.names import GatewayName, IntegrationId
from wa_supervisor.domain.people import Person, unknown_person

HUB_FIELDS = {"text", "chat_id", "platform_user_id", "user_data", "channel"}
OUR_FIELDS = {"user_source", "session", "integration_id", "message_id", "message_type", "sent_at", "protocol"}


def message(name: str) -> InboundMessage:
    """Read a recorded message."""
    sample = payload(name)
    result = read_message(received(sample.get("response", sample)), GatewayName("main"))
    assert isinstance(result, InboundMessage)
    return result


def given_out(one: InboundMessage, person: Person | None = None) -> dict[str, Any]:
    """Give what the agent reads."""
    encoded = agent_input(one, person or unknown_person(one.sender), IntegrationId("i-1"))
    decoded: dict[str, Any] = json.loads(encoded.decode("utf-8"))
    return decoded


def test_agent_gets_the_hubs_fields_and_ours() -> None:
    person = Person(platform_user_id=message("received-message-08").sender.id, first_name="Contact", user_id=7)
    assert given_out(message("received-message-08"), person) == {
        "text": "Oi, tudo bem?",
        "chat_id": "5511900000077@c.us",
        "platform_user_id": "5511900000077@c.us",
        "user_data": person.user_data(),
        "user_source": "database",
        "channel": "whatsapp",
        "session": "acme",
        "integration_id": "i-1",
        "message_id": "false_5511900000077@c.us_3EB0A1",
        "message_type": "chat",
        "sent_at": 1786000000,
        "protocol": PROTOCOL,
    }


def test_message_of_a_group_names_the_group_as_chat_and_the_member_as_user() -> None:
    payload_out = given_out(message("onmessage-05"))
    assert payload_out["chat_id"] == "120364374189865095@g.us"
    assert payload_out["platform_user_id"] == "185332186599628@lid"
    assert payload_out["user_data"]["platform_user_id"] == "185332186599628@lid"


def test_quotation_is_there_only_when_there_is_one() -> None:
    assert given_out(message("received-message-08")).keys() == HUB_FIELDS | OUR_FIELDS
    quoting = given_out(message("received-message-03"))
    assert quoting.keys() == HUB_FIELDS | OUR_FIELDS | {"quoted_message"}
    assert quoting["quoted_message"] == "5996A78679BCAA11FAE29256F419A7E2"


def test_text_arrives_as_utf_8() -> None:
    one = message("received-message-04")
    assert "texto de exemplo áé 😀".encode() in agent_input(one, unknown_person(one.sender), IntegrationId("i-1"))


def test_hub_fields_have_the_hubs_types() -> None:
    for name in ("received-message-03", "received-message-10", "received-message-24", "onmessage-06"):
        fields = given_out(message(name))
        assert all(isinstance(fields[key], str) for key in HUB_FIELDS - {"user_data"})
        assert isinstance(fields["user_data"], dict)
        assert fields["channel"] == "whatsapp"
