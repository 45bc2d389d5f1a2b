"""`wa-supervisor run`: the daemon in the foreground, as a service manager wants it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wa_supervisor.cli.exits import Exit

if TYPE_CHECKING:
    from signal import Signals

    from wa_supervisor.config import Settings

SIGNALLED = 128
"""Exit codes of a daemon that a second signal ended at once begin here, as shells have it; see `Exit.INTERRUPTED`."""


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file; else $WA_SUPERVISOR_CONFIG, else /etc/wa-supervisor/config.toml.",
)
@click.option("--embedded", is_flag=True, help="Start private Valkey and PostgreSQL servers and use them.")
def run(path: Path | None, *, embedded: bool) -> None:
    """Run the daemon until SIGTERM or Ctrl-C; SIGHUP reloads the configuration."""
    import anyio

    from wa_supervisor.adapters.logs import set_up_logging
    from wa_supervisor.daemon import Daemon, run_under_signals
    from wa_supervisor.domain.errors import ConfigurationError, WaSupervisorError

    def load() -> Settings:
        return _load(path, embedded=embedded)

    async def serve(settings: Settings) -> Signals | None:
        return await run_under_signals(Daemon(settings, environ=os.environ), load)

    try:
        settings = load()
        set_up_logging(settings.daemon.log_level, settings.daemon.log_format)
        cut_short = anyio.run(serve, settings, backend="asyncio")
    except ConfigurationError as error:
        click.echo("\n".join(error.mistakes), err=True)
        sys.exit(Exit.CONFIGURATION)
    except WaSupervisorError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(Exit.FAILED)
    if cut_short:
        sys.exit(SIGNALLED + cut_short)


def _load(path: Path | None, *, embedded: bool) -> Settings:
    from wa_supervisor.config import load_settings

    environ = dict(os.environ)
    if embedded:
        environ["WA_SUPERVISOR_EMBEDDED__ENABLED"] = "true"
    loaded = load_settings(path, environ)
    for notice in loaded.notices:
        click.echo(f"notice: {notice}", err=True)
    return loaded.settings
