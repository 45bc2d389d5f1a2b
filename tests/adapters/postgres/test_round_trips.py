"""Every look-up of a person, whatever becomes of it, is one round trip on the wire, once a connection is warm."""

from __future__ import annotations

import pytest

from tests.adapters.postgres.proxy import proxied
from tests.adapters.postgres.room import ANA, LID, SALES, ready, somebody
from wa_supervisor.adapters.postgres.people import PostgresPeople
from wa_supervisor.adapters.postgres.policy import PostgresPolicy
from wa_supervisor.domain.messages import Sender

pytestmark = pytest.mark.anyio


async def round_trips(database_url: str, *senders: Sender) -> list[int]:
    counts = []
    async with proxied(database_url) as proxy, PostgresPeople(proxy.url, PostgresPolicy(connections=1)) as people:
        await people.ensure_schema()
        await people.get_or_create(SALES, somebody(0))  # which prepares the statement
        for sender in senders:
            before = proxy.round_trips
            await people.get_or_create(SALES, sender)
            counts.append(proxy.round_trips - before)
    return counts


async def test_an_unknown_person_costs_one(database_url: str) -> None:
    assert await round_trips(database_url, ANA, LID) == [1, 1]


async def test_a_known_person_costs_one(database_url: str) -> None:
    assert await round_trips(database_url, *[ANA] * 8) == [1] * 8


async def test_a_phone_that_somebody_has_costs_no_second(database_url: str) -> None:
    other = Sender(id=LID.id, phone=ANA.phone, name="Bruno")
    assert await round_trips(database_url, ANA, other) == [1, 1]


async def test_a_name_that_is_filled_in_costs_no_second(database_url: str) -> None:
    nameless = Sender(id=ANA.id, phone=ANA.phone, name="")
    assert await round_trips(database_url, nameless, ANA) == [1, 1]


@pytest.mark.usefixtures("people")
async def test_tables_that_are_there_cost_one_look(database_url: str) -> None:
    async with proxied(database_url) as proxy, PostgresPeople(proxy.url) as second:
        await second.ensure_schema()
        assert proxy.round_trips == 1


async def test_a_new_connection_costs_one_more_to_prepare(database_url: str) -> None:
    async with ready(database_url), proxied(database_url) as proxy, PostgresPeople(proxy.url) as people:
        await people.get_or_create(SALES, ANA)
        assert (proxy.round_trips, proxy.messages["P"], proxy.messages["B"]) == (2, 1, 1)


async def test_unprepared_it_is_one_from_the_first(database_url: str) -> None:
    unprepared = PostgresPolicy(prepares=False)
    async with ready(database_url), proxied(database_url) as proxy, PostgresPeople(proxy.url, unprepared) as people:
        for n in range(10):
            await people.get_or_create(SALES, somebody(n))
        assert proxy.round_trips == 10
