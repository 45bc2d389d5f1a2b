"""Every setting arrives where it is meant to, and nowhere else.

Everything that the composition root builds is built twice, with one setting changed, and compared. A setting that is
not named below is expected in the policy of its section under its own name, so a new one that nobody maps fails here.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.daemon.fingerprint import Path, differences, fingerprint
from wa_supervisor.config import DaemonSettings, GatewaySettings, PostgresSettings, RedisSettings, Settings
from wa_supervisor.config.catalogue import FILE, GATEWAYS, Key, all_keys, dotted
from wa_supervisor.daemon import policies
from wa_supervisor.daemon.stores import with_people, with_redis
from wa_supervisor.daemon.supervision import build_rooms, build_supervisor
from wa_supervisor.daemon.telling import Telling
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.engine.backlog import Backlog

MAIN = GatewayName("main")

SETTINGS = Settings(
    daemon=DaemonSettings(id="here"),
    redis=RedisSettings(url=SecretStr("unix:///nowhere/redis.sock")),
    postgres=PostgresSettings(url=SecretStr("postgresql:///people?host=/nowhere")),
    gateways={MAIN: GatewaySettings(url="http://127.0.0.1:1")},
)

POLICY_OF = {
    "sessions": "SessionPolicy",
    "inbound": "InboundPolicy",
    "outbound": "OutboundPolicy",
    "typing": "TypingPolicy",
    "people": "PeoplePolicy",
    "wish": "SupervisorPolicy",
    "redis": "RedisPolicy",
    "postgres": "PostgresPolicy",
    GATEWAYS: "GatePolicy",
}

ARRIVES: Mapping[str, set[str]] = {
    "daemon.id": {"Telling._id", "OutputStreams._consumer"},
    "daemon.shutdown_timeout": {"SupervisorPolicy.drain_timeout", "SupervisorPolicy.cancel_timeout"},
    "daemon.lease_ttl": {"SupervisorPolicy.lease_ttl"},
    "redis.url": {"RedisAddress.socket"},
    "redis.password": {"RedisAddress.password"},
    "redis.prefix": {"Keys.prefix"},
    "redis.notifications": {"RedisWish._may_configure"},
    "postgres.url": {"host"},
    "postgres.pool_size": {"PostgresPolicy.connections"},
    "wish.default_gateway": {"Defaults.gateway"},
    "wish.default_session": {"Defaults.session"},
    "inbound.seen_ttl": {"RedisPolicy.seen_ttl"},
    "inbound.owner_ttl": {"RedisPolicy.owner_ttl"},
    "inbound.stream_maxlen": {"RedisPolicy.stream_maxlen"},
    "inbound.queue_total": {"InboundPolicy.queue_total"},
    "inbound.catch_up_horizon": {"InboundPolicy.horizon"},
    "inbound.catch_up_settle": {"InboundPolicy.settle"},
    "inbound.catch_up_routine": {"InboundPolicy.routine"},
    "inbound.unheard_longest": {"RedisPolicy.unheard_longest"},
    "outbound.check_numbers": {"OutboundPolicy.checks_numbers"},
    "outbound.name_messages": {"OutboundPolicy.names_messages"},
    "outbound.receipts_maxlen": {"RedisPolicy.receipts_maxlen"},
    "outbound.ack_timeout": {"OutboundPolicy.ack_timeout", "SessionPolicy.silent_send"},
    "outbound.sweep": {"RedisPolicy.sweep"},
    "outbound.claim_after": {"RedisPolicy.claim_after"},
    "people.cache_ttl": {"PeoplePolicy.remember"},
    "people.cache_size": {"PeoplePolicy.size"},
    "dead_letters.maxlen": {"RedisPolicy.dead_maxlen"},
    "events.maxlen": {"RedisPolicy.events_maxlen"},
    "events.buffer": {"SupervisorPolicy.events_kept"},
    "status.ttl": {"SupervisorPolicy.status_ttl", "RedisPolicy.hub_ttl"},
    "status.refresh": {"SupervisorPolicy.status_refresh"},
    "metrics.per_session": {"Sessions._per_session"},
    "gateways.main.url": {"Wire.url", "SocketIoEvents._url"},
    "gateways.main.secret": {"Tokens._secret"},
    "gateways.main.token": {"Tokens._default"},
    "gateways.main.socketio_path": {"SocketIoEvents._path"},
    "gateways.main.requests_at_once": {"WirePolicy.requests_at_once"},
    "gateways.main.request_timeout": {"HttpGateway._request_timeout"},
    "gateways.main.send_timeout": {"HttpGateway._send_timeout"},
    "gateways.main.max_event_bytes": {"SocketIoEvents._max_event_bytes"},
}

NOT_AS_IT_IS = {"daemon.shutdown_timeout", "redis.url", "postgres.url", "gateways.main.socketio_path"}
"""What arrives as something made of it."""

BEFORE_ANYTHING_IS_BUILT = {
    "admin.enabled": "test_daemon",
    "admin.host": "test_daemon",
    "admin.port": "test_daemon",
    "embedded.enabled": "test_daemon",
    "embedded.state_dir": "test_daemon",
    "daemon.log_level": "test_signals",
    "daemon.log_format": "test_signals",
}
"""What the daemon or the command uses by itself, and which tests show that."""

KEYS = [key for key in all_keys(["main"]) if not key[-1].endswith(FILE)]
"""All but the names of files, of which the loader makes values."""

BUILT_FROM = [key for key in KEYS if dotted(key) not in BEFORE_ANYTHING_IS_BUILT]

ENGINES_OWN = {
    "SessionPolicy.close_timeout",
    "SessionPolicy.call_timeout",
    "SessionPolicy.store_timeout",
    "GatePolicy.failing_least",
    "GatePolicy.catch_up_share",
    "GatePolicy.catch_ups_at_once",
    "SupervisorPolicy.shrink_look",
    "InboundPolicy.retry_initial",
    "InboundPolicy.retry_max",
    "InboundPolicy.page",
    "InboundPolicy.undecrypted",
    "InboundPolicy.publish_every",
    "OutboundPolicy.typing_longest",
    "OutboundPolicy.settle_failed",
    "TypingPolicy.off_timeout",
    "SupervisorPolicy.retry_initial",
    "SupervisorPolicy.retry_max",
    "SupervisorPolicy.close_tries",
    "SupervisorPolicy.close_look",
}
"""Numbers of the engine that no setting changes."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Redis and PostgreSQL are spoken to on asyncio."""
    return "asyncio"


@pytest.fixture(scope="module")
async def unchanged(anyio_backend: str) -> dict[Path, object]:
    """Give what is built from the settings as they are, without what is another thing each time."""
    del anyio_backend
    first, second = await built_from(SETTINGS), await built_from(SETTINGS)
    return {path: value for path, value in first.items() if path not in differences(first, second)}


async def built_from(settings: Settings) -> dict[Path, object]:
    """Build what the daemon builds, and take its fingerprint."""
    async with with_people(settings) as people, with_redis(settings) as store:
        telling = Telling(settings, list)
        backlog = Backlog(policies.inbound_policy(settings).queue_total)
        rooms = build_rooms(settings, store, backlog, telling.observe)
        supervisor = build_supervisor(
            settings,
            store=store,
            people=people,
            rooms=rooms,
            backlog=backlog,
            defaults=policies.defaults_of(settings),
            observe=telling.observe,
        )
        return fingerprint([people, store, telling, rooms, supervisor])


def another(value: object) -> object:
    """Give another value of the same kind, which nothing else has."""
    match value:
        case bool():
            return not value
        case float():
            return value + 0.25
        case int():
            return value + 1
        case SecretStr():
            return SecretStr(f"{value.get_secret_value()}2")
        case "full":
            return "state"
        case _:
            return f"{value}2"


def with_another(settings: Settings, key: Key) -> Settings:
    """Give the settings with another value for `key`, contradictions or not."""
    section, name = key[0], key[-1]
    if section == GATEWAYS:
        gateway = settings.gateways[MAIN]
        changed = gateway.model_copy(update={name: another(getattr(gateway, name))})
        return settings.model_copy(update={GATEWAYS: {MAIN: changed}})
    old = getattr(settings, section)
    return settings.model_copy(update={section: old.model_copy(update={name: another(getattr(old, name))})})


def expected(key: Key) -> set[str]:
    return ARRIVES.get(dotted(key)) or {f"{POLICY_OF.get(key[0], key[0])}.{key[-1]}"}


def is_in_policy(place: str) -> bool:
    return place.partition(".")[0].endswith("Policy")


@pytest.mark.anyio
@pytest.mark.parametrize("key", BUILT_FROM, ids=dotted)
async def test_setting_arrives_in_its_place_and_in_no_other_policy(key: Key, unchanged: dict[Path, object]) -> None:
    changed = with_another(SETTINGS, key)
    found = {path[-1]: value for path, value in differences(unchanged, await built_from(changed)).items()}
    assert expected(key) <= found.keys()
    assert {place for place in found if is_in_policy(place)} == {
        place for place in expected(key) if is_in_policy(place)
    }
    if dotted(key) not in NOT_AS_IT_IS:
        value = changed.flat()[dotted(key)]
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        assert {found[place] for place in expected(key)} <= {plain, str(plain).encode()}


def test_keys_named_here_exist() -> None:
    names = {dotted(key) for key in KEYS}
    assert {*ARRIVES, *BEFORE_ANYTHING_IS_BUILT, *NOT_AS_IT_IS} <= names


def test_every_field_of_the_engines_policies_has_a_setting_or_is_named_as_the_engines_own() -> None:
    built = [
        policies.session_policy(SETTINGS),
        policies.inbound_policy(SETTINGS),
        policies.outbound_policy(SETTINGS),
        policies.typing_policy(SETTINGS),
        policies.supervisor_policy(SETTINGS),
        policies.gate_policy(SETTINGS.gateways[MAIN]),
    ]
    fields = {path[0] for policy in built for path in fingerprint(policy)}
    assert fields - {place for key in KEYS for place in expected(key)} == ENGINES_OWN


seconds = st.floats(min_value=0.05, max_value=3600, allow_nan=False)


@given(deadline=seconds)
def test_the_shares_of_an_end_are_the_whole_of_it_and_no_more(deadline: float) -> None:
    settings = SETTINGS.model_copy(update={"daemon": DaemonSettings.model_construct(shutdown_timeout=deadline)})
    policy = policies.supervisor_policy(settings)
    whole = policy.drain_timeout + policy.cancel_timeout + policies.last_words(settings)
    assert whole == pytest.approx(deadline)
    assert policies.longest_end(settings) > deadline


@given(resync=seconds, debounce=seconds, connect=seconds, command=seconds)
def test_a_round_that_only_waits_for_a_silent_redis_is_not_stuck(
    resync: float, debounce: float, connect: float, command: float
) -> None:
    redis = SETTINGS.redis.model_copy(update={"connect_timeout": connect, "command_timeout": command})
    wish = SETTINGS.wish.model_copy(update={"resync": resync, "debounce": debounce})
    settings = SETTINGS.model_copy(update={"redis": redis, "wish": wish})
    retry_max = policies.supervisor_policy(settings).retry_max
    waiting_for_others, own = connect + command, connect + command
    assert policies.longest_round(settings) >= 1.2 * resync + debounce + retry_max + waiting_for_others + own


def test_private_servers_have_their_time_to_start_and_to_stop() -> None:
    embedded = SETTINGS.embedded.model_copy(update={"enabled": True})
    with_servers = SETTINGS.model_copy(update={"embedded": embedded})
    assert policies.longest_end(with_servers) >= policies.longest_end(SETTINGS) + 20
    assert policies.longest_embedded_start() >= 300


def test_the_default_gateway_of_records_is_the_only_one_or_the_named_one() -> None:
    assert policies.defaults_of(SETTINGS).gateway == "main"
    two = {GatewayName("one"): SETTINGS.gateways[MAIN], GatewayName("two"): GatewaySettings(url="http://127.0.0.1:2")}
    assert policies.defaults_of(Settings(gateways=two)).gateway is None
    assert policies.defaults_of(Settings(gateways=two)).gateways == {"one", "two"}
    assert policies.defaults_of(Settings()).session is None
