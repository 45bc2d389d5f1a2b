"""What is particular to handing messages over by a script in Redis."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import cast

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.adapters.redis_server import own_server
from tests.contracts.redis_sides import SOON, clients, eventually, real_store
from wa_supervisor.adapters.redis.address import read_address
from wa_supervisor.adapters.redis.entries import read_entries
from wa_supervisor.adapters.redis.keys import agent_input
from wa_supervisor.adapters.redis.policy import RedisPolicy
from wa_supervisor.adapters.redis.refusals import RefusalError
from wa_supervisor.adapters.redis.store import RedisStore
from wa_supervisor.adapters.redis.subscription import Heard, Subscription
from wa_supervisor.adapters.redis.wire import open_wire
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.marks import Mark
from wa_supervisor.domain.message_ids import Identity
from wa_supervisor.domain.names import AgentId, ChatId, GatewayName, IntegrationId, SessionName, StanzaId
from wa_supervisor.engine.ports import HandedOver, HandOver, SeenBefore

pytestmark = pytest.mark.anyio

SALES = AgentId("sales")
STREAM = agent_input(SALES)
CHAT = ChatId("5511988887777@c.us")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    async with real_store(redis_url) as store:
        yield store


def usual_payload(stanza: str) -> bytes:
    return msgspec.json.encode({"text": "private", "message_id": f"false_{CHAT}_{stanza}"})


def message(stanza: str, payload: bytes | None = None, chat: ChatId = CHAT) -> HandOver:
    identity = Identity(
        gateway=GatewayName("main"), session=SessionName("s1"), stanza=StanzaId(stanza), from_me=False, group=None
    )
    return HandOver(
        agent_id=SALES,
        integration_id=IntegrationId("one"),
        identity=identity,
        chat=chat,
        payload=usual_payload(stanza) if payload is None else payload,
        marks_typing=True,
    )


def seen(handover: HandOver) -> bytes:
    return b"wa:seen:" + handover.identity.key.encode()


async def fields(store: RedisStore) -> list[dict[bytes, bytes]]:
    entries = read_entries(await store.client.call(b"XRANGE", STREAM, b"-", b"+"))
    return [dict(entry.fields or {}) for entry in entries]


async def seconds_left(store: RedisStore, key: bytes) -> int:
    return cast("int", await store.client.call(b"TTL", key))


async def test_a_stream_reader_finds_who_and_what_beside_the_payload(store: RedisStore) -> None:
    handover = message("A1")
    answer = await store.inbox.hand_over(handover)
    assert isinstance(answer, HandedOver)
    assert await fields(store) == [
        {
            b"payload": handover.payload,
            b"integration_id": b"one",
            b"session": b"s1",
            b"message_id": b"false_5511988887777@c.us_A1",
        }
    ]
    assert await store.client.call(b"GET", seen(handover)) == answer.entry.encode()


async def test_a_payload_that_names_no_message_is_known_by_its_stanza(store: RedisStore) -> None:
    await store.inbox.hand_over(message("A1", b"no json"))
    await store.inbox.hand_over(message("A2", b"{}"))
    assert [entry[b"message_id"] for entry in await fields(store)] == [b"A1", b"A2"]


async def test_what_is_remembered_is_forgotten_in_time(redis_url: str) -> None:
    policy = RedisPolicy(seen_ttl=1000, owner_ttl=2000, typing_ttl=3000)
    async with real_store(redis_url, policy=policy) as store:
        await store.inbox.hand_over(message("A1"))
        assert 990 < await seconds_left(store, seen(message("A1"))) <= 1000
        assert 1990 < await seconds_left(store, b"wa:chat:sales:5511988887777@c.us") <= 2000
        assert 2990 < await seconds_left(store, b"wa:typing:one") <= 3000


async def test_an_agents_stream_is_bounded(redis_url: str) -> None:
    async with real_store(redis_url, policy=RedisPolicy(stream_maxlen=100)) as store:
        async with anyio.create_task_group() as group:
            for number in range(1000):
                group.start_soon(store.inbox.hand_over, message(f"A{number}"))
        length = cast("int", await store.client.call(b"XLEN", STREAM))
    assert 100 <= length <= 300  # about the bound: whole nodes of a hundred entries are trimmed


async def test_today_s_agent_hears_the_payload_on_the_channel_after_it_is_in_the_stream(store: RedisStore) -> None:
    heard: list[bytes] = []
    lengths: list[object] = []
    begun, done = anyio.Event(), anyio.Event()

    async def take(what: Heard) -> None:
        if what.payload is None:
            begun.set()
            return
        heard.append(what.payload)
        lengths.append(await store.client.call(b"XLEN", STREAM))
        done.set()

    subscription = Subscription(store.client.address, store.client.policy, [STREAM])
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as group:
            group.start_soon(subscription.listen, take)
            await begun.wait()
            await store.inbox.hand_over(message("A1", b"\xff\x00"))
            await done.wait()
            group.cancel_scope.cancel()
    assert heard == [b"\xff\x00"]
    assert lengths == [1]


async def test_two_daemons_with_the_same_messages_at_the_same_time_hand_each_over_once(redis_url: str) -> None:
    answers: dict[str, list[HandedOver | SeenBefore]] = {}

    async def hand_over(store: RedisStore, stanza: str) -> None:
        answers.setdefault(stanza, []).append(await store.inbox.hand_over(message(stanza)))

    async with real_store(redis_url, "one") as one, real_store(redis_url, "two") as two:
        async with anyio.create_task_group() as group:
            for number in range(300):
                group.start_soon(hand_over, one, f"A{number}")
                group.start_soon(hand_over, two, f"A{number}")
        assert await one.client.call(b"XLEN", STREAM) == 300
    assert all(sum(isinstance(answer, HandedOver) for answer in pair) == 1 for pair in answers.values())
    assert all(len(pair) == 2 for pair in answers.values())


async def test_a_server_that_forgot_the_script_is_given_it_again(store: RedisStore) -> None:
    for stanza in ("A1", "A2"):
        await store.client.call(b"SCRIPT", b"FLUSH")
        assert isinstance(await store.inbox.hand_over(message(stanza)), HandedOver)
    assert isinstance(await store.inbox.hand_over(message("A2")), SeenBefore)


async def test_a_user_who_may_not_publish_is_told_so_and_the_message_is_not_lost(
    redis_url: str, store: RedisStore
) -> None:
    await store.client.call(b"ACL", b"SETUSER", b"narrow", b"on", b"nopass", b"~*", b"+@all", b"resetchannels")
    async with real_store(redis_url) as narrow:
        await narrow.client.call(b"AUTH", b"narrow", b"any")
        with pytest.raises(RefusalError, match="ACL SETUSER"):
            await narrow.inbox.hand_over(message("A1"))
    await store.client.call(b"ACL", b"DELUSER", b"narrow")
    assert isinstance(await store.inbox.hand_over(message("A1")), HandedOver)


async def test_a_full_server_refuses_and_the_message_is_not_lost() -> None:
    with own_server() as server:
        async with real_store(server.url) as store:
            await store.client.call(b"CONFIG", b"SET", b"maxmemory", b"1")
            with pytest.raises(RefusalError, match="maxmemory"):
                await store.inbox.hand_over(message("A1"))
            await store.client.call(b"CONFIG", b"SET", b"maxmemory", b"0")
            assert isinstance(await store.inbox.hand_over(message("A1")), HandedOver)


async def test_keys_of_a_wrong_type_beside_the_stream_do_not_lose_the_message(store: RedisStore) -> None:
    await store.client.call(b"SET", b"wa:typing:one", b"no set")
    assert isinstance(await store.inbox.hand_over(message("A1")), HandedOver)
    assert len(await fields(store)) == 1


async def test_a_refusal_names_the_stream_and_nothing_private(store: RedisStore) -> None:
    await store.client.call(b"SET", STREAM, b"no stream")
    with pytest.raises(RefusalError) as error:
        await store.inbox.hand_over(message("A1"))
    assert "agent:sales:input" in str(error.value)
    assert "5511988887777" not in str(error.value)
    assert "private" not in str(error.value)


async def test_ids_that_are_no_text_are_keys_all_the_same(store: RedisStore) -> None:
    odd = ChatId("\ud800@c.us")
    assert isinstance(await store.inbox.hand_over(message("\udfff", b"{}", odd)), HandedOver)
    assert isinstance(await store.inbox.hand_over(message("\udfff", b"{}", odd)), SeenBefore)
    assert await store.inbox.owner_of(SALES, odd) == "one"


async def test_a_call_cancelled_at_any_step_leaves_no_connection_and_the_next_one_works(redis_url: str) -> None:
    async with real_store(redis_url, "observer") as observer:
        await observer.client.call(b"PING")
        before = await clients(observer.client, "")
        for steps in range(40):
            async with real_store(redis_url) as store:
                async with anyio.create_task_group() as group:
                    group.start_soon(store.inbox.hand_over, message(f"A{steps}"))
                    for _ in range(steps):
                        await checkpoint()
                    group.cancel_scope.cancel()
                with anyio.fail_after(SOON):
                    await store.inbox.hand_over(message(f"A{steps}"))
        await eventually(lambda: only_these(observer, before))
        assert await observer.client.call(b"XLEN", STREAM) == 40


async def test_an_unreachable_server_is_an_error_at_once() -> None:
    async with real_store("unix:///tmp/there-is-no-such-socket") as store:
        with pytest.raises(StoreUnavailableError, match=r"redis\.url"):
            await store.inbox.hand_over(message("A1"))


async def only_these(observer: RedisStore, connections: list[int]) -> bool:
    return await clients(observer.client, "") == connections


class Ear:
    """Keeps what was heard."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.began = anyio.Event()
        self._came = anyio.Event()

    async def take(self, heard: Heard) -> None:
        await checkpoint()
        if heard.payload is None:
            self.began.set()
            return
        self.payloads.append(heard.payload)
        self._came.set()
        self._came = anyio.Event()

    async def until(self, count: int) -> None:
        while len(self.payloads) < count:
            await self._came.wait()


@asynccontextmanager
async def hearing(url: str, agent: AgentId) -> AsyncIterator[Ear]:
    """Listen to an agent's channel as an agent does, on a connection of its own."""
    ear = Ear()
    subscription = Subscription(read_address(url), RedisPolicy(), [agent_input(agent)])
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as group:
            group.start_soon(subscription.listen, ear.take)
            await ear.began.wait()
            yield ear
            group.cancel_scope.cancel()
    async with real_store(url, "observer") as observer:
        await eventually(lambda: is_left(observer, agent))


async def is_left(observer: RedisStore, agent: AgentId) -> bool:
    answer = cast("list[object]", await observer.client.call(b"PUBSUB", b"NUMSUB", agent_input(agent)))
    return answer[1] == 0


# --- bounds


BOUND = RedisPolicy(stream_maxlen=100)


async def fill(store: RedisStore, count: int) -> int:
    """Hand so many messages over; give how many that nobody had are said to be gone."""
    dropped = 0
    for number in range(count):
        answer = await store.inbox.hand_over(message(f"B{number}"))
        assert isinstance(answer, HandedOver)
        dropped += answer.dropped
    return dropped


async def test_the_bound_counts_exactly_what_nobody_had_heard(redis_url: str) -> None:
    async with real_store(redis_url, policy=BOUND) as store:
        dropped = await fill(store, 350)
        length = cast("int", await store.client.call(b"XLEN", STREAM))
        assert 100 <= length < 120
        (waiting,) = await store.inbox.publish_waiting()
        assert (waiting.waiting, waiting.lost, waiting.published) == (length, 0, 0)
        assert dropped == 350 - length


async def test_the_bound_counts_exactly_what_a_group_had_not_read_or_not_acknowledged(redis_url: str) -> None:
    async with real_store(redis_url, policy=BOUND) as store:
        await store.client.call(b"XGROUP", b"CREATE", STREAM, b"readers", b"0", b"MKSTREAM")
        assert await fill(store, 50) == 0
        read = (b"XREADGROUP", b"GROUP", b"readers", b"me", b"COUNT", b"50", b"STREAMS", STREAM, b">")
        await store.client.call(*read)
        pending = cast("list[list[bytes]]", await store.client.call(b"XPENDING", STREAM, b"readers", b"-", b"+", b"50"))
        for row in pending[10:]:
            await store.client.call(b"XACK", STREAM, b"readers", row[0])
        dropped = 0
        for number in range(100):
            answer = await store.inbox.hand_over(message(f"C{number}"))
            assert isinstance(answer, HandedOver)
            dropped += answer.dropped
        length = cast("int", await store.client.call(b"XLEN", STREAM))
        gone = 150 - length
        assert gone >= 10
        assert dropped == 10 + max(0, gone - 50)  # read and not acknowledged, and those not read


async def test_what_waits_too_long_is_given_up_and_what_is_gone_is_counted(redis_url: str) -> None:
    async with real_store(redis_url, policy=RedisPolicy(unheard_longest=0.001)) as store:
        await fill(store, 5)
        too_old = 0

        async def are_given_up() -> bool:
            nonlocal too_old
            too_old += sum(each.too_old for each in await store.inbox.publish_waiting())
            return too_old == 5

        await eventually(are_given_up)
        assert list(await store.inbox.publish_waiting()) == []
    async with real_store(redis_url) as store:
        for number in range(5):
            await store.inbox.hand_over(message(f"D{number}"))
        await store.client.call(b"DEL", STREAM)
        (found,) = await store.inbox.publish_waiting()
        assert (found.lost, found.waiting) == (5, 0)


async def test_two_daemons_that_publish_at_once_publish_nothing_twice(store: RedisStore, redis_url: str) -> None:
    await fill(store, 500)
    heard: list[bytes] = []
    begun = anyio.Event()

    async def take(one: Heard) -> None:
        await checkpoint()
        if one.payload is None:
            begun.set()
        else:
            heard.append(one.payload)

    subscription = Subscription(store.client.address, store.client.policy, [STREAM])
    async with real_store(redis_url, "two") as other, anyio.create_task_group() as tasks:
        tasks.start_soon(subscription.listen, take)
        await begun.wait()
        async with anyio.create_task_group() as both:
            for _ in range(5):
                both.start_soon(store.inbox.publish_waiting)
                both.start_soon(other.inbox.publish_waiting)
        with anyio.fail_after(SOON):
            while len(heard) < 500:  # noqa: ASYNC110  # the server does not say when
                await anyio.sleep(0.005)
        tasks.cancel_scope.cancel()
    assert heard == [usual_payload(f"B{number}") for number in range(500)]


async def test_a_key_of_a_wrong_type_keeps_no_other_agent_waiting(store: RedisStore) -> None:
    await fill(store, 1)
    await store.client.call(b"SADD", b"wa:unheard", b"broken")
    await store.client.call(b"SET", b"wa:unheard:broken", b"no hash")
    (found,) = await store.inbox.publish_waiting()
    assert (found.agent_id, found.waiting) == (SALES, 1)


async def test_what_is_pending_for_ever_hides_nothing_that_the_bound_takes_later(redis_url: str) -> None:
    """Entries that went from the stream stay pending in their group until somebody acknowledges them."""
    async with real_store(redis_url, policy=BOUND) as store:
        await store.client.call(b"XGROUP", b"CREATE", STREAM, b"readers", b"0", b"MKSTREAM")
        dropped = 0
        for number in range(400):
            answer = await store.inbox.hand_over(message(f"C{number}"))
            assert isinstance(answer, HandedOver)
            dropped += answer.dropped
            await store.client.call(b"XREADGROUP", b"GROUP", b"readers", b"me", b"STREAMS", STREAM, b">")
        assert dropped == 400 - cast("int", await store.client.call(b"XLEN", STREAM))


async def test_what_somebody_took_out_of_the_middle_is_lost_and_keeps_nothing_waiting(
    store: RedisStore, redis_url: str
) -> None:
    async with hearing(redis_url, SALES):
        await fill(store, 10)  # heard, so that the stream is longer than what waits
    for number in range(5):
        await store.inbox.hand_over(message(f"D{number}"))
    entries = read_entries(await store.client.call(b"XRANGE", STREAM, b"-", b"+"))
    for entry in entries[-3:-1]:
        await store.client.call(b"XDEL", STREAM, entry.id.encode())
    async with hearing(redis_url, SALES) as heard:
        (found,) = await store.inbox.publish_waiting()
        assert (found.published, found.lost, found.waiting) == (3, 2, 0)
        answer = await store.inbox.hand_over(message("D5"))
        assert isinstance(answer, HandedOver)
        assert (answer.listeners, answer.is_waiting) == (1, False)
        await heard.until(4)
    assert heard.payloads == [usual_payload(f"D{number}") for number in (0, 1, 4, 5)]


async def test_an_agent_that_listens_by_a_pattern_hears_what_waited(store: RedisStore, redis_url: str) -> None:
    await fill(store, 150)
    async with open_wire(read_address(redis_url), store.client.policy) as wire:
        await wire.send([(b"PSUBSCRIBE", b"agent:*:input")])
        await wire.receive("listening", within=SOON)
        (found,) = await store.inbox.publish_waiting()
        assert (found.published, found.waiting) == (150, 0)
        for number in range(150):
            answer = cast("list[bytes]", await wire.receive("listening", within=SOON))
            assert answer[3] == usual_payload(f"B{number}")


async def test_a_user_who_may_not_ask_who_listens_publishes_all_the_same(store: RedisStore, redis_url: str) -> None:
    await fill(store, 3)
    narrow = (b"on", b"nopass", b"~*", b"&*", b"+@all", b"-pubsub")
    await store.client.call(b"ACL", b"SETUSER", b"narrow", *narrow)
    async with real_store(redis_url) as other:
        await other.client.call(b"AUTH", b"narrow", b"any")
        (found,) = await other.inbox.publish_waiting()
        assert (found.published, found.waiting) == (0, 3)
        async with hearing(redis_url, SALES) as heard:
            (found,) = await other.inbox.publish_waiting()
            assert (found.published, found.waiting) == (3, 0)
            await heard.until(3)
    await store.client.call(b"ACL", b"DELUSER", b"narrow")


async def test_looking_for_listeners_in_vain_writes_nothing() -> None:
    """It is done every second, for every agent that is away; what is written goes to disk and to replicas."""
    with own_server() as server:
        async with real_store(server.url) as store:
            await fill(store, 3)
            await store.inbox.publish_waiting()
            before = await changes(store)
            for _ in range(5):
                (found,) = await store.inbox.publish_waiting()
                assert (found.published, found.waiting) == (0, 3)
            assert await changes(store) == before


async def changes(store: RedisStore) -> str:
    info = cast("bytes", await store.client.call(b"INFO", b"persistence")).decode()
    return next(line for line in info.splitlines() if line.startswith("rdb_changes_since_last_save:"))


async def test_so_much_waits_that_it_is_published_in_several_calls_and_none_is_cut_off(
    store: RedisStore, redis_url: str
) -> None:
    big = [b"%d" % number + b"x" * 1_000_000 for number in range(40)]
    for number, payload in enumerate(big):
        await store.inbox.hand_over(message(f"B{number}", payload))
    async with hearing(redis_url, SALES) as heard:
        waiting = len(big)
        while waiting:
            (found,) = await store.inbox.publish_waiting()
            assert 1 <= found.published <= 5
            waiting = found.waiting
            await heard.until(len(big) - waiting)
        await heard.until(len(big))
    assert heard.payloads == big


async def test_nothing_that_waited_too_long_is_published_however_much_it_is(redis_url: str) -> None:
    async with real_store(redis_url) as store:
        await fill(store, 1200)
    async with real_store(redis_url, policy=RedisPolicy(unheard_longest=0)) as store:
        await anyio.sleep(0.002)  # the last one is older than nothing once the millisecond is over
        async with hearing(redis_url, SALES) as heard:
            first = await store.inbox.publish_waiting()
            second = await store.inbox.publish_waiting()
            assert [(each.too_old, each.waiting) for each in (*first, *second)] == [(1000, 200), (200, 0)]
        assert heard.payloads == []


async def test_a_channel_that_is_not_permitted_keeps_no_other_agent_waiting(store: RedisStore, redis_url: str) -> None:
    await fill(store, 1)
    await store.inbox.hand_over(replace(message("C"), agent_id=AgentId("forbidden")))
    narrow = (b"on", b"nopass", b"~*", b"+@all", b"resetchannels", b"&agent:sales:*")
    await store.client.call(b"ACL", b"SETUSER", b"narrow", *narrow)
    async with real_store(redis_url) as other:
        await other.client.call(b"AUTH", b"narrow", b"any")
        (found,) = await other.inbox.publish_waiting()
    await store.client.call(b"ACL", b"DELUSER", b"narrow")
    assert (found.agent_id, found.waiting) == (SALES, 1)


@pytest.mark.parametrize(
    "stop", [(b"CONFIG", b"SET", b"maxmemory", b"1"), (b"REPLICAOF", b"127.0.0.1", b"1")], ids=["full", "replica"]
)
async def test_a_server_that_refuses_to_note_what_was_published_publishes_nothing(stop: tuple[bytes, ...]) -> None:
    with own_server() as server:
        async with real_store(server.url) as store:
            await fill(store, 1100)  # more than one call publishes
            async with hearing(server.url, SALES) as heard:
                await store.client.call(*stop)
                for _ in range(2):
                    with pytest.raises(RefusalError):
                        await store.inbox.publish_waiting()
                await store.client.call(b"PUBLISH", STREAM, b"fence")
                await heard.until(1)
            assert heard.payloads == [b"fence"]


async def test_a_user_who_may_not_see_groups_is_told_so_and_the_message_is_not_lost(
    redis_url: str, store: RedisStore
) -> None:
    await store.inbox.hand_over(message("A1"))
    narrow = (b"on", b"nopass", b"~*", b"&*", b"+@all", b"-xinfo")
    await store.client.call(b"ACL", b"SETUSER", b"narrow", *narrow)
    async with real_store(redis_url) as other:
        await other.client.call(b"AUTH", b"narrow", b"any")
        with pytest.raises(RefusalError):
            await other.inbox.hand_over(message("A2"))
    await store.client.call(b"ACL", b"DELUSER", b"narrow")
    assert isinstance(await store.inbox.hand_over(message("A2")), HandedOver)


@pytest.mark.parametrize("name", ["marks", "advance", "forget_marks", "publish_waiting"])
async def test_the_other_calls_cancelled_at_any_step_leave_the_next_one_unharmed(redis_url: str, name: str) -> None:
    gateway, session = GatewayName("main"), SessionName("s1")
    for steps in range(25):
        async with real_store(redis_url) as store:
            inbox, mark = store.inbox, Mark(chat=CHAT, message_id="M", at=steps)
            calls: dict[str, Callable[[], Coroutine[object, object, object]]] = {
                "marks": lambda: inbox.marks(gateway, session, 1.0),  # noqa: B023  # called before the next turn
                "advance": lambda: inbox.advance(gateway, session, mark),  # noqa: B023  # as above
                "forget_marks": lambda: inbox.forget_marks(gateway, session, [mark]),  # noqa: B023  # as above
                "publish_waiting": inbox.publish_waiting,
            }
            await inbox.hand_over(message(f"A{steps}"))
            async with anyio.create_task_group() as group:
                group.start_soon(calls[name])
                for _ in range(steps):
                    await checkpoint()
                group.cancel_scope.cancel()
            with anyio.fail_after(SOON):
                await inbox.advance(gateway, session, mark)
                assert (await inbox.marks(gateway, session, 1.0)).by_chat == {CHAT: mark}
                (found,) = await inbox.publish_waiting()
                assert found.waiting == steps + 1


@asynccontextmanager
async def hearing_to_the_end(store: RedisStore, url: str, agent: AgentId, heard: list[bytes]) -> AsyncIterator[None]:
    """Listen until the end of the block, and then to what was published before it."""
    async with hearing(url, agent) as ear:
        yield
        await store.client.call(b"PUBLISH", agent_input(agent), b"fence")
        while b"fence" not in ear.payloads:
            await ear.until(len(ear.payloads) + 1)
    heard += ear.payloads[:-1]


STEPS = st.lists(st.one_of(st.integers(1, 40), st.sampled_from(["publish", "listen", "leave"])), max_size=10)
"""A number: so many messages come."""


@given(steps=STEPS)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_under_a_bound_everything_is_heard_once_in_order_or_counted_as_dropped(
    redis_url: str, steps: list[int | str]
) -> None:
    agent = AgentId(uuid.uuid4().hex)  # the server stays the same over all examples
    said, dropped = list[bytes](), 0
    heard: list[bytes] = []
    async with real_store(redis_url, policy=RedisPolicy(stream_maxlen=20)) as store:
        async with AsyncExitStack() as ears:
            for step in [*steps, "listen", "publish"]:
                if isinstance(step, int):
                    for _ in range(step):
                        said.append(b"%d" % len(said))
                        answer = await store.inbox.hand_over(
                            replace(message(f"{agent}-{len(said)}", said[-1]), agent_id=agent)
                        )
                        assert isinstance(answer, HandedOver)
                        dropped += answer.dropped
                elif step == "publish":
                    assert not any(each.lost for each in await store.inbox.publish_waiting())
                else:
                    await ears.aclose()
                if step == "listen":
                    await ears.enter_async_context(hearing_to_the_end(store, redis_url, agent, heard))
        assert not [each for each in await store.inbox.publish_waiting() if each.agent_id == agent]
    assert len(heard) + dropped == len(said)
    assert heard == sorted(set(heard), key=int)
