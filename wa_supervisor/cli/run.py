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

    from wa_supervisor.config import LoadedSettings, Settings

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
    """Run the daemon until SIGTERM or Ctrl-C; SIGHUP reloads the configuration.

    Exits with 0 after a stop in order, with 128 and the signal's number when a second signal cut that short, with 70
    when something did not end and the process was left by force (the log names it), with 78 for a wrong configuration.
    """
    import anyio

    from wa_supervisor.adapters.logs import set_up_logging
    from wa_supervisor.daemon import Daemon, LastResort, run_under_signals, tell_notices
    from wa_supervisor.domain.errors import ConfigurationError, WaSupervisorError

    async def serve(settings: Settings) -> Signals | None:
        # Never disarmed: also what comes after the event loop may hang, and nothing follows this command.
        daemon = Daemon(settings, environ=os.environ, last_resort=LastResort())
        return await run_under_signals(daemon, reload)

    try:
        loaded = _load(path, embedded=embedded)

        def reload() -> Settings:
            # The file of the start, also one that nobody named: if it vanished, that is a mistake.
            again = _load(loaded.path or path, embedded=embedded)
            tell_notices(again.notices)
            return again.settings

        set_up_logging(loaded.settings.daemon.log_level, loaded.settings.daemon.log_format)
        tell_notices(loaded.notices)
        cut_short = anyio.run(serve, loaded.settings, backend="asyncio")
    except ConfigurationError as error:
        click.echo("\n".join(error.mistakes), err=True)
        sys.exit(Exit.CONFIGURATION)
    except WaSupervisorError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(Exit.FAILED)
    if cut_short:
        sys.exit(SIGNALLED + cut_short)


def _load(path: Path | None, *, embedded: bool) -> LoadedSettings:
    from wa_supervisor.config import load_settings

    environ = dict(os.environ)
    if embedded:
        environ["WA_SUPERVISOR_EMBEDDED__ENABLED"] = "true"
    return load_settings(path, environ)
