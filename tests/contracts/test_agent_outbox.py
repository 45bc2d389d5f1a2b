"""Port `AgentOutbox`: what agents say on channel and stream, and what is remembered of it, for fake and Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.contracts.redis_sides import KINDS, SOON, clients, eventually, hang_up, real_store
from tests.fakes.outbox import FakeAgentOutbox
from wa_supervisor.adapters.redis.client import RedisClient
from wa_supervisor.adapters.redis.keys import Keys, agent_output
from wa_supervisor.adapters.redis.outbox import RedisAgentOutbox
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.names import AgentId
from wa_supervisor.domain.replies import IncomingReply
from wa_supervisor.engine.ports import AgentOutbox

pytestmark = pytest.mark.anyio

SALES, SUPPORT = AgentId("sales"), AgentId("support")


class Side(Protocol):
    """What the tests do behind the port's back. `outbox` is the living daemon's."""

    @property
    def outbox(self) -> AgentOutbox: ...

    async def publish(self, agent: AgentId, payload: bytes) -> None: ...

    async def add(self, agent: AgentId, payload: bytes) -> str: ...

    async def until_hearing(self, *agents: AgentId) -> None: ...

    async def hang_up(self) -> None: ...

    async def die_and_return(self) -> None: ...

    async def lose(self, agent: AgentId, entry: str) -> None: ...

    async def holder(self, agent: AgentId, entry: str) -> str: ...


class FakeSide:
    def __init__(self) -> None:
        self.outbox = FakeAgentOutbox()

    async def publish(self, agent: AgentId, payload: bytes) -> None:
        await self.outbox.say(agent, payload)

    async def add(self, agent: AgentId, payload: bytes) -> str:
        entry = await self.outbox.say(agent, payload, on="stream")
        assert entry is not None
        return entry

    async def until_hearing(self, *agents: AgentId) -> None:
        await self.outbox.until(lambda: self.outbox.listening("listen") > 0 and self.outbox.followed == set(agents))

    async def hang_up(self) -> None:
        await checkpoint()
        self.outbox.break_off("listen")

    async def die_and_return(self) -> None:
        await checkpoint()
        self.outbox.forget_in_flight()

    async def lose(self, agent: AgentId, entry: str) -> None:
        del agent
        await checkpoint()
        self.outbox.lose(entry)

    async def holder(self, agent: AgentId, entry: str) -> str:
        await checkpoint()
        passed_on = {(reply.agent_id, reply.entry): daemon for reply, daemon in self.outbox.passed_on}
        return passed_on.get((agent, entry), "another")


class RedisSide:
    def __init__(self, store: RedisStore) -> None:
        self._client: RedisClient = store.client
        self.outbox: AgentOutbox = store.outbox
        self._daemons = 1

    async def publish(self, agent: AgentId, payload: bytes) -> None:
        await self._client.call(b"PUBLISH", agent_output(agent), payload)

    async def add(self, agent: AgentId, payload: bytes) -> str:
        entry = await self._client.call(b"XADD", agent_output(agent), b"*", b"payload", payload)
        assert isinstance(entry, bytes)
        return entry.decode()

    async def until_hearing(self, *agents: AgentId) -> None:
        async def exactly_these() -> bool:
            channels = await self._client.call(b"PUBSUB", b"CHANNELS", b"agent:*")
            return isinstance(channels, list) and set(channels) == set(map(agent_output, agents))

        await eventually(exactly_these)

    async def hang_up(self) -> None:
        await hang_up(self._client, "cmd=subscribe")

        async def nobody_listens() -> bool:
            return not await clients(self._client, "cmd=subscribe")

        await eventually(nobody_listens)

    async def die_and_return(self) -> None:
        self._daemons += 1
        await checkpoint()
        # Under another name: the one before is not announced, so it is dead.
        self.outbox = RedisAgentOutbox(self._client, Keys(), f"daemon-{self._daemons}")

    async def lose(self, agent: AgentId, entry: str) -> None:
        await self._client.call(
            b"XCLAIM", agent_output(agent), b"wa-supervisor", b"another", b"0", entry.encode(), b"JUSTID"
        )

    async def holder(self, agent: AgentId, entry: str) -> str:
        asked = (b"XPENDING", agent_output(agent), b"wa-supervisor", entry.encode(), entry.encode(), b"1")
        (row,) = cast("list[list[bytes]]", await self._client.call(*asked))
        return row[1].decode()


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


class Told:
    """Keeps what was delivered."""

    def __init__(self) -> None:
        self.replies: list[IncomingReply] = []
        self._came = anyio.Event()
        self.refusing: bytes | None = None
        """A payload that is not taken: delivering it fails."""

    async def deliver(self, reply: IncomingReply) -> None:
        await checkpoint()
        if reply.payload == self.refusing:
            raise _NotTakenError
        self.replies.append(reply)
        self._came.set()
        self._came = anyio.Event()

    async def until(self, *payloads: bytes) -> None:
        """Wait until all these were delivered, in whatever order."""
        while not set(payloads) <= set(self.payloads):
            await self._came.wait()

    async def until_times(self, times: int, payload: bytes) -> None:
        """Wait until this was delivered so many times."""
        while self.payloads.count(payload) < times:
            await self._came.wait()

    @property
    def payloads(self) -> list[bytes]:
        return [reply.payload for reply in self.replies]

    def reply(self, payload: bytes) -> IncomingReply:
        (found,) = (reply for reply in self.replies if reply.payload == payload)
        return found


class _NotTakenError(Exception):
    pass


@asynccontextmanager
async def listening(side: Side, *agents: AgentId) -> AsyncIterator[Told]:
    """Listen until the end of the block, with a limit on how long that may take."""
    told = Told()
    side.outbox.follow(frozenset(agents))
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as group:
            group.start_soon(side.outbox.listen, told.deliver)
            await side.until_hearing(*agents)
            yield told
            group.cancel_scope.cancel()


async def test_what_is_published_is_delivered_in_order_with_its_bytes_as_they_are(side: Side) -> None:
    said = [b'{"response": "1"}', b"\xff\xfe", b"no json"]
    async with listening(side, SALES) as told:
        for payload in said:
            await side.publish(SALES, payload)
        await told.until(*said)
    assert told.replies == [IncomingReply(agent_id=SALES, payload=payload, entry=None) for payload in said]


async def test_what_is_added_to_the_stream_is_delivered_in_order_with_its_entry(side: Side) -> None:
    async with listening(side, SALES) as told:
        entries = [await side.add(SALES, b"%d" % number) for number in range(20)]
        await told.until(*(b"%d" % number for number in range(20)))
    assert told.replies == [
        IncomingReply(agent_id=SALES, payload=b"%d" % number, entry=entry) for number, entry in enumerate(entries)
    ]


async def test_what_was_added_before_anybody_listened_is_delivered(side: Side) -> None:
    await side.add(SALES, b"early")
    async with listening(side, SALES) as told:
        await told.until(b"early")


async def test_only_the_agents_that_are_followed_are_heard(side: Side) -> None:
    async with listening(side, SALES) as told:
        await side.add(SUPPORT, b"not for us")
        await side.publish(SUPPORT, b"not for us either")
        await side.add(SALES, b"for us")
        await side.publish(SALES, b"for us too")
        await told.until(b"for us", b"for us too")
    assert {reply.agent_id for reply in told.replies} == {SALES}


async def test_whom_to_follow_may_change_while_listening(side: Side) -> None:
    async with listening(side, SALES) as told:
        side.outbox.follow(frozenset({SUPPORT}))
        await side.until_hearing(SUPPORT)
        await side.publish(SALES, b"old")
        await side.publish(SUPPORT, b"new")
        entry = await side.add(SUPPORT, b"new on the stream")
        await told.until(b"new", b"new on the stream")
    assert b"old" not in told.payloads
    assert told.reply(b"new on the stream").entry == entry


async def test_an_unsettled_entry_is_not_delivered_twice_by_one_process(side: Side) -> None:
    await side.add(SALES, b"once")
    for fence in (b"first fence", b"second fence", b"third fence"):
        async with listening(side, SALES) as told:
            await side.add(SALES, fence)
            await told.until(fence)
            assert (b"once" in told.payloads) is (fence == b"first fence")


async def test_a_settled_entry_is_delivered_to_nobody_again(side: Side) -> None:
    await side.add(SALES, b"sent")
    async with listening(side, SALES) as told:
        await told.until(b"sent")
        await side.outbox.begin(told.reply(b"sent"), is_named=True)
        await side.outbox.settle(told.reply(b"sent"))
    await side.die_and_return()
    await side.add(SALES, b"fence")
    async with listening(side, SALES) as told:
        await told.until(b"fence")
    assert told.payloads == [b"fence"]


async def test_an_entry_that_a_dead_daemon_began_says_so_and_one_that_it_did_not_begin_does_not(side: Side) -> None:
    for payload in (b"begun", b"waiting", b"undone"):
        await side.add(SALES, payload)
    async with listening(side, SALES) as told:
        await told.until(b"begun", b"waiting", b"undone")
        await side.outbox.begin(told.reply(b"begun"), is_named=True)
        await side.outbox.begin(told.reply(b"undone"), is_named=True)
        await side.outbox.undo(told.reply(b"undone"))
    await side.die_and_return()
    async with listening(side, SALES) as told:
        await told.until(b"begun", b"waiting", b"undone")
    begun = {reply.payload: reply.begun is not None for reply in told.replies}
    assert begun == {b"begun": True, b"waiting": False, b"undone": False}
    assert [reply.begun.is_named for reply in told.replies if reply.begun] == [True]


async def test_settling_twice_is_settling_once(side: Side) -> None:
    await side.add(SALES, b"sent")
    async with listening(side, SALES) as told:
        await told.until(b"sent")
        await side.outbox.settle(told.reply(b"sent"))
        await side.outbox.settle(told.reply(b"sent"))


async def test_begin_undo_and_settle_do_nothing_for_what_came_on_the_channel(side: Side) -> None:
    async with listening(side, SALES) as told:
        await side.publish(SALES, b"heard")
        await told.until(b"heard")
        reply = told.reply(b"heard")
        await side.outbox.begin(reply, is_named=True)
        await side.outbox.undo(reply)
        await side.outbox.settle(reply)
        side.outbox.give_back(reply)
        await side.publish(SALES, b"fence")
        await told.until(b"fence")
    assert told.payloads == [b"heard", b"fence"]


async def test_a_lost_connection_ends_listening_with_an_error_and_the_next_listening_works(side: Side) -> None:
    async def listen_until_it_ends() -> None:
        async with listening(side, SALES):
            await side.hang_up()
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as ended:
        await listen_until_it_ends()
    assert ended.group_contains(StoreUnavailableError)
    async with listening(side, SALES) as told:
        await side.publish(SALES, b"heard")
        await side.add(SALES, b"read")
        await told.until(b"heard", b"read")


async def test_an_entry_that_could_not_be_delivered_comes_again_with_the_next_listening(side: Side) -> None:
    delivered: list[bytes] = []

    async def listen_until_it_ends() -> None:
        async with listening(side, SALES) as told:
            told.refusing = b"second"
            await told.until(b"first")
            delivered.extend(told.payloads)
            await side.add(SALES, b"second")
            await anyio.sleep_forever()

    await side.add(SALES, b"first")
    with pytest.raises(ExceptionGroup) as ended:
        await listen_until_it_ends()
    assert ended.group_contains(_NotTakenError)
    assert delivered == [b"first"]
    async with listening(side, SALES) as told:
        await told.until(b"second")
    assert told.payloads == [b"second"]


async def test_an_entry_that_is_given_back_is_delivered_again(side: Side) -> None:
    entry = await side.add(SALES, b"homeless")
    async with listening(side, SALES) as told:
        await told.until(b"homeless")
        side.outbox.give_back(told.replies[0])
        await told.until_times(2, b"homeless")
    assert {reply.entry for reply in told.replies} == {entry}


async def test_an_entry_that_was_begun_and_is_given_back_says_so(side: Side) -> None:
    await side.add(SALES, b"begun")
    async with listening(side, SALES) as told:
        await told.until(b"begun")
        await side.outbox.begin(told.replies[0], is_named=True)
        side.outbox.give_back(told.replies[0])
        await told.until_times(2, b"begun")
    assert [reply.begun is not None for reply in told.replies] == [False, True]


async def test_an_entry_given_back_while_nobody_follows_its_agent_waits_until_somebody_does(side: Side) -> None:
    await side.add(SALES, b"homeless")
    async with listening(side, SALES) as told:
        await told.until(b"homeless")
        side.outbox.follow(frozenset({SUPPORT}))
        side.outbox.give_back(told.replies[0])
        await side.add(SUPPORT, b"fence")
        await told.until(b"fence")
        assert told.payloads.count(b"homeless") == 1
        side.outbox.follow(frozenset({SALES}))
        await told.until_times(2, b"homeless")


async def test_two_agents_with_the_same_entry_id_do_not_disturb_each_other(side: Side) -> None:
    async with listening(side, SALES, SUPPORT) as told:
        await side.add(SALES, b"of sales")
        await side.add(SUPPORT, b"of support")
        await told.until(b"of sales", b"of support")
        await side.outbox.settle(told.reply(b"of sales"))
    await side.die_and_return()
    async with listening(side, SALES, SUPPORT) as told:
        await told.until(b"of support")
    assert told.payloads == [b"of support"]


async def test_an_entry_that_another_daemon_took_over_cannot_be_begun(side: Side) -> None:
    entry = await side.add(SALES, b"contested")
    async with listening(side, SALES) as told:
        await told.until(b"contested")
        assert await side.outbox.begin(told.replies[0], is_named=True) is not None
        await side.lose(SALES, entry)
        assert await side.outbox.begin(told.replies[0], is_named=True) is None


async def test_what_came_on_the_channel_may_always_leave(side: Side) -> None:
    async with listening(side, SALES) as told:
        await side.publish(SALES, b"heard")
        await told.until(b"heard")
        may_leave = await side.outbox.begin(told.replies[0], is_named=False)
    assert may_leave is not None
    assert may_leave()


async def test_an_entry_that_is_passed_on_is_not_delivered_here_again(side: Side) -> None:
    await side.add(SALES, b"for another")
    async with listening(side, SALES) as told:
        await told.until(b"for another")
        await side.outbox.pass_on(told.replies[0], "another")
        assert await side.outbox.begin(told.replies[0], is_named=True) is None
        await side.add(SALES, b"fence")
        await told.until(b"fence")
    assert told.payloads == [b"for another", b"fence"]


async def test_a_reply_that_was_begun_twice_is_as_the_last_time_because_it_was_not_sent_the_first(side: Side) -> None:
    named = {b"never": (False, False), b"once": (False, True), b"first": (True, False), b"always": (True, True)}
    for payload in named:
        await side.add(SALES, payload)
    async with listening(side, SALES) as told:
        await told.until(*named)
        for payload, (first, second) in named.items():
            assert await side.outbox.begin(told.reply(payload), is_named=first) is not None
            assert await side.outbox.begin(told.reply(payload), is_named=second) is not None
    await side.die_and_return()
    async with listening(side, SALES) as told:
        await told.until(*named)
    begun = {reply.payload: reply.begun for reply in told.replies}
    assert {payload: one.is_named for payload, one in begun.items() if one} == {
        b"never": False,
        b"once": True,
        b"first": False,
        b"always": True,
    }


async def test_an_entry_that_was_begun_undone_and_begun_again_is_as_the_last_time(side: Side) -> None:
    await side.add(SALES, b"reply")
    async with listening(side, SALES) as told:
        await told.until(b"reply")
        await side.outbox.begin(told.replies[0], is_named=False)
        await side.outbox.undo(told.replies[0])
        await side.outbox.begin(told.replies[0], is_named=True)
        side.outbox.give_back(told.replies[0])
        await told.until_times(2, b"reply")
    begun = told.replies[1].begun
    assert begun is not None
    assert begun.is_named


async def test_an_entry_that_another_daemon_took_over_is_not_ours_to_pass_on(side: Side) -> None:
    entry = await side.add(SALES, b"contested")
    async with listening(side, SALES) as told:
        await told.until(b"contested")
        await side.lose(SALES, entry)
        await side.outbox.pass_on(told.replies[0], "third")
        assert await side.holder(SALES, entry) == "another"


async def test_an_entry_that_is_passed_on_is_the_others(side: Side) -> None:
    entry = await side.add(SALES, b"for another")
    async with listening(side, SALES) as told:
        await told.until(b"for another")
        await side.outbox.pass_on(told.replies[0], "third")
        assert await side.holder(SALES, entry) == "third"
