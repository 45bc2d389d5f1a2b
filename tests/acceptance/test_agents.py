"""Replies of agents: those on a stream outlive a daemon, and those that cannot be sent are dead letters.

The agents that docs/protocol.md shows are in `test_protocol_page.py`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import anyio
import pytest
import redis

from tests.acceptance.harness import PATIENCE, add, daemon, write_config
from wa_supervisor.simulator import FAST, SimulatedGateway, simulated_gateway

pytestmark = [pytest.mark.anyio, pytest.mark.acceptance]


@pytest.fixture
def anyio_backend() -> str:
    """Real sockets need a real clock."""
    return "asyncio"


async def until_received(gateway: SimulatedGateway, count: int) -> None:
    with anyio.fail_after(PATIENCE):
        await gateway.until(lambda g: len(g.ledger.received) >= count)


async def test_a_reply_on_the_stream_waits_for_the_next_daemon_and_is_sent_once(tmp_path: Path, redis_url: str) -> None:
    async with simulated_gateway(timings=FAST) as gateway:
        config = write_config(tmp_path, {"main": gateway}, redis_url)
        chat = gateway.person("5511900000077@c.us").id
        async with daemon(config) as started:
            await add(config, "a", "--wait", agent="support")
            await started.end(signal.SIGKILL)
        with redis.Redis.from_url(redis_url) as client:
            for number in range(3):
                reply = {"chat_id": chat, "response": f"reply {number}", "channel": "whatsapp"}
                client.xadd("agent:support:output", {"payload": json.dumps(reply)})
        async with daemon(config) as started:
            await until_received(gateway, 3)
            await started.end()
        async with daemon(config) as started:
            await started.until_running(1)
            await started.end()
    assert gateway.ledger.texts_received("a-number", chat) == ["reply 0", "reply 1", "reply 2"]


async def test_a_reply_that_cannot_be_sent_is_a_dead_letter_that_says_why(tmp_path: Path, redis_url: str) -> None:
    async with simulated_gateway(timings=FAST) as gateway:
        config = write_config(tmp_path, {"main": gateway}, redis_url)
        async with daemon(config) as started:
            await add(config, "a", "--wait", agent="support")
            with redis.Redis.from_url(redis_url) as client:
                client.publish("agent:support:output", "this is not JSON")
                letters = await until_letters(client, 1)
            await started.end()
    assert json.loads(letters[0])["reason"] == "NotJson"


async def until_letters(client: redis.Redis, count: int) -> list[bytes]:
    """Wait for dead letters, which another process writes."""
    with anyio.fail_after(PATIENCE):
        while client.xlen("wa:dead") < count:  # noqa: ASYNC110  # another process has no event to wait for
            await anyio.sleep(0.05)
    entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrange("wa:dead"))
    return [fields[b"letter"] for _, fields in entries]


def test_the_command_is_installed_beside_the_interpreter() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("wa-supervisor"), "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("wa-supervisor ")
