"""Layers of the configuration: what each brings, which wins, and what is known about where a value came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from wa_supervisor.config import LoadedSettings, Settings, load_settings
from wa_supervisor.config.environment import CONFIG_VARIABLE, HUB_NAMES
from wa_supervisor.domain.errors import ConfigurationError

GATEWAY = '[gateways.main]\nurl = "http://127.0.0.1:21465"\nsecret = "s"\n'


def load(folder: Path, text: str | None = GATEWAY, environ: Mapping[str, str] | None = None) -> LoadedSettings:
    """Load `text` as the default file (None: there is no file) with nothing else in the environment."""
    file = folder / "config.toml"
    if text is not None:
        file.write_text(text)
        file.chmod(0o600)
    return load_settings(None, {"HOME": "/home/op", **(environ or {})}, default_path=file)


def mistakes(folder: Path, text: str | None = GATEWAY, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text, environ)
    return caught.value.mistakes


def value(loaded: LoadedSettings, key: str) -> object:
    found = loaded.settings.flat()[key]
    reveal = getattr(found, "get_secret_value", None)
    return reveal() if reveal else found


def test_defaults_alone_are_settings_without_contradiction() -> None:
    settings = Settings()
    assert settings.redis.url.get_secret_value() == "redis://127.0.0.1:6379/0"
    assert settings.status.refresh == 15.0
    assert settings.default_gateway is None


def test_file_covers_defaults_and_says_so(tmp_path: Path) -> None:
    loaded = load(tmp_path, GATEWAY + "[status]\nttl = 90\n")
    assert loaded.settings.status.ttl == 90.0
    assert loaded.sources["status.ttl"] == str(tmp_path / "config.toml")
    assert loaded.sources["status.refresh"] == "default"
    assert loaded.path == tmp_path / "config.toml"


def test_sources_name_every_setting(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert set(loaded.sources) == set(loaded.settings.flat())


def test_hub_name_covers_file_credential_covers_hub_name_and_own_variable_covers_all(tmp_path: Path) -> None:
    text = GATEWAY + '[redis]\nurl = "redis://file"\n'
    hub = {"REDIS_URL": "redis://hub"}
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "redis.url").write_text("redis://credential\n")
    with_credential = {**hub, "CREDENTIALS_DIRECTORY": str(credentials)}
    own = {**with_credential, "WA_SUPERVISOR_REDIS__URL": "redis://own"}
    found = [load(tmp_path, text, environ) for environ in ({}, hub, with_credential, own)]
    assert [value(each, "redis.url") for each in found] == [
        "redis://file",
        "redis://hub",
        "redis://credential",
        "redis://own",
    ]
    assert [each.sources["redis.url"] for each in found] == [
        str(tmp_path / "config.toml"),
        "environment REDIS_URL",
        "credential redis.url",
        "environment WA_SUPERVISOR_REDIS__URL",
    ]


@pytest.mark.parametrize(
    ("variable", "text", "key", "expected"),
    [
        ("REDIS_URL", "rediss://cache:6380/3", "redis.url", "rediss://cache:6380/3"),
        ("DATABASE_URL", "postgresql+asyncpg://u:p@db/hub", "postgres.url", "postgresql://u:p@db/hub"),
        ("WPPCONNECT_URL", "http://wpp:21465/", "gateways.main.url", "http://wpp:21465"),
        ("WPPCONNECT_SOCKETIO_PATH", "wpp/socket.io", "gateways.main.socketio_path", "/wpp/socket.io/"),
        ("WPPCONNECT_TOKEN", "$2b$10$abc", "gateways.main.token", "$2b$10$abc"),
        ("WPPCONNECT_RECONNECT_DELAY", "5", "gateways.main.reconnect_initial", 5.0),
        ("WPPCONNECT_SESSION_NAME", "sales", "wish.default_session", "sales"),
        ("LOG_LEVEL", "WARN", "daemon.log_level", "warning"),
        ("REDIS_USER_CACHE_TTL", "60", "people.cache_ttl", 60.0),
    ],
)
def test_each_name_of_a_hub_sets_its_setting(
    tmp_path: Path, variable: str, text: str, key: str, expected: object
) -> None:
    loaded = load(tmp_path, GATEWAY, {variable: text})
    assert value(loaded, key) == expected
    assert loaded.sources[key] == f"environment {variable}"


def test_parameters_above_cover_every_name_of_a_hub() -> None:
    marks = getattr(test_each_name_of_a_hub_sets_its_setting, "pytestmark", [])
    assert {case[0] for mark in marks for case in mark.args[1]} == set(HUB_NAMES)


def test_hub_environment_alone_is_a_whole_configuration(tmp_path: Path) -> None:
    loaded = load(tmp_path, None, {"WPPCONNECT_URL": "http://wpp:21465", "WPPCONNECT_RECONNECT_ATTEMPTS": "5"})
    assert loaded.settings.default_gateway == "main"
    assert loaded.path is None
    assert any(notice.startswith("WPPCONNECT_RECONNECT_ATTEMPTS has no effect") for notice in loaded.notices)


def test_empty_variables_of_a_hub_count_as_not_set(tmp_path: Path) -> None:
    loaded = load(tmp_path, GATEWAY, dict.fromkeys(HUB_NAMES, ""))
    assert value(loaded, "redis.url") == "redis://127.0.0.1:6379/0"
    assert value(loaded, "gateways.main.url") == "http://127.0.0.1:21465"


def test_hub_variables_about_a_gateway_that_is_not_ours_are_noticed_and_ignored(tmp_path: Path) -> None:
    loaded = load(tmp_path, GATEWAY.replace("main", "eu"), {"WPPCONNECT_TOKEN": "t"})
    assert list(loaded.settings.gateways) == ["eu"]
    assert any(notice.startswith("WPPCONNECT_TOKEN has no effect") for notice in loaded.notices)


def test_own_variables_become_what_their_settings_want(tmp_path: Path) -> None:
    environ = {
        "WA_SUPERVISOR_POSTGRES__POOL_SIZE": "7",
        "WA_SUPERVISOR_WISH__RESYNC": "12.5",
        "WA_SUPERVISOR_TYPING__ENABLED": "off",
        "WA_SUPERVISOR_METRICS__PER_SESSION": "STATE",
        "WA_SUPERVISOR_WISH__DEFAULT_SESSION": "0123",
        "WA_SUPERVISOR_DEAD_LETTERS__MAXLEN": "500",
    }
    settings = load(tmp_path, GATEWAY, environ).settings
    assert (settings.postgres.pool_size, settings.wish.resync, settings.typing.enabled) == (7, 12.5, False)
    assert (settings.metrics.per_session, settings.wish.default_session) == ("state", "0123")
    assert settings.dead_letters.maxlen == 500


@pytest.mark.parametrize("spelt", ["EU_WEST", "eu_west", "Eu_West"])
def test_gateway_in_a_variable_is_the_declared_one_whatever_its_case_and_dashes(tmp_path: Path, spelt: str) -> None:
    environ = {f"WA_SUPERVISOR_GATEWAYS__{spelt}__SEND_TIMEOUT": "33"}
    loaded = load(tmp_path, '[gateways.Eu-west]\nurl = "http://eu"\n', {**environ})
    assert value(loaded, "gateways.Eu-west.send_timeout") == 33.0


def test_gateway_only_in_variables_has_a_lower_case_name(tmp_path: Path) -> None:
    loaded = load(tmp_path, None, {"WA_SUPERVISOR_GATEWAYS__US__EAST__URL": "http://us"})
    assert list(loaded.settings.gateways) == ["us__east"]


def test_named_file_is_read_in_place_of_the_default_one_and_an_argument_beats_the_variable(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.toml" for name in ("default", "variable", "argument")]
    for number, path in enumerate(paths):
        path.write_text(f"{GATEWAY}[status]\nttl = {60 + number}\n")
    environ = {CONFIG_VARIABLE: str(paths[1])}
    found = [
        load_settings(None, {}, default_path=paths[0]),
        load_settings(None, environ, default_path=paths[0]),
        load_settings(paths[2], environ, default_path=paths[0]),
    ]
    assert [(each.path, each.settings.status.ttl) for each in found] == [
        (path, 60.0 + number) for number, path in enumerate(paths)
    ]


def test_missing_named_file_is_a_mistake_and_a_missing_default_file_is_not(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    assert load_settings(None, {"WPPCONNECT_URL": "http://x"}, default_path=missing).path is None
    for path, environ in ((missing, {}), (None, {CONFIG_VARIABLE: str(missing)})):
        with pytest.raises(ConfigurationError, match=r"none\.toml: cannot be read: No such file"):
            load_settings(path, environ, default_path=tmp_path / "default.toml")


def test_no_gateway_is_a_mistake_that_says_what_to_add_unless_the_command_needs_none(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, "")
    assert mistake.startswith("gateways: there is none")
    assert '[gateways.main] with url = "http://127.0.0.1:21465"' in mistake
    assert str(tmp_path / "config.toml") in mistake
    settings = load_settings(None, {}, default_path=tmp_path / "config.toml", needs_gateway=False).settings
    assert settings.gateways == {}


def test_only_gateway_is_the_default_and_among_several_the_named_one(tmp_path: Path) -> None:
    two = GATEWAY + '[gateways.eu]\nurl = "http://eu"\n'
    assert load(tmp_path).settings.default_gateway == "main"
    assert load(tmp_path, two).settings.default_gateway is None
    assert load(tmp_path, two + '[wish]\ndefault_gateway = "eu"\n').settings.default_gateway == "eu"


def test_daemon_without_a_name_has_the_hosts(tmp_path: Path) -> None:
    for text in (GATEWAY, GATEWAY + '[daemon]\nid = ""\n'):
        loaded = load(tmp_path, text)
        assert loaded.settings.daemon.id
        assert loaded.sources["daemon.id"] == "this host's name"
    assert load(tmp_path, GATEWAY + '[daemon]\nid = "a"\n').settings.daemon.id == "a"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "/home/op/.local/state/wa-supervisor"),
        ({"XDG_STATE_HOME": "/state"}, "/state/wa-supervisor"),
        ({"XDG_STATE_HOME": "relative"}, "/home/op/.local/state/wa-supervisor"),
        ({"XDG_STATE_HOME": "/state", "STATE_DIRECTORY": "/var/lib/wa:/var/lib/other"}, "/var/lib/wa"),
        ({"STATE_DIRECTORY": "/var/lib/wa", "WA_SUPERVISOR_EMBEDDED__STATE_DIR": "/mine"}, "/mine"),
    ],
)
def test_state_folder_is_given_or_the_units_or_the_users(
    tmp_path: Path, environ: Mapping[str, str], expected: str
) -> None:
    assert load(tmp_path, GATEWAY, environ).settings.embedded.state_dir == expected


def test_relative_state_folder_in_a_file_is_beside_the_file(tmp_path: Path) -> None:
    loaded = load(tmp_path, GATEWAY + '[embedded]\nstate_dir = "state"\n')
    assert loaded.settings.embedded.state_dir == str(tmp_path / "state")


def test_gateway_without_secret_and_token_is_noticed(tmp_path: Path) -> None:
    loaded = load(tmp_path, '[gateways.main]\nurl = "http://x"\n')
    assert loaded.notices == (
        "gateways.main has neither secret nor token; only integrations that bring a token of their own can run there",
    )
    assert load(tmp_path).notices == ()
