"""`wa-supervisor config`: exit codes, what goes to which stream, and that secrets stay hidden."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import click
import pytest
from jsonschema import Draft202012Validator

from wa_supervisor.cli.configuration import config

GATEWAY = '[gateways.main]\nurl = "http://127.0.0.1:21465"\nsecret = "hunter2"\n'


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ("WA_SUPERVISOR_", "WPPCONNECT_", "REDIS_", "DATABASE_URL", "LOG_LEVEL", "CREDENTIALS_DIRECTORY")
    for variable in [name for name in os.environ if name.startswith(ours)]:
        monkeypatch.delenv(variable)


def run(*arguments: str) -> int:
    """Run the command as the root group does and return its exit code."""
    try:
        config.main(list(arguments), prog_name="wa-supervisor config")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def written(folder: Path, text: str) -> str:
    path = folder / "config.toml"
    path.write_text(text)
    path.chmod(0o644)
    return str(path)


def test_validate_says_fine_on_stdout_and_notices_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, GATEWAY)
    assert run("validate", "--config", path) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{path}: fine\n"
    assert shown.err.startswith(f"notice: {path} holds gateways.main.secret and may be read by everybody")


def test_validate_lists_every_mistake_on_stderr_and_ends_with_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, GATEWAY + "[wish]\nresync = 0\n[reddis]\n")
    assert run("validate", "--config", path) == 78
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line.split(": ")[0] for line in shown.err.splitlines()] == ["reddis", "wish.resync"]


def test_configuration_named_in_the_environment_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, GATEWAY)
    monkeypatch.setenv("WA_SUPERVISOR_CONFIG", path)
    monkeypatch.setenv("WA_SUPERVISOR_WISH__RESYNC", "never")
    assert run("validate") == 78
    assert capsys.readouterr().err.startswith('wish.resync: "never" is not a number')


def test_print_shows_the_effective_settings_as_toml_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@cache/1")
    path = written(tmp_path, GATEWAY)
    assert run("print", "--config", path) == 0
    shown = capsys.readouterr()
    assert "hunter2" not in shown.out + shown.err
    settings = tomllib.loads(shown.out)
    assert settings["redis"]["url"] == "redis://:********@cache/1"
    assert settings["gateways"]["main"]["secret"] == "********"
    assert "# from environment REDIS_URL\n" in shown.out


def test_print_as_json_has_a_schema_version_settings_and_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, GATEWAY)
    assert run("print", "--config", path, "-o", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["schema"] == 1
    assert shown["settings"]["gateways"]["main"]["secret"] == "********"
    assert shown["sources"]["gateways.main.secret"] == path


def test_print_of_a_wrong_configuration_ends_with_78(tmp_path: Path) -> None:
    assert run("print", "--config", written(tmp_path, "")) == 78


def test_schema_is_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("schema") == 0
    Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("arguments", [["validate", "--colour"], ["print", "-o", "yaml"], ["change"]])
def test_wrong_use_ends_with_2(arguments: list[str]) -> None:
    assert run(*arguments) == 2


def test_every_command_has_help() -> None:
    assert all(command.help for command in [config, *config.commands.values()])
    assert isinstance(config, click.Group)
