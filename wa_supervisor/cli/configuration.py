"""`wa-supervisor config`: check the configuration, show what it adds up to, describe what may stand in it.

What was asked for goes to stdout, notices and mistakes to stderr. Secrets are never shown. Speaks to nobody: whether
servers answer is `doctor`'s question.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.reaching import config_option

if TYPE_CHECKING:
    from wa_supervisor.config import LoadedSettings


@click.group()
def config() -> None:
    """Check, show and describe the configuration."""


@config.command()
@config_option
def validate(path: Path | None) -> None:
    """Check everything the daemon would read: file, environment and credentials."""
    loaded = _load(path)
    click.echo(f"{loaded.path or 'no file, only the environment'}: fine")


@config.command("print")
@config_option
@click.option(
    "-o", "--output", type=click.Choice(["toml", "json"]), default="toml", show_default=True, help="Form of the output."
)
def print_settings(path: Path | None, output: str) -> None:
    """Show the effective settings, secrets masked, with where each came from."""
    from wa_supervisor.config import effective_toml

    loaded = _load(path)
    if output == "json":
        shown = {"schema": 1, "settings": loaded.settings.masked(), "sources": dict(loaded.sources)}
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(effective_toml(loaded), nl=False)


@config.command()
def schema() -> None:
    """Write the JSON Schema of the configuration file, for editors and other checkers."""
    from wa_supervisor.config import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


def _load(path: Path | None) -> LoadedSettings:
    from wa_supervisor.config import load_settings
    from wa_supervisor.domain.errors import ConfigurationError

    try:
        loaded = load_settings(path, os.environ)
    except ConfigurationError as error:
        _give_up(error.mistakes)
    for notice in loaded.notices:
        click.echo(f"notice: {notice}", err=True)
    return loaded


def _give_up(mistakes: tuple[str, ...]) -> NoReturn:
    for mistake in mistakes:
        click.echo(mistake, err=True)
    raise SystemExit(Exit.CONFIGURATION)
