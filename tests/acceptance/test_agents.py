"""Agents on streams: the one that docs/protocol.md shows, run as it stands, and replies that outlive a daemon."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import anyio
import pytest
import redis

from tests.acceptance.harness import PATIENCE, add, daemon, write_config
from wa_supervisor.simulator import FAST, SimulatedGateway, simulated_gateway

pytestmark = [pytest.mark.anyio, pytest.mark.acceptance]

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"


@pytest.fixture
def anyio_backend() -> str:
    """Real sockets need a real clock."""
    return "asyncio"


def shown_agent() -> str:
    """Give the agent that the documentation shows, word for word."""
    (code,) = re.findall(r"```python\n(.*?)```", PROTOCOL.read_text(encoding="utf-8"), flags=re.DOTALL)
    return str(code)


@asynccontextmanager
async def agent_process(redis_url: str) -> AsyncIterator[None]:
    process = await anyio.open_process(
        [sys.executable, "-c", shown_agent()], stdout=None, stderr=None, env={**os.environ, "REDIS_URL": redis_url}
    )
    async with process:
        try:
            yield
        finally:
            process.kill()


async def until_received(gateway: SimulatedGateway, count: int) -> None:
    with anyio.fail_after(PATIENCE):
        await gateway.until(lambda g: len(g.ledger.received) >= count)


async def test_the_agent_that_the_documentation_shows_answers_also_what_came_while_it_was_away(
    tmp_path: Path, redis_url: str
) -> None:
    async with simulated_gateway(timings=FAST) as gateway:
        config = write_config(tmp_path, {"main": gateway}, redis_url)
        anna = gateway.person("5511900000077@c.us")
        async with daemon(config) as started:
            await add(config, "a", "--wait", agent="support")
            async with agent_process(redis_url):
                anna.writes("a-number", "one")
                await until_received(gateway, 1)
            anna.writes("a-number", "two")
            anna.writes("a-number", "three")
            async with agent_process(redis_url):
                await until_received(gateway, 3)
            await started.end()
    assert gateway.ledger.texts_received() == ["Hello."] * 3


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
