"""The `wa-supervisor` command.

Commands are imported when they are asked for, so that `status` does not wait for libraries that only the daemon needs.
Output goes to stdout, everything said about it to stderr. Exit codes are in `wa_supervisor.cli.exits`. Ctrl-C ends any
command at once, and a reader that goes away ends it quietly.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, cast

import click

from wa_supervisor import __version__
from wa_supervisor.cli.exits import Exit

_COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "run": ("wa_supervisor.cli.run:run", "Run the daemon."),
        "demo": ("wa_supervisor.cli.demo:demo", "Show everything on one machine, with no set-up."),
        "status": ("wa_supervisor.cli.status:status", "Show sessions in a table, with why and what next."),
        "get": ("wa_supervisor.cli.status:get", "Print sessions for machines: JSON, TSV or names."),
        "describe": ("wa_supervisor.cli.describe:describe", "Show everything about one session."),
        "events": ("wa_supervisor.cli.events:events", "Show what happened, and what happens."),
        "add": ("wa_supervisor.cli.wish:add", "Declare an integration."),
        "set": ("wa_supervisor.cli.wish:set_", "Change keys of an integration."),
        "remove": ("wa_supervisor.cli.wish:remove", "Remove integrations; their logins are kept."),
        "apply": ("wa_supervisor.cli.apply:apply", "Confirm a wish that lost much at once."),
        "pause": ("wa_supervisor.cli.switching:pause", "Close sessions until they are resumed, or for a while."),
        "resume": ("wa_supervisor.cli.switching:resume", "End a pause."),
        "restart": ("wa_supervisor.cli.switching:restart", "Restart sessions, browser and all."),
        "release": ("wa_supervisor.cli.switching:release", "End the quarantine of sessions."),
        "login": ("wa_supervisor.cli.login:login", "Show the QR or pairing code until it is connected."),
        "dead": ("wa_supervisor.cli.dead:dead", "Show, replay and drop what could not be delivered."),
        "doctor": ("wa_supervisor.cli.doctor:doctor", "Look for what is amiss, and say what mends it."),
        "config": ("wa_supervisor.cli.configuration:config", "Check and show the configuration."),
        "simulate-gateway": ("wa_supervisor.cli.simulate:simulate_gateway", "Run a simulated gateway."),
    }
)


class _LateGroup(click.Group):
    """Knows its commands by name and a line of help; imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        return cast("click.Command", getattr(import_module(module), name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,  # noqa: ANN401 - click's own signature
    ) -> Any:  # noqa: ANN401 - click's own signature
        """Run, and end as shells expect: click itself takes Ctrl-C for a failure."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.Abort:
            sys.exit(Exit.INTERRUPTED)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        sys.exit(code if isinstance(code, int) else 0)


@click.command(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="wa-supervisor", message="%(prog)s %(version)s")
def root() -> None:
    """Keep declared WhatsApp sessions running and carry their messages to and from AI agents."""


def main() -> None:
    """Run the command; the entry point of the package."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character shows another
    root(prog_name="wa-supervisor")
