"""`doctor`: looks at everything that the daemon needs, says what is amiss and what mends it, and touches nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wa_supervisor.cli import terminal
from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.failing import CommandError, failing_well
from wa_supervisor.cli.findings import Finding, Verdict, as_json, doubtful, draw, fine, parted, without, worst, wrong
from wa_supervisor.cli.reaching import desk_at, reaching
from wa_supervisor.cli.whereabouts import Whereabouts, settled, whereabouts_of

if TYPE_CHECKING:
    from wa_supervisor.config import LoadedSettings, Settings


@click.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@reaching
@failing_well
def doctor(output: str, path: Path | None, *, embedded: bool) -> None:
    """Look for what is amiss: configuration, Redis, PostgreSQL, gateways, daemons, clocks. Nothing is changed.

    Run it as the daemon's user, with the daemon's environment, to see what the daemon sees.

    \b
    Exit code 0   all is well, or nothing worse than warnings
              1   there is a problem
              78  the configuration is wrong, so nothing else was looked at
    """
    from wa_supervisor.config import load_settings
    from wa_supervisor.domain.errors import ConfigurationError

    try:
        loaded = load_settings(path, os.environ)
    except ConfigurationError as error:
        _show([wrong("configuration", *_mistake(mistake)) for mistake in error.mistakes], output)
        raise SystemExit(Exit.CONFIGURATION) from error
    findings = without(_secrets(loaded.settings), list(_findings(loaded, embedded=embedded)))
    _show(findings, output)
    if worst(findings) is Verdict.PROBLEM:
        raise SystemExit(Exit.FAILED)


def _secrets(settings: Settings) -> Iterator[str]:
    """Give what a server might repeat in its own words; of addresses the passwords are taken out anyway."""
    from pydantic import SecretStr

    for key, value in settings.flat().items():
        if isinstance(value, SecretStr) and not key.endswith(".url"):
            yield value.get_secret_value()


def _mistake(mistake: str) -> tuple[str, str]:
    return mistake, "correct it, and see: wa-supervisor config validate"


def _findings(loaded: LoadedSettings, *, embedded: bool) -> Iterator[Finding]:
    from wa_supervisor.cli.neighbour_findings import neighbour_findings

    settings = loaded.settings
    yield fine("configuration", f"{loaded.path or 'no file, only the environment'}")
    for notice in loaded.notices:
        yield doubtful("configuration", notice, "see docs/configuration.md; nothing to do if it is meant")
    whereabouts = whereabouts_of(loaded)
    database = settings.postgres.url.get_secret_value()
    try:
        place = settled(whereabouts, embedded=embedded)
    except CommandError as error:
        yield wrong("embedded", *parted(error.sentences[0]))
        yield from neighbour_findings(settings, "")
        return
    yield from _redis(place, may_configure=settings.redis.notifications)
    yield from neighbour_findings(settings, _private_database(whereabouts, place) or database)


def _redis(place: Whereabouts, *, may_configure: bool) -> Iterator[Finding]:
    from wa_supervisor.cli.redis_findings import redis_findings

    # Decided already which server it is.
    with desk_at(replace(place, is_embedded=False, is_url_given=True), embedded=False) as desk:
        yield from redis_findings(desk, may_configure=may_configure)


def _private_database(configured: Whereabouts, place: Whereabouts) -> str | None:
    """Give the private PostgreSQL that belongs to the Redis that was found, if that is a private one."""
    from wa_supervisor.embedded import read_endpoints

    if place.url == configured.url:
        return None
    endpoints = read_endpoints(place.state_dir)
    return endpoints.database_url if endpoints else None


def _show(findings: Sequence[Finding], output: str) -> None:
    if output == "json":
        click.echo(as_json(findings), nl=False)
        return
    colour = terminal.has_colours()
    click.echo(draw(findings, width=terminal.width(), colour=colour), nl=False, color=colour)
