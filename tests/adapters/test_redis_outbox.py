"""What is particular to hearing agents over Redis: doorbells, broken keys, dead daemons, streams that stay small."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint

from tests.adapters.redis_server import own_server
from tests.contracts.redis_sides import SOON, clients, eventually, hang_up, real_store
from wa_supervisor.adapters.redis.keys import Keys, agent_output
from wa_supervisor.adapters.redis.outbox import RedisAgentOutbox
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.names import AgentId
from wa_supervisor.domain.replies import Begun, IncomingReply
from wa_supervisor.domain.status import DaemonStatus

pytestmark = pytest.mark.anyio

SALES, SUPPORT = AgentId("sales"), AgentId("support")
OUT = agent_output(SALES)
GROUP = b"wa-supervisor"

ON_A_RING_ONLY = RedisPolicy(sweep=3600, tidy=3600)
"""A daemon that would look for itself only after the test is over."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    async with real_store(redis_url) as store:
        yield store


class Told:
    def __init__(self) -> None:
        self.replies: list[IncomingReply] = []
        self._came = anyio.Event()

    async def deliver(self, reply: IncomingReply) -> None:
        await checkpoint()
        self.replies.append(reply)
        self._came.set()
        self._came = anyio.Event()

    async def until(self, *payloads: bytes) -> None:
        while not set(payloads) <= set(self.payloads):
            await self._came.wait()

    async def until_count(self, count: int) -> None:
        while len(self.replies) < count:
            await self._came.wait()

    @property
    def payloads(self) -> list[bytes]:
        return [reply.payload for reply in self.replies]


@asynccontextmanager
async def listening(store: RedisStore, outbox: RedisAgentOutbox, *agents: AgentId) -> AsyncIterator[Told]:
    told = Told()
    outbox.follow(frozenset(agents))
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as group:
            group.start_soon(outbox.listen, told.deliver)
            await eventually(lambda: are_heard(store, agents))
            yield told
            group.cancel_scope.cancel()


async def are_heard(store: RedisStore, agents: Sequence[AgentId]) -> bool:
    channels = cast("list[bytes]", await store.client.call(b"PUBSUB", b"CHANNELS", b"agent:*"))
    return set(map(agent_output, agents)) <= set(channels)


async def add(store: RedisStore, payload: bytes, agent: AgentId = SALES) -> str:
    return cast("bytes", await store.client.call(b"XADD", agent_output(agent), b"*", b"payload", payload)).decode()


async def length(store: RedisStore) -> int:
    return cast("int", await store.client.call(b"XLEN", OUT))


async def pending(store: RedisStore) -> int:
    return cast("list[int]", await store.client.call(b"XPENDING", OUT, GROUP))[0]


async def consumers(store: RedisStore) -> list[bytes]:
    rows = cast("list[list[bytes]]", await store.client.call(b"XINFO", b"CONSUMERS", OUT, GROUP))
    return [row[1] for row in rows]


def alive(name: str) -> DaemonStatus:
    return DaemonStatus(
        id=name, host="h", pid=1, version="1", started_at=0, observed_at=0, ready=True, sessions=0, by_state={}
    )


class TestDoorbell:
    """Publishing anything on the channel has the stream read at once."""

    @pytest.mark.parametrize("ring", [b"", b"{}", b" \n", b'{"channel": "telegram"}', b"\xff"])
    async def test_any_publication_has_the_stream_read(self, redis_url: str, ring: bytes) -> None:
        quiet = real_store(redis_url, policy=ON_A_RING_ONLY)
        async with quiet as store, listening(store, store.outbox, SALES) as told:
            await add(store, b"fence")
            await store.client.call(b"PUBLISH", OUT, b"")
            await told.until(b"fence")
            await add(store, b"reply")
            await store.client.call(b"PUBLISH", OUT, ring)
            await told.until(b"reply")

    async def test_a_bare_ring_is_not_delivered(self, store: RedisStore) -> None:
        async with listening(store, store.outbox, SALES) as told:
            for ring in (b"", b"{}", b"  "):
                await store.client.call(b"PUBLISH", OUT, ring)
            await store.client.call(b"PUBLISH", OUT, b"a reply")
            await told.until(b"a reply")
        assert told.payloads == [b"a reply"]

    async def test_an_agent_that_never_rings_is_read_with_the_next_sweep(self, store: RedisStore) -> None:
        async with listening(store, store.outbox, SALES) as told:
            for number in range(5):
                await add(store, b"%d" % number)
                await told.until(b"%d" % number)


class TestEntries:
    """What may stand in a stream."""

    async def test_the_replys_own_fields_may_be_the_entrys_fields(self, store: RedisStore) -> None:
        fields = {"chat_id": "1@c.us", "response": "olá", "channel": "whatsapp"}
        words = [word.encode() for pair in fields.items() for word in pair]
        await store.client.call(b"XADD", OUT, b"*", *words)
        async with listening(store, store.outbox, SALES) as told:
            await told.until_count(1)
        assert msgspec.json.decode(told.replies[0].payload) == fields

    async def test_fields_that_are_no_text_do_not_stop_the_stream(self, store: RedisStore) -> None:
        await store.client.call(b"XADD", OUT, b"*", b"\xff", b"\xfe")
        await add(store, b"\xff\xfe raw")
        async with listening(store, store.outbox, SALES) as told:
            await told.until(b"\xff\xfe raw")
        assert len(told.replies) == 2

    async def test_long_streams_are_read_whole_and_in_order(self, store: RedisStore) -> None:
        said = [b"%d" % number for number in range(450)]
        await store.client.call_all([(b"XADD", OUT, b"*", b"payload", payload) for payload in said])
        async with listening(store, store.outbox, SALES) as told:
            await told.until(*said)
        assert told.payloads == said
        again = RedisAgentOutbox(store.client, Keys(), "one")
        async with listening(store, again, SALES) as told:
            await told.until(*said)
        assert told.payloads == said

    async def test_more_agents_than_are_asked_at_once_are_all_read(self, redis_url: str) -> None:
        agents = [AgentId(f"agent-{number}") for number in range(25)]
        async with real_store(redis_url, policy=RedisPolicy(sweep=0.02, batch=10)) as store:
            for agent in agents:
                await add(store, agent.encode(), agent)
            async with listening(store, store.outbox, *agents) as told:
                await told.until(*(agent.encode() for agent in agents))
                for agent in agents:
                    await store.client.call(b"PUBLISH", agent_output(agent), b"heard " + agent.encode())
                await told.until(*(b"heard " + agent.encode() for agent in agents))

    async def test_an_entry_that_vanished_from_its_stream_is_settled(self, store: RedisStore) -> None:
        gone = await add(store, b"gone")
        async with listening(store, store.outbox, SALES) as told:
            await told.until(b"gone")
        await store.client.call(b"XDEL", OUT, gone.encode())
        again = RedisAgentOutbox(store.client, Keys(), "one")
        async with listening(store, again, SALES) as told:
            await add(store, b"fence")
            await told.until(b"fence")
            await again.settle(told.replies[0])
        assert told.payloads == [b"fence"]
        assert await pending(store) == 0


class TestBrokenKeys:
    """One agent's trouble stays that agent's."""

    async def test_a_key_of_a_wrong_type_does_not_stop_the_others_and_is_told_once(
        self, store: RedisStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        await store.client.call(b"SET", agent_output(SUPPORT), b"no stream")
        with caplog.at_level(logging.WARNING):
            async with listening(store, store.outbox, SALES, SUPPORT) as told:
                for number in range(3):
                    await add(store, b"%d" % number)
                    await told.until(b"%d" % number)
                await store.client.call(b"PUBLISH", agent_output(SUPPORT), b"heard all the same")
                await told.until(b"heard all the same")
        assert [record.message for record in caplog.records] == ["an output stream cannot be read"]
        assert "rename or delete" in str(vars(caplog.records[0])["why"])

    async def test_a_key_that_turns_wrong_while_listening_does_not_stop_the_others(self, store: RedisStore) -> None:
        async with listening(store, store.outbox, SALES, SUPPORT) as told:
            await add(store, b"before", SUPPORT)
            await told.until(b"before")
            await store.client.call(b"DEL", agent_output(SUPPORT))
            await store.client.call(b"SET", agent_output(SUPPORT), b"no stream")
            for number in range(3):
                await add(store, b"%d" % number)
                await told.until(b"%d" % number)
            await store.client.call(b"DEL", agent_output(SUPPORT))
            await add(store, b"mended", SUPPORT)
            await told.until(b"mended")

    async def test_marks_of_a_wrong_type_keep_no_other_agents_replies_back(
        self, store: RedisStore, redis_url: str
    ) -> None:
        await add(store, b"of support", SUPPORT)
        await add(store, b"of sales")
        async with listening(store, store.outbox, SALES, SUPPORT) as told:
            await told.until(b"of support", b"of sales")
            (ours,) = (reply for reply in told.replies if reply.agent_id == SALES)
            await store.outbox.begin(ours, is_named=True)
        await store.client.call(b"SET", b"wa:sending:support", b"no hash")
        async with real_store(redis_url) as again, listening(again, again.outbox, SALES, SUPPORT) as told:
            await told.until(b"of support", b"of sales")
            (ours,) = (reply for reply in told.replies if reply.agent_id == SALES)
            (theirs,) = (reply for reply in told.replies if reply.agent_id == SUPPORT)
            assert ours.begun is not None
            with pytest.raises(StoreUnavailableError, match="of another type"):  # so it is not sent
                await again.outbox.begin(theirs, is_named=True)

    @pytest.mark.parametrize("mark", [b"", b"1", b"[]", b'"text"', b"{", b'{"at": "x", "named": 1}', b"\xff"])
    async def test_marks_that_somebody_wrote_say_that_it_was_begun_and_no_more(
        self, store: RedisStore, redis_url: str, mark: bytes
    ) -> None:
        entry = await add(store, b"reply")
        async with listening(store, store.outbox, SALES) as told:
            await told.until(b"reply")
        await store.client.call(b"HSET", b"wa:sending:sales", entry.encode(), mark)
        async with real_store(redis_url) as again, listening(again, again.outbox, SALES) as told:
            await told.until(b"reply")
            assert told.replies[0].begun == Begun(at=0.0, is_named=False)
            assert await again.outbox.begin(told.replies[0], is_named=True) is not None

    async def test_a_stream_that_is_deleted_is_made_anew(self, store: RedisStore) -> None:
        async with listening(store, store.outbox, SALES, SUPPORT) as told:
            entry = await add(store, b"before")
            await told.until(b"before")
            await eventually(lambda: is_later_than(store, entry))  # another id: this one is under way
            await store.client.call(b"FLUSHALL")
            await add(store, b"after")
            await told.until(b"after")


async def is_later_than(store: RedisStore, entry: str) -> bool:
    seconds, micros = cast("tuple[bytes, bytes]", await store.client.call(b"TIME"))
    return int(seconds) * 1000 + int(micros) // 1000 > int(entry.partition("-")[0])


class TestOtherDaemons:
    """Whose replies are taken over, and whose are not."""

    async def leave(self, store: RedisStore, daemon: str) -> None:
        """Have a daemon take an entry up, begin to send it, and end."""
        dead = RedisAgentOutbox(store.client, Keys(), daemon)
        await add(store, b"left")
        async with listening(store, dead, SALES) as told:
            await told.until(b"left")
            await dead.begin(told.replies[0], is_named=True)

    async def test_what_a_dead_daemon_left_is_taken_over_while_listening(self, store: RedisStore) -> None:
        async with listening(store, store.outbox, SALES) as told:
            await add(store, b"mine")
            await told.until(b"mine")
            await store.outbox.settle(told.replies[0])
            await store.client.call(b"XADD", OUT, b"*", b"payload", b"left")
            await store.client.call(b"XREADGROUP", b"GROUP", GROUP, b"dead", b"COUNT", b"1", b"STREAMS", OUT, b">")
            await told.until(b"left")

    async def test_what_was_begun_by_it_says_so_and_the_dead_is_forgotten(self, store: RedisStore) -> None:
        await self.leave(store, "dead")
        async with listening(store, store.outbox, SALES) as told:
            await told.until(b"left")
            assert told.replies[0].begun is not None
            await eventually(lambda: only_consumer(store, b"one"))

    async def test_what_a_living_daemon_holds_is_left_to_it(self, store: RedisStore) -> None:
        await store.board.announce(alive("living"), 60)
        await self.leave(store, "living")
        async with listening(store, store.outbox, SALES) as told:
            dead = await add(store, b"of a dead one")
            await store.client.call(b"XCLAIM", OUT, GROUP, b"dead", b"0", dead.encode())
            await told.until(b"of a dead one")
            assert told.payloads.count(b"left") == 0
            await store.board.farewell("living")
            await told.until(b"left")

    async def test_a_daemon_that_only_just_died_may_come_back_for_its_own(self, redis_url: str) -> None:
        async with real_store(redis_url, policy=RedisPolicy(sweep=0.02, tidy=0.02, claim_after=3600)) as store:
            await self.leave(store, "dead")
            async with listening(store, store.outbox, SALES) as told:
                for number in range(5):
                    await add(store, b"%d" % number)
                    await told.until(b"%d" % number)
            assert b"left" not in told.payloads
            async with listening(store, RedisAgentOutbox(store.client, Keys(), "dead"), SALES) as told:
                await told.until(b"left")
            assert told.replies[0].begun is not None

    async def test_what_a_stopped_daemon_takes_back_is_its_own_mark_and_not_that_of_who_took_over(
        self, store: RedisStore
    ) -> None:
        entry = await add(store, b"reply")
        async with listening(store, store.outbox, SALES) as told:
            await told.until(b"reply")
            reply = told.replies[0]
            await store.outbox.begin(reply, is_named=True)
            two = RedisAgentOutbox(store.client, Keys(), "two")
            await store.client.call(b"XCLAIM", OUT, GROUP, b"two", b"0", entry.encode(), b"JUSTID")
            await two.begin(reply, is_named=True)
            await store.outbox.undo(reply)
            assert await store.client.call(b"HLEN", b"wa:sending:sales") == 1
            await two.undo(reply)
            assert await store.client.call(b"HLEN", b"wa:sending:sales") == 0

    async def test_what_is_passed_on_is_delivered_to_the_other_with_what_is_known_of_it(
        self, store: RedisStore, redis_url: str
    ) -> None:
        await store.board.announce(alive("one"), 60)
        await store.board.announce(alive("two"), 60)
        for payload in (b"fresh", b"begun"):
            await add(store, payload)
        async with real_store(redis_url, "two") as two, listening(store, store.outbox, SALES) as told:
            await told.until(b"fresh", b"begun")
            async with listening(two, two.outbox, SALES) as to_two:
                for reply in told.replies:
                    if reply.payload == b"begun":
                        await store.outbox.begin(reply, is_named=True)
                    await store.outbox.pass_on(reply, "two")
                await to_two.until(b"fresh", b"begun")
                begun = {reply.payload: reply.begun is not None for reply in to_two.replies}
                for reply in to_two.replies:
                    assert await two.outbox.begin(reply, is_named=True) is not None
        assert begun == {b"fresh": False, b"begun": True}
        assert told.payloads == [b"fresh", b"begun"]

    async def test_two_daemons_that_take_over_at_once_deliver_it_once(self, redis_url: str) -> None:
        policy = RedisPolicy(sweep=0.02, tidy=0.02, claim_after=1.0)
        async with real_store(redis_url, policy=policy) as store:
            await store.board.announce(alive("two"), 60)
            await store.board.announce(alive("three"), 60)
            await self.leave(store, "dead")
            two, three = (RedisAgentOutbox(store.client, Keys(), name) for name in ("two", "three"))
            async with listening(store, two, SALES) as to_two, listening(store, three, SALES) as to_three:
                await eventually(lambda: is_held_by(store, (b"two", b"three")))
                await eventually(lambda: is_delivered(to_two, to_three))
                for fence in (b"1", b"2", b"3", b"4"):
                    await add(store, fence)
                    await eventually(partial(is_delivered, to_two, to_three, fence))
            assert (to_two.payloads + to_three.payloads).count(b"left") == 1


async def test_what_is_given_back_for_an_agent_that_went_elsewhere_is_taken_over_by_whoever_follows_it(
    store: RedisStore, redis_url: str
) -> None:
    await store.board.announce(alive("one"), 60)
    async with listening(store, store.outbox, SALES) as told:
        await add(store, b"moved")
        await told.until(b"moved")
        store.outbox.follow(frozenset())
        store.outbox.give_back(told.replies[0])
        async with real_store(redis_url, "two") as other, listening(other, other.outbox, SALES) as elsewhere:
            await elsewhere.until(b"moved")


async def only_consumer(store: RedisStore, name: bytes) -> bool:
    return await consumers(store) == [name]


async def is_held_by(store: RedisStore, names: tuple[bytes, ...]) -> bool:
    rows = cast("list[list[bytes]]", await store.client.call(b"XPENDING", OUT, GROUP, b"-", b"+", b"10"))
    return any(row[1] in names for row in rows)


async def is_delivered(one: Told, two: Told, payload: bytes = b"left") -> bool:
    await checkpoint()
    return payload in one.payloads + two.payloads


class TestBounds:
    """A stream stays small without losing what nobody has seen to."""

    async def test_settled_entries_are_trimmed_when_a_stream_is_too_long(self, redis_url: str) -> None:
        policy = RedisPolicy(sweep=0.02, tidy=0.02, replies_maxlen=200)
        async with real_store(redis_url, policy=policy) as store:
            said = [b"%d" % number for number in range(1000)]
            await store.client.call_all([(b"XADD", OUT, b"*", b"payload", payload) for payload in said])
            async with listening(store, store.outbox, SALES) as told:
                await told.until(*said)
                for reply in told.replies:
                    await store.outbox.settle(reply)
                await eventually(lambda: is_short(store, 200))

    async def test_unsettled_entries_are_never_trimmed_and_it_is_told_once(
        self, redis_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        policy = RedisPolicy(sweep=0.02, tidy=0.02, replies_maxlen=200)
        async with real_store(redis_url, policy=policy) as store:
            said = [b"%d" % number for number in range(500)]
            await store.client.call_all([(b"XADD", OUT, b"*", b"payload", payload) for payload in said])
            with caplog.at_level(logging.WARNING):
                async with listening(store, store.outbox, SALES) as told:
                    await told.until(*said)
                    for reply in told.replies[250:]:
                        await store.outbox.settle(reply)
                    await eventually(lambda: is_said(caplog))
                    for fence in (b"a", b"b", b"c"):
                        await add(store, fence)
                        await told.until(fence)
            assert await length(store) == 503
            assert [record.message for record in caplog.records] == ["an output stream is too long"]

    async def test_settling_leaves_no_mark_behind(self, store: RedisStore) -> None:
        await add(store, b"reply")
        async with listening(store, store.outbox, SALES) as told:
            await told.until(b"reply")
            await store.outbox.begin(told.replies[0], is_named=True)
            key = b"wa:sending:sales"
            assert await store.client.call(b"HKEYS", key) == [(told.replies[0].entry or "").encode()]
            assert await store.client.call(b"TTL", key) == -1  # it must outlive a daemon that is stopped for days
            await store.outbox.settle(told.replies[0])
            assert await store.client.call(b"EXISTS", key) == 0

    async def test_a_reply_that_was_begun_may_leave_only_while_nobody_else_can_have_it(self, redis_url: str) -> None:
        async with real_store(redis_url, policy=RedisPolicy(sweep=0.02, tidy=0.02, claim_after=0.2)) as store:
            await add(store, b"reply")
            async with listening(store, store.outbox, SALES) as told:
                await told.until(b"reply")
                may_leave = await store.outbox.begin(told.replies[0], is_named=True)
                assert may_leave is not None
                await eventually(lambda: is_over(may_leave))
                again = await store.outbox.begin(told.replies[0], is_named=True)
                assert again is not None

    async def test_what_a_server_forgets_to_be_settled_is_not_delivered_again(self, store: RedisStore) -> None:
        await add(store, b"sent")
        async with listening(store, store.outbox, SALES) as told:
            await told.until(b"sent")
            kept = await store.client.call(b"DUMP", OUT)  # with the entry unacknowledged
            await store.outbox.settle(told.replies[0])
            await store.client.call(b"RESTORE", OUT, b"0", cast("bytes", kept), b"REPLACE")
            await add(store, b"next")
            await told.until(b"next")
            await eventually(lambda: is_pending(store, 1))
        assert told.payloads == [b"sent", b"next"]

    async def test_a_reply_of_twenty_megabytes_is_delivered_like_any_other(self, store: RedisStore) -> None:
        async with listening(store, store.outbox, SALES) as told:
            await add(store, b"x" * 20_000_000)
            await store.client.call(b"PUBLISH", OUT, b"y" * 20_000_000)
            await eventually(lambda: has_two(told.payloads))
            await add(store, b"small")
            await told.until(b"small")


async def is_over(may_leave: Callable[[], bool]) -> bool:
    await checkpoint()
    return not may_leave()


async def is_pending(store: RedisStore, count: int) -> bool:
    answer = cast("list[object]", await store.client.call(b"XPENDING", OUT, GROUP))
    return answer[0] == count


async def has_two(payloads: list[bytes]) -> bool:
    await checkpoint()
    return len(payloads) == 2


async def is_said(log: pytest.LogCaptureFixture) -> bool:
    await checkpoint()
    return bool(log.records)


async def test_a_server_that_refuses_everybody_ends_the_listening() -> None:
    with own_server() as server:
        async with real_store(server.url) as store:
            await store.client.call(b"CONFIG", b"SET", b"maxmemory", b"1")
            store.outbox.follow(frozenset({SALES}))
            with anyio.fail_after(SOON), pytest.raises(StoreUnavailableError, match="maxmemory"):
                await store.outbox.listen(Told().deliver)


async def is_short(store: RedisStore, bound: int) -> bool:
    return await length(store) <= bound


async def test_a_server_killed_and_started_again_ends_one_listening_and_serves_the_next() -> None:
    with own_server("--appendonly", "yes", "--appendfsync", "always") as server:
        async with real_store(server.url) as store:
            await add(store, b"first")
            first = Told()
            store.outbox.follow(frozenset({SALES}))
            await ended_by(lambda: kill_when_told(first, server.kill), store, first)
            with pytest.raises(StoreUnavailableError):
                await store.outbox.listen(first.deliver)
            server.start()
            with pytest.raises(StoreUnavailableError, match="began anew"):
                await store.ping()
            async with listening(store, store.outbox, SALES) as second:
                await add(store, b"second")
                await second.until(b"second")
            assert second.payloads == [b"second"]


async def kill_when_told(told: Told, kill: Callable[[], None]) -> None:
    await told.until(b"first")
    kill()


async def test_a_lost_connection_of_the_calls_ends_the_listening_too(store: RedisStore, redis_url: str) -> None:
    store.outbox.follow(frozenset({SALES}))
    await ended_by(lambda: cut_off(store, redis_url), store, Told())
    async with listening(store, store.outbox, SALES) as told:
        await add(store, b"read")
        await told.until(b"read")


async def ended_by(disturb: Callable[[], Awaitable[None]], store: RedisStore, told: Told) -> None:
    """Listen, disturb, and see the listening end with our error."""
    errors: list[StoreUnavailableError] = []

    async def listen() -> None:
        try:
            await store.outbox.listen(told.deliver)
        except StoreUnavailableError as error:
            errors.append(error)

    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await disturb()
    assert len(errors) == 1


async def cut_off(store: RedisStore, url: str) -> None:
    await eventually(lambda: are_heard(store, [SALES]))
    number = cast("int", await store.client.call(b"CLIENT", b"ID"))
    async with real_store(url) as other:
        await hang_up(other.client, f"id={number} ")


async def test_listening_cancelled_at_any_step_leaves_no_connection_and_loses_nothing(store: RedisStore) -> None:
    store.outbox.follow(frozenset({SALES, SUPPORT}))
    told = Told()
    await store.client.call(b"PING")
    before = await clients(store.client, "")
    for steps in range(80):
        await add(store, b"%d" % steps)
        async with anyio.create_task_group() as group:
            group.start_soon(store.outbox.listen, told.deliver)
            for _ in range(steps):
                await checkpoint()
            group.cancel_scope.cancel()
    await eventually(lambda: only_these(store, before))
    said = [b"%d" % steps for steps in range(80)]
    async with listening(store, store.outbox, SALES) as last:
        await last.until(*(set(said) - set(told.payloads)))
    assert sorted(told.payloads + last.payloads) == sorted(said)


async def only_these(store: RedisStore, connections: list[int]) -> bool:
    return await clients(store.client, "") == connections


@pytest.mark.parametrize("name", ["begin", "undo", "settle", "pass_on"])
async def test_a_call_cancelled_at_any_step_leaves_the_next_one_unharmed(store: RedisStore, name: str) -> None:
    entry = await add(store, b"reply")
    reply = IncomingReply(agent_id=SALES, payload=b"reply", entry=entry)
    await store.client.call(b"XGROUP", b"CREATE", OUT, GROUP, b"0")
    calls: dict[str, Callable[[IncomingReply], Coroutine[object, object, object]]] = {
        "begin": partial(store.outbox.begin, is_named=True),
        "undo": store.outbox.undo,
        "settle": store.outbox.settle,
        "pass_on": partial(store.outbox.pass_on, daemon="another"),
    }
    for steps in range(30):
        async with anyio.create_task_group() as group:
            group.start_soon(calls[name], reply)
            for _ in range(steps):
                await checkpoint()
            group.cancel_scope.cancel()
        with anyio.fail_after(SOON):
            await store.outbox.begin(reply, is_named=True)
            await store.outbox.settle(reply)
