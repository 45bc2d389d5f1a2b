"""Redis and PostgreSQL as the settings want them: elsewhere, or embedded in this daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr

from wa_supervisor.adapters.postgres.people import PostgresPeople
from wa_supervisor.adapters.redis.address import read_address
from wa_supervisor.adapters.redis.keys import Keys
from wa_supervisor.adapters.redis.store import RedisStore, open_store
from wa_supervisor.config import Settings
from wa_supervisor.daemon.policies import postgres_policy, redis_policy
from wa_supervisor.embedded import embedded_servers


@asynccontextmanager
async def with_servers(settings: Settings) -> AsyncIterator[Settings]:
    """Give settings whose servers can be spoken to; starts the embedded ones if the settings ask for them."""
    if not settings.embedded.enabled:
        yield settings
        return
    async with embedded_servers(Path(settings.embedded.state_dir)) as endpoints:
        redis = settings.redis.model_copy(update={"url": SecretStr(endpoints.redis_url), "password": SecretStr("")})
        postgres = settings.postgres.model_copy(update={"url": SecretStr(endpoints.database_url)})
        yield settings.model_copy(update={"redis": redis, "postgres": postgres})


@asynccontextmanager
async def with_redis(settings: Settings) -> AsyncIterator[RedisStore]:
    """Give the ports that Redis implements."""
    given = settings.redis
    address = read_address(given.url.get_secret_value(), given.password.get_secret_value() or None)
    async with open_store(
        address,
        daemon_id=settings.daemon.id,
        keys=Keys(prefix=given.prefix),
        policy=redis_policy(settings),
        may_configure=given.notifications,
    ) as store:
        yield store


@asynccontextmanager
async def with_people(settings: Settings) -> AsyncIterator[PostgresPeople | None]:
    """Give the people's database, or `None` when none is configured."""
    url = settings.postgres.url.get_secret_value()
    if not url:
        yield None
        return
    async with PostgresPeople(url, postgres_policy(settings)) as people:
        yield people
