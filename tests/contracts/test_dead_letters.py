"""Port `DeadLetters`: what could not be delivered is kept whole, for the fake and for Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec
import pytest
from anyio.lowlevel import checkpoint

from tests.contracts.redis_sides import KINDS, real_store
from tests.fakes.dead_letters import FakeDeadLetters
from wa_supervisor.adapters.redis.entries import read_entries
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.domain.dead_letters import DeadLetter
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName
from wa_supervisor.engine.ports import DeadLetters

pytestmark = pytest.mark.anyio


class Side(Protocol):
    """What the tests do behind the port's back."""

    @property
    def dead_letters(self) -> DeadLetters: ...

    async def letters(self) -> list[DeadLetter]: ...

    async def refuse_next(self) -> None: ...


class FakeSide:
    def __init__(self) -> None:
        self.dead_letters = FakeDeadLetters()

    async def letters(self) -> list[DeadLetter]:
        await checkpoint()
        return self.dead_letters.letters

    async def refuse_next(self) -> None:
        await checkpoint()
        self.dead_letters.fail_next("bury")


class RedisSide:
    def __init__(self, store: RedisStore) -> None:
        self._client = store.client
        self.dead_letters: DeadLetters = store.dead_letters

    async def letters(self) -> list[DeadLetter]:
        entries = read_entries(await self._client.call(b"XRANGE", b"wa:dead", b"-", b"+"))
        return [msgspec.json.decode((entry.fields or {})[b"letter"], type=DeadLetter) for entry in entries]

    async def refuse_next(self) -> None:
        await self._client.call(b"SET", b"wa:dead", b"no stream")


@pytest.fixture(params=KINDS, ids="-".join)
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    chosen: tuple[str, str] = request.param
    return chosen


@pytest.fixture
def anyio_backend(kind: tuple[str, str]) -> str:
    return kind[1]


@pytest.fixture
def url(kind: tuple[str, str], request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("redis_url")) if kind[0] == "redis" else ""


@pytest.fixture
async def side(url: str) -> AsyncIterator[Side]:
    if not url:
        yield FakeSide()
        return
    async with real_store(url) as store:
        yield RedisSide(store)


def letter(number: int) -> DeadLetter:
    return DeadLetter(
        at=float(number),
        direction="out",
        reason="NotConnected",
        message="the session was not connected in time ç",
        is_unknown=number % 2 == 1,
        attempts=number,
        agent_id=AgentId("sales"),
        integration_id=IntegrationId("one"),
        session=SessionName("s1"),
        gateway=GatewayName("main"),
        chat_id="5511988887777@c.us",
        payload='{"response": "olá \\u0000"}',
    )


async def test_letters_are_kept_whole_and_in_order(side: Side) -> None:
    for number in range(3):
        await side.dead_letters.bury(letter(number))
    assert await side.letters() == [letter(number) for number in range(3)]


async def test_a_letter_that_names_nobody_is_kept_too(side: Side) -> None:
    nobody = DeadLetter(
        at=1.0, direction="in", reason="Unknown", message="?", is_unknown=False, attempts=0, agent_id=None
    )
    await side.dead_letters.bury(nobody)
    assert await side.letters() == [nobody]


async def test_a_letter_that_could_not_be_kept_is_an_error(side: Side) -> None:
    await side.refuse_next()
    with pytest.raises(StoreUnavailableError):
        await side.dead_letters.bury(letter(1))
