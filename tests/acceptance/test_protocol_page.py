"""docs/protocol.md shows two agents: both run as they stand, against a real server, alone and beside a daemon."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, cast

import anyio
import msgspec
import pytest
import redis
from anyio.abc import Process

from tests.acceptance.harness import LOOK, PATIENCE, add, daemon, write_config
from wa_supervisor.domain.receipts import Fate, Receipt
from wa_supervisor.simulator import FAST, SimulatedGateway, simulated_gateway

pytestmark = [pytest.mark.anyio, pytest.mark.acceptance]

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")

INPUT, OUTPUT = "agent:support:input", "agent:support:output"

Kind = Literal["channel", "stream"]

SHOWN: Mapping[Kind, str] = dict(
    zip(("channel", "stream"), re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL), strict=True)
)
"""The agents, word for word."""


@pytest.fixture
def anyio_backend() -> str:
    """Real sockets need a real clock."""
    return "asyncio"


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as opened:
        yield opened


@asynccontextmanager
async def agent_process(redis_url: str, kind: Kind) -> AsyncIterator[Process]:
    """Run an agent until the block ends, then kill it."""
    process = await anyio.open_process(
        [sys.executable, "-c", SHOWN[kind]],
        stdin=subprocess.DEVNULL,
        stdout=None,
        stderr=None,
        env={**os.environ, "REDIS_URL": redis_url},
    )
    async with process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)


async def until(holds: Callable[[], object]) -> None:
    """Wait for another process, which has no event to wait for."""
    with anyio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110  # as said
            await anyio.sleep(LOOK)


def message(number: int) -> str:
    """Give a message as a daemon hands it over."""
    return json.dumps(
        {
            "text": f"text {number}",
            "chat_id": "5511900000077@c.us",
            "channel": "whatsapp",
            "session": "a-number",
            "message_id": f"false_5511900000077@c.us_{number:04}",
        }
    )


def hand_over(client: redis.Redis, *numbers: int) -> None:
    """Put messages into the agent's stream and on its channel, as a daemon does."""
    for number in numbers:
        client.xadd(INPUT, {"payload": message(number)})
        client.publish(INPUT, message(number))


def replies(client: redis.Redis) -> list[dict[str, str]]:
    """Give the replies in the agent's output stream."""
    entries = cast("list[tuple[str, dict[str, str]]]", client.xrange(OUTPUT))
    return [json.loads(fields["payload"]) for _, fields in entries]


def listeners(client: redis.Redis) -> int:
    ((_, count),) = cast("list[tuple[str, int]]", client.pubsub_numsub(INPUT))
    return count


def unacknowledged(client: redis.Redis) -> int:
    groups = cast("list[dict[str, int]]", client.xinfo_groups(INPUT))
    return sum(group["pending"] for group in groups)


# Each alone


async def test_the_channel_agent_answers_on_the_channel(redis_url: str, client: redis.Redis) -> None:
    with client.pubsub(ignore_subscribe_messages=True) as answers:  # type: ignore[no-untyped-call]  # redis-py has none
        answers.subscribe(OUTPUT)
        async with agent_process(redis_url, "channel"):
            await until(lambda: listeners(client))
            hand_over(client, 1, 2)
            heard: list[dict[str, str]] = []

            def has_both() -> bool:
                if found := answers.get_message():
                    heard.append(json.loads(found["data"]))
                return len(heard) == 2

            await until(has_both)
    reply = {"chat_id": "5511900000077@c.us", "response": "Hello.", "channel": "whatsapp", "session": "a-number"}
    assert heard == [reply, reply]


async def test_the_stream_agent_answers_once_whenever_it_is_killed(redis_url: str, client: redis.Redis) -> None:
    numbers = range(300)
    hand_over(client, *numbers)
    for share in (20, 80, 200):
        async with agent_process(redis_url, "stream"):
            await until(lambda least=share: client.xlen(OUTPUT) >= least)  # type: ignore[misc]  # a default binds the loop's value
    hand_over(client, 5, 299)  # the same messages under other entries, as when Redis had forgotten that they were there
    async with agent_process(redis_url, "stream"):
        await until(lambda: client.xlen(OUTPUT) >= len(numbers) and not unacknowledged(client))
        hand_over(client, 300)
        await until(lambda: any(reply["reply_id"].endswith("0300") for reply in replies(client)))
    answered = Counter(reply["reply_id"][-4:] for reply in replies(client))
    assert answered == {f"{number:04}": 1 for number in (*numbers, 300)}


async def test_the_stream_agent_minds_no_message_that_was_trimmed_before_it_answered(
    redis_url: str, client: redis.Redis
) -> None:
    client.xgroup_create(INPUT, "support", id="0", mkstream=True)
    hand_over(client, 1, 2)
    client.xreadgroup("support", "me", {INPUT: ">"})
    client.xtrim(INPUT, maxlen=1, approximate=False)
    async with agent_process(redis_url, "stream"):
        await until(lambda: client.xlen(OUTPUT) and not unacknowledged(client))
    assert [reply["reply_id"][-4:] for reply in replies(client)] == ["0002"]


# Beside a daemon


async def until_received(gateway: SimulatedGateway, count: int) -> None:
    with anyio.fail_after(PATIENCE):
        await gateway.until(lambda g: len(g.ledger.received) >= count)


@pytest.mark.parametrize("kind", ["channel", "stream"])
async def test_the_agents_that_the_documentation_shows_answer_also_what_came_while_they_were_away(
    tmp_path: Path, redis_url: str, kind: Kind
) -> None:
    async with simulated_gateway(timings=FAST) as gateway:
        config = write_config(tmp_path, {"main": gateway}, redis_url)
        anna = gateway.person("5511900000077@c.us")
        async with daemon(config) as started:
            await add(config, "a", "--wait", agent="support")
            async with agent_process(redis_url, kind):
                anna.writes("a-number", "one")
                await until_received(gateway, 1)
            anna.writes("a-number", "two")
            anna.writes("a-number", "three")
            async with agent_process(redis_url, kind):
                await until_received(gateway, 3)
            await started.end()
    assert gateway.ledger.texts_received() == ["Hello."] * 3


async def test_what_became_of_a_reply_is_told_as_the_documentation_says(
    tmp_path: Path, redis_url: str, client: redis.Redis
) -> None:
    async with simulated_gateway(timings=FAST) as gateway:
        config = write_config(tmp_path, {"main": gateway}, redis_url)
        anna = gateway.person("5511900000077@c.us")
        async with daemon(config) as started:
            await add(config, "a", "--wait", agent="support")
            async with agent_process(redis_url, "stream"):
                anna.writes("a-number", "one")
                await until_received(gateway, 1)
                client.publish(OUTPUT, json.dumps({"chat_id": "no chat", "response": "x", "reply_id": "r-2"}))
                await until(lambda: {Fate.SENT, Fate.FAILED} <= {receipt.status for receipt in receipts(client)})
            await started.end()
    sent = next(receipt for receipt in receipts(client) if receipt.status is Fate.SENT)
    assert (sent.reply_id or "").startswith("false_5511900000077@c.us_")
    assert (sent.message_id or "").startswith("true_5511900000077@c.us_")
    assert (sent.session, sent.integration_id, sent.agent_id) == ("a-number", "a", "support")
    failed = next(receipt for receipt in receipts(client) if receipt.status is Fate.FAILED)
    assert (failed.reason, failed.entry) == ("NoChat", None)


def receipts(client: redis.Redis) -> list[Receipt]:
    entries = cast("list[tuple[str, dict[str, str]]]", client.xrange("agent:support:receipts"))
    return [msgspec.json.decode(fields["receipt"], type=Receipt) for _, fields in entries]


# What the page says


def test_a_receipt_has_the_fields_that_are_shown_and_every_status_is_there() -> None:
    part = PAGE.partition("## What became of a reply")[2].partition("\n## ")[0]
    (shown,) = re.findall(r"```json\n(.*?)```", part, flags=re.DOTALL)
    assert set(json.loads(shown)) == set(Receipt.__struct_fields__)
    table = "".join(line for line in part.splitlines() if line.startswith("| `"))
    assert {fate.value for fate in Fate} <= set(re.findall(r"`([a-z]+)`", table))
