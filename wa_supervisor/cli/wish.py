"""`add`, `set`, `remove`: writing the wish.

A record is judged as the daemon will judge it before it is written, and written only over what was read: nobody's
change is lost. Whether sessions follow is the daemon's work; `--wait` waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from wa_supervisor.cli import terminal
from wa_supervisor.cli.changing import Changes, changes_at, judged_changes_at, waiting
from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.failing import CommandError, failing_well
from wa_supervisor.cli.reaching import reaching
from wa_supervisor.cli.records import Record, decoded, encoded, read_change, with_keys
from wa_supervisor.cli.secret_input import read_json_secret, read_secret

_FROM_FILE = click.Path(dir_okay=False, allow_dash=True)


@click.command()
@click.argument("name", metavar="ID")
@click.option("--agent", required=True, metavar="AGENT", help="The agent that the number belongs to.")
@click.option("--session", metavar="NAME", help="The session's name at its gateway; else wish.default_session.")
@click.option("--gateway", metavar="NAME", help="The gateway; else the only one, or wish.default_gateway.")
@click.option("--token-file", type=_FROM_FILE, help="File with the session's token; - reads it from stdin.")
@click.option("--phone", metavar="DIGITS", help="Log in by pairing code for this number instead of by QR.")
@click.option("--paused", is_flag=True, help="Do not start it before `resume`.")
@click.option("--no-typing", is_flag=True, help='Do not show "typing" until the reply.')
@waiting
@reaching
@failing_well
def add(
    name: str,
    agent: str,
    session: str | None,
    gateway: str | None,
    token_file: str | None,
    phone: str | None,
    wait: float | None,
    path: Path | None,
    *,
    paused: bool,
    no_typing: bool,
    embedded: bool,
) -> None:
    """Declare an integration: an agent gets a number, as a session at a gateway."""
    given = {
        "agent_id": agent,
        "session": session,
        "gateway": gateway,
        "token": read_secret(token_file) if token_file else None,
        "phone": phone,
        "paused": paused or None,
        "typing": False if no_typing else None,
    }
    record: Record = {key: value for key, value in given.items() if value is not None}

    def change(old: bytes | None) -> bytes:
        if old is not None:
            raise CommandError(f"{name!r} is declared already; change it with: wa-supervisor set {name} KEY=VALUE")
        return encoded(record)

    with judged_changes_at(path, embedded=embedded, wait=wait) as changes:
        changes.write_judged(name, change, "added")


@click.command("set")
@click.argument("name", metavar="ID")
@click.argument("assignments", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--token-file", type=_FROM_FILE, help="File with a new token; - reads it from stdin.")
@click.option("--proxy-file", type=_FROM_FILE, help="File with a new proxy as JSON; - reads it from stdin.")
@waiting
@reaching
@failing_well
def set_(
    name: str,
    assignments: Sequence[str],
    token_file: str | None,
    proxy_file: str | None,
    wait: float | None,
    path: Path | None,
    *,
    embedded: bool,
) -> None:
    """Change keys of an integration's record; KEY= takes a key out.

    Values of paused, typing and proxy are JSON, others are text. Keys that are not named stay as they are.
    """
    given = dict(map(read_change, assignments))
    if token_file:
        given["token"] = read_secret(token_file)
    if proxy_file:
        given["proxy"] = read_json_secret(proxy_file)
    if not given:
        raise click.UsageError("say what to change: KEY=VALUE, --token-file or --proxy-file")

    def change(old: bytes | None) -> bytes:
        if old is None:
            raise no_record(name)
        return encoded(with_keys(decoded(name, old), given))

    with judged_changes_at(path, embedded=embedded, wait=wait) as changes:
        changes.write_judged(name, change, "changed")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="ID...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@waiting
@reaching
@failing_well
def remove(names: Sequence[str], wait: float | None, path: Path | None, *, yes: bool, embedded: bool) -> None:
    """Remove integrations. Their sessions are closed and stay logged in at their gateways."""
    if not yes and not _is_wanted(names):
        raise CommandError("nothing was removed")
    with changes_at(path, embedded=embedded, wait=wait) as changes:
        for name in dict.fromkeys(names):
            _remove_one(changes, name)


def _is_wanted(names: Sequence[str]) -> bool:
    if not terminal.can_ask():
        return True
    return click.confirm(f"Remove {', '.join(names)}? Logins are kept.", err=True)


def _remove_one(changes: Changes, name: str) -> None:
    def change(old: bytes | None) -> None:
        if old is None:
            raise no_record(name)

    changes.write(name, change, "removed")


def no_record(name: str) -> CommandError:
    """Say that nothing is declared under this id."""
    return CommandError(f"no session {name!r} is declared; see: wa-supervisor status", code=Exit.UNKNOWN)
