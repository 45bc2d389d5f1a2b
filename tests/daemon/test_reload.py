"""Which new settings a reload follows at once, and which it names because only a restart follows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from wa_supervisor.config import DaemonSettings, GatewaySettings, RedisSettings, Settings, WishSettings
from wa_supervisor.config.catalogue import GATEWAYS, all_keys, dotted
from wa_supervisor.daemon.reload import AT_ONCE, changed_gateways, followed, needs_restart, tell_notices, tell_reload
from wa_supervisor.domain.names import GatewayName

ONE, TWO, THREE = GatewayName("one"), GatewayName("two"), GatewayName("three")


def gateway(port: int = 1, word: str = "s") -> GatewaySettings:
    return GatewaySettings(url=f"http://127.0.0.1:{port}", secret=SecretStr(word))


gateways = st.dictionaries(
    st.sampled_from([ONE, TWO, THREE]), st.builds(gateway, st.integers(1, 3), st.sampled_from("st")), max_size=3
)

settings_values = st.builds(
    Settings.model_construct,  # contradictions are the loader's business
    daemon=st.builds(DaemonSettings, id=st.sampled_from(["a", "b"]), log_level=st.sampled_from(["info", "debug"])),
    redis=st.builds(
        RedisSettings, password=st.sampled_from(["", "x"]).map(SecretStr), prefix=st.sampled_from(["wa", "w"])
    ),
    wish=st.builds(WishSettings, resync=st.sampled_from([10.0, 30.0]), default_session=st.sampled_from(["", "main"])),
    gateways=gateways,
)


def test_same_settings_need_nothing() -> None:
    assert needs_restart(Settings(gateways={ONE: gateway()}), Settings(gateways={ONE: gateway()})) == []
    assert changed_gateways(Settings(gateways={ONE: gateway()}), Settings(gateways={ONE: gateway()})) == frozenset()


def test_keys_that_only_a_restart_follows_are_named_in_order() -> None:
    old = Settings()
    new = Settings(
        wish=WishSettings(resync=60.0, default_session="main"),
        daemon=DaemonSettings(shutdown_timeout=20.0, log_level="debug", log_format="json"),
        redis=RedisSettings(password=SecretStr("x")),
        gateways={ONE: gateway()},
    )
    assert needs_restart(old, new) == ["daemon.shutdown_timeout", "redis.password", "wish.resync"]


def test_a_changed_secret_is_a_changed_gateway() -> None:
    old = Settings(gateways={ONE: gateway(1, "old"), TWO: gateway(2)})
    new = Settings(gateways={ONE: gateway(1, "new"), TWO: gateway(2), THREE: gateway(3)})
    assert changed_gateways(old, new) == {ONE, THREE}


def test_a_gateway_that_is_gone_is_not_among_the_changed() -> None:
    old = Settings(gateways={ONE: gateway(1), TWO: gateway(2)})
    assert changed_gateways(old, Settings(gateways={TWO: gateway(2)})) == frozenset()


@pytest.mark.parametrize("key", sorted(AT_ONCE))
def test_what_is_followed_at_once_are_settings(key: str) -> None:
    assert key == GATEWAYS or key in {dotted(each) for each in all_keys([])}


@given(old=settings_values, new=settings_values)
def test_every_difference_is_followed_or_named_and_nothing_else_is(old: Settings, new: Settings) -> None:
    named = needs_restart(old, new)
    before, after = old.flat(), new.flat()
    different = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    followed = {key for key in different if key in AT_ONCE or key.startswith("gateways.")}
    assert set(named) == different - followed
    assert named == sorted(set(named))
    assert needs_restart(new, old) == named


@given(old=settings_values, new=settings_values)
def test_a_gateway_is_changed_exactly_if_it_is_wanted_and_not_as_it_was(old: Settings, new: Settings) -> None:
    same = {name for name in new.gateways if name in old.gateways and new.gateways[name] == old.gateways[name]}
    assert changed_gateways(old, new) == new.gateways.keys() - same


def test_what_a_reload_did_is_one_line_and_what_waits_for_a_restart_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    begun = Settings(gateways={ONE: gateway(1, "old"), TWO: gateway(2)})
    new = Settings(gateways={ONE: gateway(1, "new"), TWO: gateway(2)}, wish=WishSettings(resync=60.0))
    tell_reload(begun, begun, new)
    tell_reload(begun, new, new)
    told = [(each.levelname, each.message, {**each.__dict__}) for each in caplog.records]
    assert [each[:2] for each in told] == [
        ("INFO", "configuration reloaded"),
        ("WARNING", "settings changed that only a restart follows"),
    ] * 2
    assert [told[number][2]["followed"] for number in (0, 2)] == ["gateways.one.secret", "nothing: it is as before"]
    assert [told[number][2]["needs_restart"] for number in (1, 3)] == ["wish.resync"] * 2
    assert "new" not in caplog.text.replace("config", "")


def test_each_notice_is_a_warning_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    tell_notices(("one thing", "another"))
    assert [(each.levelname, each.__dict__["why"]) for each in caplog.records] == [
        ("WARNING", "one thing"),
        ("WARNING", "another"),
    ]


@given(old=settings_values, new=settings_values)
def test_every_difference_is_told_once(old: Settings, new: Settings) -> None:
    told = [*followed(old, new), *needs_restart(old, new)]
    before, after = old.flat(), new.flat()
    assert sorted(told) == sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


@given(old=settings_values, new=settings_values)
def test_no_secret_is_named(old: Settings, new: Settings) -> None:
    assert all("=" not in key and key in old.flat() | new.flat() for key in needs_restart(old, new))
