"""Secrets: where they may stand, what covers what, and that none is ever shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from wa_supervisor.config import GatewaySettings, RedisSettings, Settings, effective_toml, load_settings
from wa_supervisor.config.catalogue import all_keys, dotted, is_secret
from wa_supervisor.config.environment import variable_of
from wa_supervisor.config.layers import Entry
from wa_supervisor.config.loading import LoadedSettings
from wa_supervisor.config.values import HIDDEN, mask_url
from wa_supervisor.domain.errors import ConfigurationError
from wa_supervisor.domain.names import GatewayName

GATEWAY = '[gateways.main]\nurl = "http://127.0.0.1:21465"\n'


def load(folder: Path, text: str = GATEWAY, environ: Mapping[str, str] | None = None) -> LoadedSettings:
    file = folder / "config.toml"
    file.write_text(text)
    file.chmod(0o640)
    return load_settings(file, environ or {})


def secret_file(folder: Path, name: str, content: str | bytes, mode: int = 0o600) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def gateway_secret(loaded: LoadedSettings) -> str:
    return loaded.settings.gateways[GatewayName("main")].secret.get_secret_value()


def test_secret_in_a_file_is_read_beside_the_configuration_and_stripped(tmp_path: Path) -> None:
    secret_file(tmp_path, "main.secret", "  t0p \n")
    loaded = load(tmp_path, GATEWAY + 'secret_file = "main.secret"\n')
    assert gateway_secret(loaded) == "t0p"
    assert loaded.sources["gateways.main.secret"] == (
        f"{tmp_path}/main.secret, named by gateways.main.secret_file from {tmp_path}/config.toml"
    )
    assert loaded.notices == ()


def test_every_secret_setting_has_a_file_spelling_and_a_credential(tmp_path: Path) -> None:
    urls = {"redis.url": "redis://r", "postgres.url": "postgresql://p"}
    for key in (each for each in all_keys(["main"]) if is_secret(each)):
        content = urls.get(dotted(key), "t0p")
        folder = tmp_path / dotted(key)
        folder.mkdir()
        path = secret_file(folder, dotted(key), content)
        by_file = load(tmp_path, GATEWAY, {variable_of((*key[:-1], f"{key[-1]}_file")): str(path)})
        by_credential = load(tmp_path, GATEWAY, {"CREDENTIALS_DIRECTORY": str(folder)})
        for loaded in (by_file, by_credential):
            found = loaded.settings.flat()[dotted(key)]
            assert isinstance(found, SecretStr)
            assert found.get_secret_value() == content


def test_value_and_its_file_in_one_layer_are_a_mistake(tmp_path: Path) -> None:
    secret_file(tmp_path, "s", "t0p")
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, GATEWAY + 'secret = "a"\nsecret_file = "s"\n')
    assert caught.value.mistakes == (
        (
            "gateways.main.secret_file: is given beside gateways.main.secret; remove one of the two "
            f"(from {tmp_path}/config.toml)"
        ),
    )


def test_both_spellings_in_variables_name_both_variables(tmp_path: Path) -> None:
    path = secret_file(tmp_path, "s", "t0p")
    environ = {
        "WA_SUPERVISOR_REDIS__PASSWORD": "t0p",
        "WA_SUPERVISOR_REDIS__PASSWORD_FILE": str(path),
    }
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, GATEWAY, environ)
    assert "PASSWORD_FILE and environment WA_SUPERVISOR_REDIS__PASSWORD)" in caught.value.mistakes[0]


def test_empty_value_beside_its_file_is_no_mistake(tmp_path: Path) -> None:
    secret_file(tmp_path, "s", "t0p")
    assert gateway_secret(load(tmp_path, GATEWAY + 'secret = ""\nsecret_file = "s"\n')) == "t0p"


def test_later_layer_covers_either_spelling_of_an_earlier_one(tmp_path: Path) -> None:
    earlier, later = secret_file(tmp_path, "earlier", "earlier"), secret_file(tmp_path, "later", "later")
    in_file = GATEWAY + f'secret_file = "{earlier}"\n'
    own = "WA_SUPERVISOR_GATEWAYS__MAIN__SECRET"
    assert gateway_secret(load(tmp_path, in_file, {own: "later"})) == "later"
    assert gateway_secret(load(tmp_path, GATEWAY + 'secret = "earlier"\n', {f"{own}_FILE": str(later)})) == "later"


def test_file_that_a_later_layer_covers_is_not_read(tmp_path: Path) -> None:
    text = GATEWAY + 'secret_file = "missing"\n'
    assert gateway_secret(load(tmp_path, text, {"WA_SUPERVISOR_GATEWAYS__MAIN__SECRET": "later"})) == "later"


def test_relative_file_in_a_variable_is_relative_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_file(tmp_path, "here", "t0p")
    monkeypatch.chdir(tmp_path)
    assert gateway_secret(load(tmp_path, GATEWAY, {"WA_SUPERVISOR_GATEWAYS__MAIN__SECRET_FILE": "here"})) == "t0p"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "must hold the secret on one line"),
        (b"one\ntwo", "must hold the secret on one line"),
        (b"x" * 70_000, "must hold the secret on one line"),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_file_that_holds_no_secret_is_a_mistake(tmp_path: Path, content: bytes, problem: str) -> None:
    secret_file(tmp_path, "s", content)
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, GATEWAY + 'secret_file = "s"\n')
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"gateways.main.secret_file: {tmp_path}/s {problem}")


@pytest.mark.parametrize(
    ("path", "reason"), [("missing", "no such file"), (".", "is a directory"), ("\\u0000", "not a path")]
)
def test_file_that_cannot_be_read_is_a_mistake(tmp_path: Path, path: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, GATEWAY + f'secret_file = "{path}"\n')
    assert f"cannot be read: {reason}" in caught.value.mistakes[0]


@pytest.mark.parametrize(
    ("mode", "notice"),
    [
        (0o600, None),
        (0o640, "may be read by its group (mode 0640); chmod 600"),
        (0o644, "may be read by everybody (mode 0644); chmod 600"),
    ],
)
def test_secret_file_that_others_may_read_is_noticed(tmp_path: Path, mode: int, notice: str | None) -> None:
    path = secret_file(tmp_path, "s", "t0p", mode)
    notices = load(tmp_path, GATEWAY + 'secret_file = "s"\n').notices
    assert list(notices) == ([f"gateways.main.secret_file: {path} {notice} {path}"] if notice else [])


def test_configuration_file_with_secrets_that_everybody_may_read_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(GATEWAY + 'secret = "t0p"\n[redis]\nurl = "redis://:t0p@host"\n')
    file.chmod(0o644)
    (notice,) = load_settings(file, {}).notices
    assert notice.startswith(f"{file} holds gateways.main.secret, redis.url and may be read by everybody (mode 0644)")
    file.chmod(0o640)
    assert load_settings(file, {}).notices == ()


def test_credential_that_is_called_nearly_as_a_secret_is_noticed_and_others_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    for name in ("redis.pasword", "gateways.main.url", "tls.key"):
        secret_file(folder, name, "t0p")
    notices = load(tmp_path, GATEWAY + 'token = "t0p"\n', {"CREDENTIALS_DIRECTORY": str(folder)}).notices
    assert [notice.split(" is ignored")[0] for notice in notices] == [
        "credential gateways.main.url",
        "credential redis.pasword",
    ]
    assert notices[1].endswith("; did you mean redis.password?")


def test_empty_credential_is_a_mistake(tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    secret_file(folder, "gateways.main.secret", "\n")
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, GATEWAY, {"CREDENTIALS_DIRECTORY": str(folder)})
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("gateways.main.secret: ")
    assert mistake.endswith("(from credential gateways.main.secret)")


def test_credentials_folder_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="CREDENTIALS_DIRECTORY: cannot be listed: no such file"):
        load(tmp_path, GATEWAY, {"CREDENTIALS_DIRECTORY": str(tmp_path / "none")})


def test_password_in_the_address_and_beside_it_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, GATEWAY + '[redis]\nurl = "redis://:hunter2@h"\n', {"WA_SUPERVISOR_REDIS__PASSWORD": "hunter3"})
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("redis.password: is given while redis.url holds a password too")
    assert "hunter" not in mistake


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:hunter2@host/0", f"redis://:{HIDDEN}@host/0"),
        ("rediss://user:hunter2@host:1", f"rediss://user:{HIDDEN}@host:1"),
        ("redis://user@host", "redis://user@host"),
        ("postgresql://u:hunter2@/db?host=/run", f"postgresql://u:{HIDDEN}@/db?host=/run"),
        ("postgresql://h/db?user=u&password=hunter2&port=1", f"postgresql://h/db?user=u&password={HIDDEN}&port=1"),
        ("unix:///run/redis.sock?db=1&PASSWORD=hunter2", f"unix:///run/redis.sock?db=1&PASSWORD={HIDDEN}"),
        ("hunter2", HIDDEN),
    ],
)
def test_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert mask_url(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2/@host",
        "redis://:hunter2#@host",
        "redis://user:12/hunter2@host",
        "redis://user:hunter2@@host",
        "redis://:hunter2",
        "redis://host/hunter2",
        "redis://[hunter2",
        "hunter2",
        "http://hunter2",
        "unix://",
        "redis://",
    ],
)
def test_address_that_cannot_be_right_is_a_mistake_without_its_text(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, GATEWAY, {"REDIS_URL": url})
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("redis.url: its value ")
    assert mistake.endswith("(from environment REDIS_URL)")
    assert "hunter2" not in mistake


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@host",
        "http://hunter2@host",
        "ftp://user:hunter2@host",
        "http://user:hunter2@host@host",
    ],
)
def test_gateway_address_with_a_password_is_refused_without_showing_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, GATEWAY, {"WPPCONNECT_URL": url})
    assert "hunter2" not in "".join(caught.value.mistakes)


def test_entry_of_a_layer_does_not_show_its_value() -> None:
    assert repr(Entry(value="hunter2", origin="environment X", folder=Path())) == "<Entry from environment X>"


def test_nothing_that_shows_settings_shows_a_secret() -> None:
    settings = Settings(
        redis=RedisSettings(url=SecretStr("redis://:hunter2@h"), password_file="/p"),
        gateways={
            GatewayName("main"): GatewaySettings(
                url="http://h", secret=SecretStr("hunter2"), token=SecretStr("hunter2")
            )
        },
    )
    sources = dict.fromkeys(settings.flat(), "default")
    loaded = LoadedSettings(settings=settings, notices=(), sources=sources, path=None)
    shown = [repr(loaded), str(settings), json.dumps(settings.masked()), effective_toml(loaded)]
    assert all("hunter2" not in each for each in shown)
    assert settings.masked()["redis"]["url"] == f"redis://:{HIDDEN}@h"
    assert settings.masked()["redis"]["password_file"] == "/p"
    assert settings.masked()["gateways"] == {"main": settings.masked()["gateways"]["main"]}
