"""Port `People`: the hub's rules about who somebody is and whether they are let in, for the fake and for PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import anyio
import psycopg
import pytest

from tests.fakes.people import FakePeople
from wa_supervisor.adapters.postgres.people import PostgresPeople
from wa_supervisor.domain.messages import Sender
from wa_supervisor.domain.names import AgentId, ChatId
from wa_supervisor.domain.people import Person
from wa_supervisor.engine.ports import People

pytestmark = pytest.mark.anyio

SALES, SUPPORT = AgentId("sales"), AgentId("support")


class World(Protocol):
    """What the tests do to the store behind the port's back."""

    @property
    def people(self) -> People:
        """The port."""

    async def decide(self, agent: AgentId, chat: str, *, is_authorized: bool) -> None:
        """Store an operator's answer for a known person."""

    async def take_phone(self, phone: str) -> None:
        """Give the number to somebody on another platform."""

    async def know_agents_only(self, *agents: AgentId) -> None:
        """Make the store one of a hub that knows these agents."""


class FakeWorld:
    def __init__(self) -> None:
        self.people = FakePeople()

    async def decide(self, agent: AgentId, chat: str, *, is_authorized: bool) -> None:
        self.people.authorisations[agent, ChatId(chat)] = is_authorized

    async def take_phone(self, phone: str) -> None:
        self.people.phones_elsewhere.add(phone)

    async def know_agents_only(self, *agents: AgentId) -> None:
        self.people.unknown_agents = {SALES, SUPPORT} - set(agents)


class PostgresWorld:
    def __init__(self, people: PostgresPeople, connection: psycopg.AsyncConnection) -> None:
        self.people = people
        self._connection = connection

    async def decide(self, agent: AgentId, chat: str, *, is_authorized: bool) -> None:
        await self._connection.execute(
            "INSERT INTO agent_user_authorizations (agent_id, user_id, is_authorized)"
            " SELECT %s, id, %s FROM users WHERE platform = 'whatsapp' AND platform_user_id = %s"
            " ON CONFLICT (agent_id, user_id) DO UPDATE SET is_authorized = excluded.is_authorized",
            (agent, is_authorized, chat),
        )

    async def take_phone(self, phone: str) -> None:
        await self._connection.execute(
            "INSERT INTO users (platform, platform_user_id, phone_number) VALUES ('telegram', '1', %s)", (phone,)
        )

    async def know_agents_only(self, *agents: AgentId) -> None:
        await self._connection.execute("CREATE TABLE agent_configs (id text PRIMARY KEY)")
        for agent in agents:
            await self._connection.execute("INSERT INTO agent_configs VALUES (%s)", (agent,))
        await self._connection.execute(
            "ALTER TABLE agent_user_authorizations ADD FOREIGN KEY (agent_id) REFERENCES agent_configs"
        )


@pytest.fixture(params=[("fake", "asyncio"), ("fake", "trio"), ("postgres", "asyncio")], ids="-".join)
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Give which implementation runs on which loop; psycopg knows asyncio only."""
    chosen: tuple[str, str] = request.param
    return chosen


@pytest.fixture
def anyio_backend(kind: tuple[str, str]) -> str:
    return kind[1]


@pytest.fixture
def url(kind: tuple[str, str], request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("database_url")) if kind[0] == "postgres" else ""


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    if not url:
        yield FakeWorld()
        return
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
        PostgresPeople(url) as people,
    ):
        await people.ensure_schema()
        yield PostgresWorld(people, connection)


def number(digits: str, name: str = "Ana Maria de Souza") -> Sender:
    return Sender(id=ChatId(f"{digits}@c.us"), phone=digits, name=name)


def lid(digits: str, phone: str | None = None) -> Sender:
    return Sender(id=ChatId(f"{digits}@lid"), phone=phone, name="Bruno")


async def all_at_once(world: World, *senders: Sender) -> list[Person]:
    found: list[Person] = []

    async def find(sender: Sender) -> None:
        found.append(await world.people.get_or_create(SALES, sender))

    async with anyio.create_task_group() as group:
        for sender in senders:
            group.start_soon(find, sender)
    return found


async def test_a_new_person_with_a_number_is_let_in_at_once(world: World) -> None:
    person = await world.people.get_or_create(SALES, number("5511988887777"))
    assert person == Person(
        platform_user_id=ChatId("5511988887777@c.us"),
        user_id=person.user_id,
        first_name="Ana",
        last_name="Maria de Souza",
        username="Ana",
        phone_number="5511988887777",
        is_authenticated=True,
    )
    assert isinstance(person.user_id, int)


async def test_the_same_person_is_found_again_as_they_were(world: World) -> None:
    first = await world.people.get_or_create(SALES, number("5511988887777"))
    assert await world.people.get_or_create(SALES, number("5511988887777")) == first


async def test_different_people_are_different_users(world: World) -> None:
    one = await world.people.get_or_create(SALES, number("5511988887777"))
    other = await world.people.get_or_create(SALES, number("5511988887778"))
    assert one.user_id != other.user_id


async def test_a_lid_with_the_digits_of_a_number_is_somebody_else(world: World) -> None:
    person = await world.people.get_or_create(SALES, number("5511988887777"))
    stranger = await world.people.get_or_create(SALES, lid("5511988887777"))
    assert stranger.user_id != person.user_id
    assert not stranger.is_authenticated


async def test_a_lid_is_known_but_not_let_in(world: World) -> None:
    person = await world.people.get_or_create(SALES, lid("123456789012345"))
    assert (person.first_name, person.phone_number, person.is_authenticated) == ("Bruno", None, False)


async def test_the_number_that_whatsapp_gave_for_a_lid_is_stored_but_lets_nobody_in(world: World) -> None:
    person = await world.people.get_or_create(SALES, lid("123456789012345", phone="5511988887777"))
    assert (person.phone_number, person.is_authenticated) == ("5511988887777", False)


async def test_a_number_without_a_phone_is_not_let_in(world: World) -> None:
    person = await world.people.get_or_create(SALES, Sender(id=ChatId("0@c.us"), phone=None, name="WhatsApp"))
    assert (person.phone_number, person.is_authenticated) == (None, False)


@pytest.mark.parametrize("answer", [True, False])
async def test_a_known_person_keeps_the_stored_answer(world: World, answer: bool) -> None:
    await world.people.get_or_create(SALES, number("5511988887777"))
    await world.decide(SALES, "5511988887777@c.us", is_authorized=answer)
    person = await world.people.get_or_create(SALES, number("5511988887777"))
    assert person.is_authenticated is answer


async def test_a_lid_that_somebody_let_in_stays_in(world: World) -> None:
    await world.people.get_or_create(SALES, lid("123456789012345"))
    await world.decide(SALES, "123456789012345@lid", is_authorized=True)
    assert (await world.people.get_or_create(SALES, lid("123456789012345"))).is_authenticated


async def test_a_known_person_who_is_new_to_an_agent_is_not_let_in(world: World) -> None:
    at_sales = await world.people.get_or_create(SALES, number("5511988887777"))
    at_support = await world.people.get_or_create(SUPPORT, number("5511988887777"))
    assert at_support.user_id == at_sales.user_id
    assert not at_support.is_authenticated
    assert (await world.people.get_or_create(SALES, number("5511988887777"))).is_authenticated


async def test_a_phone_known_from_another_platform_does_not_keep_its_owner_out(world: World) -> None:
    await world.take_phone("5511988887777")
    person = await world.people.get_or_create(SALES, number("5511988887777"))
    assert (person.phone_number, person.is_authenticated) == (None, True)
    assert await world.people.get_or_create(SALES, number("5511988887777")) == person


async def test_a_phone_stays_with_whoever_had_it_first(world: World) -> None:
    first = await world.people.get_or_create(SALES, lid("123456789012345", phone="5511988887777"))
    second = await world.people.get_or_create(SALES, number("5511988887777"))
    assert (first.phone_number, second.phone_number) == ("5511988887777", None)
    assert second.user_id != first.user_id


async def test_a_stored_name_is_not_replaced(world: World) -> None:
    await world.people.get_or_create(SALES, number("5511988887777", "Ana Maria"))
    person = await world.people.get_or_create(SALES, number("5511988887777", "Party Queen"))
    assert (person.first_name, person.last_name) == ("Ana", "Maria")


async def test_a_missing_name_is_filled_in_when_it_becomes_known(world: World) -> None:
    nameless = await world.people.get_or_create(SALES, number("5511988887777", "  "))
    assert (nameless.first_name, nameless.last_name, nameless.username) == ("", None, None)
    named = await world.people.get_or_create(SALES, number("5511988887777", "Ana Maria"))
    assert (named.first_name, named.last_name, named.username) == ("Ana", "Maria", "Ana")
    assert named.user_id == nameless.user_id
    assert named.is_authenticated
    assert await world.people.get_or_create(SALES, number("5511988887777", "")) == named


async def test_names_with_characters_that_stores_refuse_do_no_harm(world: World) -> None:
    person = await world.people.get_or_create(SALES, number("5511988887777", "A\x00na \ud83d Souza 🎉"))
    assert person.first_name == "Ana"
    assert person.last_name == "? Souza 🎉"
    assert person.is_authenticated


@pytest.mark.parametrize(
    "name",
    ["x" * 100_000, "🎉" * 100_000, "a " * 50_000, "'; DROP TABLE users; --%s{}"],
    ids=["long", "wide", "many words", "SQL"],
)
async def test_names_may_be_anything(world: World, name: str) -> None:
    person = await world.people.get_or_create(SALES, number("5511988887777", name))
    assert person.first_name
    assert name.startswith(person.first_name)
    assert person.is_authenticated


async def test_an_id_with_characters_that_stores_refuse_is_nobody_else(world: World) -> None:
    person = await world.people.get_or_create(SALES, number("5511988887777"))
    odd = Sender(id=ChatId("55119888\x0087777@c.us"), phone=None, name="Eve")
    stranger = await world.people.get_or_create(SALES, odd)
    assert stranger.platform_user_id == odd.id
    assert stranger.user_id != person.user_id
    assert (await world.people.get_or_create(SALES, odd)).user_id == stranger.user_id


async def test_many_calls_for_the_same_new_person_give_the_same_answer(world: World) -> None:
    people = await all_at_once(world, *[number("5511988887777")] * 30)
    assert len(people) == 30
    assert len(set(people)) == 1
    assert people[0].is_authenticated


async def test_new_people_with_the_same_phone_at_once_are_all_stored_and_one_has_it(world: World) -> None:
    senders = [lid(f"1234567890{n:05}", phone="5511988887777") for n in range(20)]
    people = await all_at_once(world, number("5511988887777"), *senders)
    assert len({person.user_id for person in people}) == 21
    assert [person.phone_number for person in people if person.phone_number] == ["5511988887777"]
    assert [person.platform_user_id for person in people if person.is_authenticated] == ["5511988887777@c.us"]


async def test_an_agent_that_the_hub_does_not_know_lets_nobody_in_but_people_are_known(world: World) -> None:
    await world.know_agents_only(SUPPORT)
    person = await world.people.get_or_create(SALES, number("5511988887777"))
    assert isinstance(person.user_id, int)
    assert (person.first_name, person.phone_number, person.is_authenticated) == ("Ana", "5511988887777", False)
    assert (await world.people.get_or_create(SALES, number("5511988887777"))).user_id == person.user_id
    assert (await world.people.get_or_create(SUPPORT, number("5511988887778"))).is_authenticated


async def test_a_cancelled_call_leaves_the_next_one_unharmed(world: World) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await world.people.get_or_create(SALES, number("5511988887777"))
    assert scope.cancelled_caught
    assert (await world.people.get_or_create(SALES, number("5511988887777"))).is_authenticated
