"""How commands fail: a sentence on stderr that says what to do next, an exit code, no traceback.

What is raised by our own code below becomes that here; anything else is a mistake in the program and keeps its
traceback.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import click

from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.words import one_line
from wa_supervisor.domain.errors import ConfigurationError, StoreUnavailableError, WaSupervisorError

P = ParamSpec("P")
R = TypeVar("R")


class CommandError(Exception):
    """The command could not do what it was asked; `sentences` say why and what to do, one line each."""

    def __init__(self, *sentences: str, code: Exit = Exit.FAILED) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences
        self.code = code

    def show(self) -> None:
        """Write the sentences to stderr."""
        for sentence in self.sentences:
            click.echo(f"error: {one_line(sentence)}", err=True)


@contextmanager
def expected_errors() -> Iterator[None]:
    """Turn our own errors into a `CommandError` with its exit code."""
    try:
        yield
    except ConfigurationError as error:
        raise CommandError(*error.mistakes, code=Exit.CONFIGURATION) from error
    except StoreUnavailableError as error:
        raise CommandError(str(error), code=Exit.UNKNOWN) from error
    except WaSupervisorError as error:
        raise CommandError(str(error)) from error


def failing_well(command: Callable[P, R]) -> Callable[P, R]:
    """Have a command's function end in sentences on stderr and an exit code."""

    @functools.wraps(command)
    def carried_out(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with expected_errors():
                return command(*args, **kwargs)
        except CommandError as error:
            error.show()
            raise SystemExit(error.code) from error

    return carried_out


def warn(sentence: str) -> None:
    """Say something on stderr that does not keep the command from doing its work."""
    click.echo(f"warning: {one_line(sentence)}", err=True)
