"""What the server may forget, as its own settings and its own words say it."""

from __future__ import annotations

import pytest

from tests.adapters.redis_server import own_server
from tests.contracts.redis_sides import real_store
from wa_supervisor.adapters.redis.persistence import Persistence, read_persistence

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def persistence(
    *,
    appendonly: bool | None = True,
    appendfsync: str | None = "always",
    save: str | None = "",
    maxmemory: int | None = 0,
    maxmemory_policy: str | None = "noeviction",
) -> Persistence:
    return Persistence(
        appendonly=appendonly,
        appendfsync=appendfsync,
        save=save,
        maxmemory=maxmemory,
        maxmemory_policy=maxmemory_policy,
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (persistence(), ()),
        (persistence(appendfsync="everysec"), ("last second", "appendfsync always")),
        (persistence(appendfsync="no"), ("half a minute", "appendfsync everysec")),
        (persistence(appendonly=False), ("no snapshots either", "appendonly yes")),
        (persistence(appendonly=False, save="3600 1 300 100"), ("the last snapshot", "appendonly yes")),
        (persistence(maxmemory=1, maxmemory_policy="allkeys-lru"), ("allkeys-lru", "maxmemory-policy noeviction")),
        (persistence(maxmemory=1), ()),
        (persistence(maxmemory_policy="allkeys-lru"), ()),
    ],
)
def test_every_weakness_is_one_sentence_that_says_what_mends_it(settings: Persistence, words: tuple[str, ...]) -> None:
    said = settings.weaknesses()
    assert len(said) == bool(words)
    assert all(word in said[0] for word in words)


def test_two_weaknesses_are_two_sentences() -> None:
    assert len(persistence(appendonly=False, maxmemory=1, maxmemory_policy="volatile-ttl").weaknesses()) == 2


def test_of_what_the_server_does_not_say_nothing_is_claimed() -> None:
    assert read_persistence({}, "").weaknesses() == ()
    assert read_persistence({}, "aof_enabled:1\r\n").weaknesses() == ()
    (said,) = read_persistence({}, "# Persistence\r\nloading:0\r\naof_enabled:0\r\n").weaknesses()
    assert "no snapshots" not in said  # whether there are any was not said


@pytest.mark.parametrize(
    ("settings", "keeps"),
    [
        (persistence(), True),
        (persistence(appendfsync="everysec"), True),
        (persistence(appendfsync=None), True),
        (persistence(appendfsync="no"), False),
        (persistence(appendonly=False), False),
        (persistence(appendonly=None), False),
        (persistence(maxmemory=1, maxmemory_policy="allkeys-lru"), False),
    ],
)
def test_nearly_all_is_kept_only_where_that_is_certain(settings: Persistence, keeps: bool) -> None:
    assert settings.keeps_nearly_all is keeps


async def test_it_is_read_from_a_server_as_it_is_set() -> None:
    with own_server() as server:
        async with real_store(server.url) as store:
            assert await store.persistence() == persistence(appendonly=False, appendfsync="everysec")
    # Switched on while it runs, it would begin to write files in the background.
    with own_server("--appendonly", "yes") as server:
        async with real_store(server.url) as store:
            for name, value in (
                (b"appendfsync", b"no"),
                (b"save", b"3600 1"),
                (b"maxmemory", b"1gb"),
                (b"maxmemory-policy", b"volatile-lru"),
            ):
                await store.client.call(b"CONFIG", b"SET", name, value)
            assert await store.persistence() == persistence(
                appendfsync="no", save="3600 1", maxmemory=1024**3, maxmemory_policy="volatile-lru"
            )


async def test_a_server_that_does_not_let_its_settings_be_read_says_what_it_may() -> None:
    with own_server("--appendonly", "yes") as server:
        async with real_store(server.url) as store:
            await store.client.call(b"ACL", b"SETUSER", b"default", b"-config")
            silent = persistence(appendfsync=None, save=None, maxmemory=None, maxmemory_policy=None)
            assert await store.persistence() == silent
            await store.client.call(b"ACL", b"SETUSER", b"default", b"-info")
            assert (await store.persistence()).appendonly is None
