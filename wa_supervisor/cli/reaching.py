"""How a command reaches Redis: its options, and the operator's desk that they lead to."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wa_supervisor.cli.failing import warn
from wa_supervisor.cli.whereabouts import Whereabouts, find, settled

if TYPE_CHECKING:
    from wa_supervisor.adapters.redis.desk import OperatorDesk

Command = TypeVar("Command", bound=Callable[..., Any])

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file; else $WA_SUPERVISOR_CONFIG, else /etc/wa-supervisor/config.toml.",
)


def reaching(command: Command) -> Command:
    """Give a command the options `path` and `embedded`."""
    help_text = "Use the private servers of `run --embedded`; found without this when redis.url is not set."
    return config_option(click.option("--embedded", is_flag=True, help=help_text)(command))


def now() -> float:
    """Give the wall clock, seconds since the epoch: what the times in a status are compared with."""
    return datetime.now(UTC).timestamp()


@contextmanager
def operator_desk(path: Path | None, *, embedded: bool) -> Iterator[OperatorDesk]:
    """Give the desk at the daemon's Redis, until the end of the block. Nothing is connected yet."""
    with desk_at(find(path, os.environ), embedded=embedded) as desk:
        yield desk


@contextmanager
def desk_at(whereabouts: Whereabouts, *, embedded: bool) -> Iterator[OperatorDesk]:
    """Give the desk at these whereabouts, until the end of the block."""
    from wa_supervisor.adapters.redis.desk import OperatorDesk

    place = settled(whereabouts, embedded=embedded)
    logger, teller = logging.getLogger("wa_supervisor"), _Teller()
    logger.addHandler(teller)
    try:
        with OperatorDesk(place.url, place.password or None, place.prefix) as desk:
            yield desk
    finally:
        logger.removeHandler(teller)


class _Teller(logging.Handler):
    """Shows what adapters log as warnings of the command, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        about = [str(record.__dict__[name]) for name in ("what", "about", "why") if name in record.__dict__]
        sentence = ": ".join([record.getMessage(), *about])
        if sentence not in self._told:
            self._told.add(sentence)
            warn(sentence)
