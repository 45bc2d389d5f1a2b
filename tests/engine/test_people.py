"""Who wrote, for the engine: remembered for a while, asked for once, never a reason for a message to wait or fail."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from tests.fakes.people import FakePeople
from wa_supervisor.domain.errors import StoreUnavailableError
from wa_supervisor.domain.messages import Sender
from wa_supervisor.domain.names import AgentId, ChatId
from wa_supervisor.domain.observations import Observation, Trouble
from wa_supervisor.domain.people import Person, PersonSource, unknown_person
from wa_supervisor.engine.people import CachedPeople, PeoplePolicy

pytestmark = pytest.mark.anyio

SALES, SUPPORT = AgentId("sales"), AgentId("support")
POLICY = PeoplePolicy(remember=3600, remember_unauthenticated=60, size=100, pause=10)
LONG = 1_000_000.0


def number(n: int = 0, name: str = "Ana Souza") -> Sender:
    return Sender(id=ChatId(f"55119{n:08}@c.us"), phone=f"55119{n:08}", name=name)


LID = Sender(id=ChatId("123456789012345@lid"), phone=None, name="Bruno")


def told_nothing(observation: Observation) -> None:
    pytest.fail(f"told {observation}")


class Room:
    """A cache before a fake, and what it told."""

    def __init__(self, policy: PeoplePolicy = POLICY) -> None:
        self.fake = FakePeople()
        self.told: list[Trouble] = []
        self.people = CachedPeople(self.fake, policy, self._hear)

    def _hear(self, observation: Observation) -> None:
        assert isinstance(observation, Trouble)
        self.told.append(observation)

    @property
    def where(self) -> list[str]:
        return [trouble.where for trouble in self.told]

    @property
    def queries(self) -> int:
        return self.fake.calls["get_or_create"]

    def die(self, retry_after: float | None = None) -> None:
        """Make every query fail from now on."""
        self.fake.fail_next("get_or_create", StoreUnavailableError("no route", retry_after=retry_after), times=10**9)

    def revive(self) -> None:
        self.fake._failures.clear()

    async def ask(self, sender: Sender | None = None, agent: AgentId = SALES) -> Person:
        with anyio.fail_after(LONG):
            return await self.people.person(agent, sender or number())


async def test_a_person_is_asked_for_once() -> None:
    room = Room()
    first = await room.ask()
    assert first.is_authenticated
    assert [await room.ask() for _ in range(10)] == [first] * 10
    assert room.queries == 1
    assert room.told == []


async def test_each_agent_has_its_own_answer() -> None:
    room = Room()
    assert (await room.ask(agent=SALES)).is_authenticated
    assert not (await room.ask(agent=SUPPORT)).is_authenticated
    assert room.queries == 2


async def test_a_person_is_asked_for_again_when_the_time_is_up() -> None:
    room = Room()
    await room.ask()
    room.fake.authorisations[SALES, number().id] = False
    await anyio.sleep(3599)
    assert (await room.ask()).is_authenticated
    await anyio.sleep(1)
    assert not (await room.ask()).is_authenticated


async def test_somebody_who_is_not_let_in_is_asked_for_again_sooner() -> None:
    room = Room()
    assert not (await room.ask(LID)).is_authenticated
    room.fake.authorisations[SALES, LID.id] = True
    await anyio.sleep(59)
    assert not (await room.ask(LID)).is_authenticated
    await anyio.sleep(1)
    assert (await room.ask(LID)).is_authenticated


async def test_somebody_who_is_not_let_in_is_not_remembered_for_longer_than_others() -> None:
    room = Room(replace(POLICY, remember=5))
    await room.ask(LID)
    await anyio.sleep(5)
    await room.ask(LID)
    assert room.queries == 2


async def test_the_one_not_seen_for_longest_is_forgotten_first() -> None:
    room = Room(replace(POLICY, size=3))
    for n in (1, 2, 3, 1, 4):  # 2 is the one not seen for longest when 4 comes
        await room.ask(number(n))
    before = room.queries
    for n in (1, 3, 4):
        await room.ask(number(n))
    assert room.queries == before
    await room.ask(number(2))
    assert room.queries == before + 1


@pytest.mark.parametrize("policy", [replace(POLICY, size=0), replace(POLICY, remember=0)])
async def test_nothing_need_be_remembered(policy: PeoplePolicy) -> None:
    room = Room(policy)
    assert await room.ask() == await room.ask()
    assert room.queries == 2


async def test_a_person_without_a_row_is_not_remembered() -> None:
    class Rowless(FakePeople):
        async def get_or_create(self, agent_id: AgentId, sender: Sender) -> Person:
            await super().get_or_create(agent_id, sender)
            return unknown_person(sender)

    rowless = Rowless()
    people = CachedPeople(rowless, POLICY, told_nothing)
    for _ in range(2):
        assert await people.person(SALES, number()) == unknown_person(number())
    assert rowless.calls["get_or_create"] == 2


async def test_calls_for_the_same_person_share_one_query() -> None:
    room = Room()
    room.fake.hold("get_or_create")
    found: list[Person] = []

    async def ask() -> None:
        found.append(await room.ask())

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert room.queries == 1
        room.fake.release("get_or_create")
    assert len(found) == 20
    assert len(set(found)) == 1
    assert room.queries == 1


async def test_calls_for_different_people_do_not_wait_for_each_other() -> None:
    room = Room()
    room.fake.hold("get_or_create")
    async with anyio.create_task_group() as group:
        group.start_soon(room.ask, number(1))
        group.start_soon(room.ask, number(1), SUPPORT)
        group.start_soon(room.ask, number(2))
        await anyio.wait_all_tasks_blocked()
        assert room.queries == 3
        room.fake.release("get_or_create")


async def test_when_the_one_who_asks_is_cancelled_another_takes_over() -> None:
    room = Room()
    room.fake.hold("get_or_create")
    found: list[Person] = []

    async def ask() -> None:
        found.append(await room.ask())

    async with anyio.create_task_group() as group, anyio.create_task_group() as cancelled:
        cancelled.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        cancelled.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.wait_all_tasks_blocked()
            assert room.queries == 2
            room.fake.release("get_or_create")
    assert len(found) == 3
    assert room.queries == 2
    assert room.told == []


async def test_one_who_waits_for_another_may_be_cancelled_alone() -> None:
    room = Room()
    room.fake.hold("get_or_create")
    async with anyio.create_task_group() as group:
        group.start_soon(room.ask)
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(1) as waiting:
            await room.ask()
        assert waiting.cancelled_caught
        room.fake.release("get_or_create")
    assert (await room.ask()).is_authenticated
    assert room.queries == 1


async def test_without_a_database_people_are_what_their_messages_say() -> None:
    people = CachedPeople(None, POLICY, told_nothing)
    assert await people.person(SALES, number()) == unknown_person(number())
    assert repr(people) == "<CachedPeople no database, 0 remembered, 0 being asked for>"


async def test_while_the_database_is_away_people_are_what_their_messages_say() -> None:
    room = Room()
    room.die()
    for n in range(50):
        assert await room.ask(number(n)) == unknown_person(number(n))
    assert room.queries == 1


async def test_while_the_database_is_away_people_are_as_last_known_however_old() -> None:
    room = Room()
    known = await room.ask()
    await anyio.sleep(5000)
    room.die()
    assert await room.ask() == replace(known, source=PersonSource.MEMORY)
    assert await room.ask(number(1)) == unknown_person(number(1))
    await anyio.sleep(LONG / 2)
    assert await room.ask() == replace(known, source=PersonSource.MEMORY)


async def test_a_database_that_is_away_is_asked_once_in_a_pause() -> None:
    room = Room()
    room.die()
    for n in range(101):  # one a second
        await room.ask(number(n))
        await anyio.sleep(1)
    assert room.queries == 11


async def test_the_observer_is_told_once_that_it_is_away_and_once_that_it_is_back() -> None:
    room = Room()
    for _ in range(2):
        room.die()
        for n in range(30):
            await room.ask(number(n))
            await anyio.sleep(5)
        room.revive()
        for n in range(5):
            await anyio.sleep(5)
            await room.ask(number(n))
        await anyio.sleep(5000)
    assert room.where == ["people_away", "people_back"] * 2
    away, back = room.told[:2]
    assert "no route" in away.message
    assert "every 10 s" in away.message
    assert isinstance(away.error, StoreUnavailableError)
    assert back.error is None


async def test_a_database_that_is_back_is_used_after_the_pause() -> None:
    room = Room()
    room.die()
    await room.ask()
    room.revive()
    await anyio.sleep(9.9)
    assert await room.ask() == unknown_person(number())
    await anyio.sleep(0.1)
    assert (await room.ask()).is_authenticated
    assert repr(room.people) == "<CachedPeople available, 1 remembered, 0 being asked for>"


async def test_the_database_may_ask_for_a_longer_pause_not_for_a_shorter_one() -> None:
    room = Room()
    room.die(retry_after=60)
    await room.ask()
    await anyio.sleep(59)
    await room.ask()
    assert room.queries == 1
    room.revive()
    room.die(retry_after=1)
    await anyio.sleep(1)
    await room.ask()
    await anyio.sleep(9)
    await room.ask()
    assert room.queries == 2


async def test_one_finds_out_whether_it_is_back_and_the_others_do_not_wait() -> None:
    room = Room()
    known = await room.ask(number(1))
    await anyio.sleep(5000)
    room.die()
    await room.ask(number(2))
    room.revive()
    room.fake.hold("get_or_create")
    await anyio.sleep(10)
    async with anyio.create_task_group() as group:
        group.start_soon(room.ask, number(3))
        await anyio.wait_all_tasks_blocked()
        before = room.queries
        began = anyio.current_time()
        assert await room.ask(number(1)) == replace(known, source=PersonSource.MEMORY)
        assert await room.ask(number(2)) == unknown_person(number(2))
        assert await room.ask(number(3)) == unknown_person(number(3))
        assert (anyio.current_time(), room.queries) == (began, before)
        assert repr(room.people) == "<CachedPeople away, 1 remembered, 1 being asked for>"
        room.fake.release("get_or_create")
    assert (await room.ask(number(2))).is_authenticated


async def test_when_the_one_who_finds_out_is_cancelled_the_next_does() -> None:
    room = Room()
    room.die()
    await room.ask()
    room.revive()
    room.fake.hold("get_or_create")
    await anyio.sleep(10)
    with anyio.move_on_after(1) as scope:
        await room.ask()
    assert scope.cancelled_caught
    room.fake.release("get_or_create")
    assert (await room.ask()).is_authenticated
    assert room.where == ["people_away", "people_back"]


async def test_queries_that_were_under_way_when_it_went_away_are_told_once() -> None:
    room = Room()
    room.fake.hold("get_or_create")
    room.die()
    async with anyio.create_task_group() as group:
        for n in range(10):
            group.start_soon(room.ask, number(n))
        await anyio.wait_all_tasks_blocked()
        room.fake.release("get_or_create")
    assert room.queries == 10
    assert room.where == ["people_away"]


async def test_those_who_waited_for_a_query_that_failed_go_on_without_one_of_their_own() -> None:
    room = Room()
    room.fake.hold("get_or_create")
    room.die()
    found: list[Person] = []

    async def ask(name: str) -> None:
        found.append(await room.ask(number(1, name)))

    async with anyio.create_task_group() as group:
        for name in ("Ana", "Beatriz"):
            group.start_soon(ask, name)
        await anyio.wait_all_tasks_blocked()
        room.fake.release("get_or_create")
    assert room.queries == 1
    assert sorted(person.first_name for person in found) == ["Ana", "Beatriz"]


async def test_a_failure_that_nobody_foresaw_costs_neither_the_message_nor_anybody_else() -> None:
    room = Room()
    room.fake.fail_next("get_or_create", ZeroDivisionError("oops"))
    assert await room.ask(number(1)) == unknown_person(number(1))
    assert (await room.ask(number(2))).is_authenticated
    assert room.where == ["people"]
    assert isinstance(room.told[0].error, ZeroDivisionError)


async def test_a_failure_that_nobody_foresaw_does_not_end_the_pause() -> None:
    room = Room()
    room.die()
    await room.ask()
    room.revive()
    room.fake.fail_next("get_or_create", ZeroDivisionError("oops"))
    await anyio.sleep(10)
    for _ in range(3):
        assert await room.ask() == unknown_person(number())
    assert room.queries == 2
    await anyio.sleep(10)
    assert (await room.ask()).is_authenticated
    assert room.where == ["people_away", "people", "people_back"]
