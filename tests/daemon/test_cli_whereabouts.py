"""Where Redis is: the quick reading agrees with the whole configuration, and gives way to it where it must."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_supervisor.cli import quick
from wa_supervisor.cli.failing import CommandError
from wa_supervisor.cli.quick import read_quickly
from wa_supervisor.cli.whereabouts import Whereabouts, settled, whereabouts_of
from wa_supervisor.config import DEFAULT_PATH, RedisSettings, Settings, load_settings
from wa_supervisor.config.catalogue import SECTIONS
from wa_supervisor.config.environment import CONFIG_VARIABLE, HUB_NAMES, PREFIX
from wa_supervisor.config.secret_files import CREDENTIALS_VARIABLE
from wa_supervisor.domain.errors import ConfigurationError
from wa_supervisor.embedded import EmbeddedEndpoints, StateDirectoryUnusableError
from wa_supervisor.embedded.endpoints import endpoints_shown

OURS = ("redis", "embedded")
UNUSED = {"redis.notifications", "redis.connect_timeout", "redis.command_timeout"}
"""Settings of our sections that do not say where Redis is."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("whereabouts")
    (made / "url").write_text(" redis://:pw@filed:6379/3\n")
    (made / "password").write_text("filed\n")
    (made / "two-lines").write_text("a\nb\n")
    (made / "empty").write_text("")
    (made / "bytes").write_bytes(b"\xff\xfe")
    for file in made.iterdir():
        file.chmod(0o600)
    return made


def thoroughly(path: Path | None, environ: Mapping[str, str]) -> Whereabouts | tuple[str, ...]:
    """Give what the whole configuration says, or its mistakes."""
    try:
        return whereabouts_of(load_settings(path, environ, default_path=Path("/nonexistent"), needs_gateway=False))
    except ConfigurationError as error:
        return error.mistakes


def written(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text)
    file.chmod(0o600)
    return file


def agree(path: Path | None, environ: Mapping[str, str]) -> bool:
    """Whether the quick reading answered; it must not answer otherwise than the whole, or hide a mistake of ours."""
    quickly = read_quickly(path, environ, default_path=Path("/nonexistent"))
    whole = thoroughly(path, environ)
    if isinstance(whole, Whereabouts):
        assert quickly in (None, whole)
    else:
        keys = [mistake.split(":")[0] for mistake in whole]
        about_us = [key for key in keys if ("." not in key or key.startswith(OURS)) and key not in UNUSED]
        assert not about_us or quickly is None, about_us
    return quickly is not None


def test_the_quick_reading_knows_the_names_that_the_configuration_has() -> None:
    assert {name: set(SECTIONS[name].model_fields) for name in OURS} == {k: set(v) for k, v in quick.SECTIONS.items()}
    assert set(SECTIONS) == {*OURS, *quick.OTHER_SECTIONS}
    assert (quick.PREFIX, quick.CONFIG_VARIABLE, quick.DEFAULT_PATH) == (PREFIX, CONFIG_VARIABLE, DEFAULT_PATH)
    assert [variable for variable, key in HUB_NAMES.items() if key[0] in OURS] == ["REDIS_URL"]
    assert CREDENTIALS_VARIABLE == "CREDENTIALS_DIRECTORY"
    defaults = RedisSettings()
    assert (defaults.url.get_secret_value(), defaults.prefix) == (quick.DEFAULT_URL, "wa")
    assert Settings().embedded.enabled is False


# Cases that must be answered quickly, because they are what people have

PLAIN_FILES = [
    "",
    '[redis]\nurl = "redis://cache:16379/3"\nprefix = "mine"\n',
    '[redis]\nurl = "rediss://user:p%40ss@cache.example.com:6380"\nconnect_timeout = 2.5\n',
    '[redis]\nurl = "unix:///run/valkey/valkey.sock?db=0"\npassword = "x y"\n',
    '[redis]\nurl_file = "url"\n',
    '[redis]\npassword_file = "password"\n[sessions]\n[wish]\nresync = 5.0\n',
    '[redis]\nurl = ""\nurl_file = "url"\n',
    '[embedded]\nenabled = true\nstate_dir = "/var/lib/x"\n',
    '[embedded]\nstate_dir = "relative/place"\n[gateways.main]\nurl = "http://127.0.0.1:1"\n',
    '[embedded]\nstate_dir = ""\n',
]
PLAIN_ENVIRONMENTS: list[dict[str, str]] = [
    {"HOME": "/home/a"},
    {"HOME": "/home/a", "XDG_STATE_HOME": "/state"},
    {"HOME": "/home/a", "XDG_STATE_HOME": "not/absolute"},
    {"HOME": "/home/a", "STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/state"},
    {"HOME": "/home/a", "REDIS_URL": "redis://hub:6379/1"},
    {"HOME": "/home/a", "REDIS_URL": "", "WA_SUPERVISOR_REDIS__PREFIX": "own", "LOG_LEVEL": "INFO"},
    {"HOME": "/home/a", "REDIS_URL": "redis://hub", "WA_SUPERVISOR_REDIS__URL": "redis://own:1/2"},
    {"HOME": "/home/a", "WA_SUPERVISOR_EMBEDDED__ENABLED": " Yes ", "WA_SUPERVISOR_EMBEDDED__STATE_DIR": "here"},
    {"HOME": "/home/a", "WA_SUPERVISOR_EMBEDDED__STATE_DIR": ""},
    {"HOME": "/home/a", "WA_SUPERVISOR_GATEWAYS__MAIN__URL": "http://127.0.0.1:9"},
]


@pytest.mark.parametrize(("text", "environ"), list(itertools.product(PLAIN_FILES, PLAIN_ENVIRONMENTS)))
def test_what_people_have_is_read_quickly_and_as_the_whole_configuration_has_it(
    folder: Path, text: str, environ: dict[str, str]
) -> None:
    if isinstance(thoroughly(written(folder, text), environ), Whereabouts):
        assert agree(folder / "config.toml", environ)


def test_later_layers_cover_both_spellings_of_a_secret(folder: Path) -> None:
    file = written(folder, '[redis]\nurl_file = "url"\npassword = "from the file"\n')
    environ = {"WA_SUPERVISOR_REDIS__URL": "redis://own", "WA_SUPERVISOR_REDIS__PASSWORD_FILE": f"{folder}/password"}
    assert agree(file, environ)
    found = read_quickly(file, environ)
    assert found is not None
    assert (found.url, found.password, found.is_url_given) == ("redis://own", "filed", True)


def test_without_any_file_and_variable_the_defaults_hold(folder: Path) -> None:
    assert agree(None, {"HOME": str(folder)})
    found = read_quickly(None, {"HOME": str(folder)}, default_path=folder / "none.toml")
    assert found is not None
    assert (found.url, found.prefix, found.is_url_given, found.is_embedded) == (quick.DEFAULT_URL, "wa", False, False)


def test_the_file_in_the_environment_is_read_and_the_default_one_if_there_is_one(folder: Path) -> None:
    file = written(folder, '[redis]\nprefix = "filed"\n')
    for environ, default in ({CONFIG_VARIABLE: str(file)}, folder / "none"), ({}, file):
        found = read_quickly(None, environ, default_path=default)
        assert found is not None
        assert found.prefix == "filed"


# Cases that the whole configuration must judge

ODD_FILES = [
    "[redis",
    '[redis]\nurll = "x"\n',
    "[reddis]\n",
    "redis = 5\n",
    "wish = 5\n",
    "[redis]\nurl = 5\n",
    '[redis]\nurl = ""\n',
    '[redis]\nurl = "http://cache"\n',
    '[redis]\nurl = "redis://cache/0?db=1"\n',
    '[redis]\nurl = "redis://a@b@c"\n',
    '[redis]\nurl = "redis://cache:99999"\n',
    '[redis]\nurl = "redis://cache"\nurl_file = "url"\n',
    '[redis]\nurl = "redis://:a@cache"\npassword = "b"\n',
    '[redis]\npassword = "a\\u0000"\n',
    '[redis]\npassword_file = "two-lines"\n',
    '[redis]\npassword_file = "empty"\n',
    '[redis]\npassword_file = "bytes"\n',
    '[redis]\npassword_file = "missing"\n',
    "[redis]\npassword_file = 7\n",
    '[redis]\nprefix = ""\n',
    '[redis]\nprefix = "a*"\n',
    '[redis]\nprefix = "a:b"\n',
    '[embedded]\nenabled = "true"\n',
    "[embedded]\nenabled = 1\n",
    '[embedded]\nstate_dir = "~/x"\n',
    "[embedded]\nstate_dir = 7\n",
    "[embedded]\nfolder = 7\n",
]
ODD_ENVIRONMENTS: list[dict[str, str]] = [
    {"WA_SUPERVISOR_REDIS_URL": "redis://own"},
    {"WA_SUPERVISOR_REDIS__URLL": "redis://own"},
    {"WA_SUPERVISOR_REDDIS__URL": "redis://own"},
    {"WA_SUPERVISOR_REDIS__URL": ""},
    {"WA_SUPERVISOR_EMBEDDED__ENABLED": "maybe"},
    {"CREDENTIALS_DIRECTORY": "/nonexistent"},
    {"STATE_DIRECTORY": "~x"},
    {"WA_SUPERVISOR_CONFIG": "/nonexistent/config.toml"},
]


@pytest.mark.parametrize("text", ODD_FILES)
def test_what_is_odd_in_a_file_is_left_to_the_whole_configuration(folder: Path, text: str) -> None:
    assert not agree(written(folder, text), {})


@pytest.mark.parametrize("environ", ODD_ENVIRONMENTS)
def test_what_is_odd_in_the_environment_is_left_to_the_whole_configuration(environ: dict[str, str]) -> None:
    assert not agree(None, environ)


def test_a_systemd_credential_is_left_to_the_whole_configuration(tmp_path: Path) -> None:
    (tmp_path / "redis.url").write_text("redis://:pw@secret")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert not agree(None, environ)
    whole = thoroughly(None, environ)
    assert isinstance(whole, Whereabouts)
    assert whole.url == "redis://:pw@secret"


URLS = ["redis://a", "redis://a:6379/0", "redis://:p@b/1", "unix:///s.sock", "unix://", "", "http://x", "redis://a/b"]
TEXTS = ["", "x", "a b", "url", "password", "two-lines", "~", "/abs", "rel/ative", "é", "a:b", "\x7f"]
redis_tables = st.fixed_dictionaries(
    {},
    optional={
        "url": st.sampled_from([*URLS, 5]),
        "url_file": st.sampled_from(TEXTS),
        "password": st.sampled_from([*TEXTS, True]),
        "password_file": st.sampled_from(TEXTS),
        "prefix": st.sampled_from(TEXTS),
        "command_timeout": st.sampled_from([1.0, "x"]),
        "nonsense": st.just(1),
    },
)
embedded_tables = st.fixed_dictionaries(
    {}, optional={"enabled": st.sampled_from([True, False, 1, "yes"]), "state_dir": st.sampled_from(TEXTS)}
)
environments = st.fixed_dictionaries(
    {"HOME": st.sampled_from(["/home/a", "/home/é"])},
    optional={
        "REDIS_URL": st.sampled_from(URLS),
        "WA_SUPERVISOR_REDIS__URL": st.sampled_from(URLS),
        "WA_SUPERVISOR_REDIS__URL_FILE": st.sampled_from(TEXTS),
        "WA_SUPERVISOR_REDIS__PASSWORD": st.sampled_from(TEXTS),
        "WA_SUPERVISOR_REDIS__PASSWORD_FILE": st.sampled_from(TEXTS),
        "WA_SUPERVISOR_REDIS__PREFIX": st.sampled_from(TEXTS),
        "WA_SUPERVISOR_EMBEDDED__ENABLED": st.sampled_from(["on", "OFF", "", "2"]),
        "WA_SUPERVISOR_EMBEDDED__STATE_DIR": st.sampled_from(TEXTS),
        "STATE_DIRECTORY": st.sampled_from(TEXTS),
        "XDG_STATE_HOME": st.sampled_from(TEXTS),
    },
)


def toml(table: Mapping[str, object]) -> str:
    def literal(value: object) -> str:
        if isinstance(value, str):
            return '"' + "".join(f"\\u{ord(char):04x}" for char in value) + '"'
        return str(value).lower()

    return "".join(f"{key} = {literal(value)}\n" for key, value in table.items())


@given(redis_tables, embedded_tables, environments)
def test_both_readings_agree_whatever_stands_in_file_and_environment(
    folder: Path, redis: dict[str, object], embedded: dict[str, object], environ: dict[str, str]
) -> None:
    agree(written(folder, f"[redis]\n{toml(redis)}[embedded]\n{toml(embedded)}"), environ)


# Which server it is


def whereabouts(state_dir: Path, *, is_url_given: bool = False, is_embedded: bool = False) -> Whereabouts:
    return Whereabouts(
        url="redis://configured",
        password="pw",
        prefix="wa",
        is_url_given=is_url_given,
        is_embedded=is_embedded,
        state_dir=state_dir,
    )


PRIVATE = EmbeddedEndpoints(redis_url="unix:///private.sock?db=0", database_url="postgresql:///x")


@pytest.mark.parametrize("is_url_given", [True, False])
@pytest.mark.parametrize("is_embedded", [True, False])
@pytest.mark.parametrize("embedded", [True, False])
def test_private_servers_are_used_when_asked_for_or_when_nothing_else_is_given(
    tmp_path: Path, *, is_url_given: bool, is_embedded: bool, embedded: bool
) -> None:
    given = whereabouts(tmp_path, is_url_given=is_url_given, is_embedded=is_embedded)
    with endpoints_shown(tmp_path, PRIVATE):
        chosen = settled(given, embedded=embedded)
    is_private = embedded or is_embedded or not is_url_given
    assert (chosen.url, chosen.password) == ((PRIVATE.redis_url, "") if is_private else ("redis://configured", "pw"))


def test_without_private_servers_the_configured_one_is_used(tmp_path: Path) -> None:
    assert settled(whereabouts(tmp_path), embedded=False).url == "redis://configured"
    (tmp_path / "endpoints.json").write_text("left by a killed daemon")
    assert settled(whereabouts(tmp_path), embedded=False).url == "redis://configured"


def test_a_state_folder_that_is_closed_to_us_counts_as_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").mkdir()
    assert settled(whereabouts(tmp_path), embedded=False).url == "redis://configured"
    with pytest.raises(StateDirectoryUnusableError):
        settled(whereabouts(tmp_path), embedded=True)


def test_private_servers_that_are_asked_for_and_do_not_run_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    for said, embedded in ((whereabouts(tmp_path), True), (whereabouts(tmp_path, is_embedded=True), False)):
        with pytest.raises(CommandError, match=r"no daemon with private servers runs in .*run --embedded") as raised:
            settled(said, embedded=embedded)
        assert raised.value.code == 4


def test_whereabouts_hide_their_secrets(tmp_path: Path) -> None:
    assert "pw" not in repr(whereabouts(tmp_path))
    assert os.fspath(tmp_path) in repr(whereabouts(tmp_path))
