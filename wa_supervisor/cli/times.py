"""Durations and moments as operators write them on the command line: `30m`, and `2026-01-31T12:00:00Z`."""

from __future__ import annotations

import re
from datetime import datetime

import click

from wa_supervisor.cli.reaching import now

_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def seconds_of(text: str) -> float | None:
    """Read `30s`, `30m`, `2h` or `1d`; `None` for anything else, and for no time at all."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text, re.ASCII)
    return (int(found[1]) * _UNITS[found[2]] or None) if found else None


def moment_of(text: str) -> float | None:
    """Read a time with its offset, as RFC 3339 has it, into seconds since the epoch; `None` for anything else."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if read.tzinfo is None else read.timestamp()


def read_duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Read an option's duration into seconds, or fail as wrong use."""
    seconds = None if value is None else seconds_of(value)
    if value is not None and seconds is None:
        raise click.BadParameter(f"{value!r} is not a duration; give e.g. 30s, 30m, 2h or 1d", ctx, param)
    return seconds


def read_since(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Read an option's moment, a time or how long ago, into seconds since the epoch, or fail as wrong use."""
    if value is None:
        return None
    ago = seconds_of(value)
    moment = moment_of(value) if ago is None else now() - ago
    if moment is None:
        raise click.BadParameter(f"{value!r} is no time; give e.g. 10m, 2h, 1d or 2026-01-31T12:00:00Z", ctx, param)
    return moment
