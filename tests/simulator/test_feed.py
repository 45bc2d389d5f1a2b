"""What the feed relies on in python-engineio, so that an upgrade that changes it breaks here and not in a benchmark."""

from __future__ import annotations

import inspect

import engineio
import pytest
from engineio.async_socket import AsyncSocket
from engineio.packet import MESSAGE, Packet

from tests.simulator.harness import listener
from wa_supervisor.simulator import SimulatedGateway

pytestmark = pytest.mark.anyio


def test_a_packet_encodes_itself_once() -> None:
    packet = Packet(MESSAGE, '2["event",{"a":1}]')
    assert packet.encode() == '42["event",{"a":1}]'
    assert packet.encode_cache == packet.encode()


def test_a_socket_has_a_queue_from_which_it_sends() -> None:
    assert "self.queue.get()" in inspect.getsource(AsyncSocket.poll)
    assert "sockets" in vars(engineio.AsyncServer())


async def test_emitting_is_a_plain_call_and_keeps_the_order(gateway: SimulatedGateway) -> None:
    async with listener(gateway) as events:
        for number in range(500):
            assert gateway.emit("numbered", number)
        await events.next("numbered", count=500)
        assert events.of("numbered") == list(range(500))


async def test_every_json_value_is_a_payload(gateway: SimulatedGateway) -> None:
    payloads = [None, False, 3.5, 'text with " and \u2028', [1, [2]], {"a": {"b": None}}]
    async with listener(gateway) as events:
        for payload in payloads:
            gateway.emit("any", payload)
        await events.next("any", count=len(payloads))
        assert events.of("any") == payloads
