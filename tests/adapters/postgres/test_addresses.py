"""Addresses of databases: what they may say, and what an operator reads when they lead nowhere."""

from __future__ import annotations

import anyio
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.adapters.postgres.room import ANA, PATIENCE, SALES, ready
from wa_supervisor.adapters.postgres.people import PostgresPeople
from wa_supervisor.adapters.postgres.policy import PostgresPolicy
from wa_supervisor.domain.errors import ConfigurationError, StoreUnavailableError

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "url", ["postgresql://hub:%zzsecret@h/x", "host=h password='secret", "postgresql://h/?ssl=secret"]
)
def test_an_address_that_cannot_be_read_is_a_mistake_that_shows_nothing_of_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PostgresPeople(url)
    assert "secret" not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None
    assert ("sslmode" in str(caught.value)) is ("ssl=" in url)


async def test_a_server_that_is_not_there_is_said_at_once_and_without_the_password() -> None:
    url = "postgresql://hub:sesame@127.0.0.1:1/hub"
    async with PostgresPeople(url, PostgresPolicy(timeout=PATIENCE)) as people:
        with pytest.raises(StoreUnavailableError) as caught, anyio.fail_after(PATIENCE / 2):
            await people.get_or_create(SALES, ANA)
    message = str(caught.value)
    assert "hub at 127.0.0.1:1" in message
    assert "refused" in message
    assert "see that the server runs" in message
    assert "sesame" not in message
    assert isinstance(caught.value.__cause__, psycopg.OperationalError)


@pytest.mark.parametrize(
    ("change", "advice"),
    [({"dbname": "nowhere"}, "create the database"), ({"user": "nobody"}, "create the database")],
)
async def test_a_refused_login_is_said_in_the_servers_words(
    change: dict[str, str], advice: str, database_url: str
) -> None:
    async with PostgresPeople(make_conninfo(database_url, password="sesame", **change)) as people:
        with pytest.raises(StoreUnavailableError) as caught:
            await people.get_or_create(SALES, ANA)
    (wrong,) = change.values()
    assert wrong in str(caught.value)
    assert "does not exist" in str(caught.value)
    assert advice in str(caught.value)


async def test_what_the_address_says_goes_before_our_own_wishes(database_url: str) -> None:
    async with ready(make_conninfo(database_url, application_name="special")) as people:
        assert await people._connections.fetch("missing") == []
        async with people._connections._lend() as connection:
            assert connection.info.parameter_status("application_name") == "special"
            assert connection.info.parameter_status("client_encoding") == "UTF8"


async def test_people_that_are_not_opened_say_so() -> None:
    with pytest.raises(StoreUnavailableError, match="not open"):
        await PostgresPeople("postgresql:///hub").get_or_create(SALES, ANA)
