"""Port `StatusBoard`: how things are, for whoever reads it, for the fake and for Redis read as an operator does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol, TypeVar, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.contracts.redis_sides import KINDS, real_store
from tests.fakes.board import FakeStatusBoard
from wa_supervisor.adapters.redis.desk import OperatorDesk
from wa_supervisor.adapters.redis.keys import hub_status
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.domain.lifecycle import State
from wa_supervisor.domain.names import AgentId, GatewayName, IntegrationId, SessionName
from wa_supervisor.domain.status import DaemonStatus, LoginOffer, SessionStatus, Transition
from wa_supervisor.engine.ports import StatusBoard

pytestmark = pytest.mark.anyio

T = TypeVar("T")

ONE, TWO = IntegrationId("one"), IntegrationId("two-ç")
SALES, SUPPORT = AgentId("sales"), AgentId("support")


class Side(Protocol):
    """What a reader sees."""

    @property
    def board(self) -> StatusBoard: ...

    async def statuses(self) -> Mapping[str, SessionStatus]: ...

    async def daemons(self) -> list[DaemonStatus]: ...

    async def offer(self, integration: IntegrationId) -> LoginOffer | None: ...

    async def hub(self, agent: AgentId) -> Mapping[str, str]: ...

    async def write_as_the_hub(self, agent: AgentId) -> None: ...


class FakeSide:
    def __init__(self) -> None:
        self.board = FakeStatusBoard()

    async def statuses(self) -> Mapping[str, SessionStatus]:
        await checkpoint()
        return {str(name): status for name, status in self.board.statuses.items()}

    async def daemons(self) -> list[DaemonStatus]:
        await checkpoint()
        return [self.board.daemons[name] for name in sorted(self.board.daemons)]

    async def offer(self, integration: IntegrationId) -> LoginOffer | None:
        await checkpoint()
        return self.board.offers.get(integration)

    async def hub(self, agent: AgentId) -> Mapping[str, str]:
        await checkpoint()
        return {**self.board.hub_of_others.get(agent, {}), **self.board.hub.get(agent, {})}

    async def write_as_the_hub(self, agent: AgentId) -> None:
        await checkpoint()
        self.board.hub_of_others[agent] = {"status": "running"}


class RedisSide:
    def __init__(self, url: str, store: RedisStore) -> None:
        self._url = url
        self._client = store.client
        self.board: StatusBoard = store.board

    async def statuses(self) -> Mapping[str, SessionStatus]:
        return await anyio.to_thread.run_sync(lambda: self._desk(OperatorDesk.statuses))

    async def daemons(self) -> list[DaemonStatus]:
        return await anyio.to_thread.run_sync(lambda: self._desk(OperatorDesk.daemons))

    async def offer(self, integration: IntegrationId) -> LoginOffer | None:
        return await anyio.to_thread.run_sync(lambda: self._desk(lambda desk: desk.login_offer(integration)))

    async def hub(self, agent: AgentId) -> Mapping[str, str]:
        flat = [word.decode() for word in cast("list[bytes]", await self._client.call(b"HGETALL", hub_status(agent)))]
        return dict(zip(flat[::2], flat[1::2], strict=True))

    async def write_as_the_hub(self, agent: AgentId) -> None:
        await self._client.call(b"HSET", hub_status(agent), b"status", b"running")

    def _desk(self, ask: Callable[[OperatorDesk], T]) -> T:
        with OperatorDesk(self._url) as desk:
            return ask(desk)


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
        yield RedisSide(url, store)


def status(name: IntegrationId, state: State = State.RUNNING, message: str = "all is well ç") -> SessionStatus:
    step = Transition(
        at=1.5, source=State.STARTING, target=state, cause="connected", reason="Up", message="ok", attempt=1, lasted=2.0
    )
    return SessionStatus(
        id=name,
        agent_id=SALES,
        session=SessionName("s1"),
        gateway=GatewayName("main"),
        state=state,
        reason="Up",
        message=message,
        since=1.5,
        observed_at=2.5,
        transitions=[step],
    )


def daemon(name: str) -> DaemonStatus:
    return DaemonStatus(
        id=name,
        host="here",
        pid=1,
        version="0.1.0",
        started_at=1.0,
        observed_at=2.0,
        ready=True,
        sessions=3,
        by_state={"running": 3},
        missing=["no database"],
    )


async def test_an_empty_board_shows_nothing(side: Side) -> None:
    assert dict(await side.statuses()) == {}
    assert await side.daemons() == []
    assert await side.offer(ONE) is None


async def test_statuses_are_shown_whole_and_others_stay(side: Side) -> None:
    await side.board.publish([status(ONE), status(TWO)], {})
    await side.board.publish([status(ONE, State.BACKOFF, "the gateway answered 503")], {})
    assert dict(await side.statuses()) == {
        ONE: status(ONE, State.BACKOFF, "the gateway answered 503"),
        TWO: status(TWO),
    }


async def test_publishing_nothing_is_fine(side: Side) -> None:
    await side.board.publish([], {})
    assert dict(await side.statuses()) == {}


async def test_the_hub_finds_its_fields(side: Side) -> None:
    await side.board.publish([], {SALES: {"status": "starting", "pid": "7"}, SUPPORT: {"status": "error"}})
    await side.board.publish([], {SALES: {"status": "running", "pid": "7"}})
    assert dict(await side.hub(SALES)) == {"status": "running", "pid": "7"}
    assert dict(await side.hub(SUPPORT)) == {"status": "error"}


async def test_what_is_gone_is_removed_and_what_the_hub_wrote_itself_stays(side: Side) -> None:
    other = AgentId("not-ours")
    await side.write_as_the_hub(other)
    await side.board.publish([status(ONE), status(TWO)], {SALES: {"status": "running"}, SUPPORT: {"status": "running"}})
    await side.board.keep_only(frozenset({ONE}), frozenset({SALES}))
    assert set(await side.statuses()) == {ONE}
    assert dict(await side.hub(SALES)) == {"status": "running"}
    assert dict(await side.hub(SUPPORT)) == {}
    assert dict(await side.hub(other)) == {"status": "running"}


async def test_keeping_what_is_there_changes_nothing(side: Side) -> None:
    await side.board.publish([status(ONE)], {SALES: {"status": "running"}})
    await side.board.keep_only(frozenset({ONE, TWO}), frozenset({SALES, SUPPORT}))
    assert set(await side.statuses()) == {ONE}
    assert dict(await side.hub(SALES)) == {"status": "running"}


async def test_daemons_are_known_until_they_say_farewell(side: Side) -> None:
    await side.board.announce(daemon("a"), 60)
    await side.board.announce(daemon("b"), 60)
    await side.board.announce(daemon("a"), 60)
    assert await side.daemons() == [daemon("a"), daemon("b")]
    await side.board.farewell("a")
    await side.board.farewell("a")
    assert await side.daemons() == [daemon("b")]


async def test_a_login_is_offered_until_it_is_taken_back(side: Side) -> None:
    first = LoginOffer(kind="qr", data="2@abc", offered_at=1.0)
    second = LoginOffer(kind="code", data="ABCD-EFGH", offered_at=2.0)
    await side.board.offer_login(ONE, first)
    await side.board.offer_login(ONE, second)
    assert await side.offer(ONE) == second
    assert await side.offer(TWO) is None
    await side.board.offer_login(ONE, None)
    await side.board.offer_login(ONE, None)
    assert await side.offer(ONE) is None


async def test_the_login_of_an_integration_that_is_gone_is_no_longer_offered(side: Side) -> None:
    await side.board.publish([status(ONE)], {})
    await side.board.offer_login(ONE, LoginOffer(kind="qr", data="2@abc", offered_at=1.0))
    await side.board.keep_only(frozenset(), frozenset())
    assert await side.offer(ONE) is None
