"""Secrets come from files or stdin, never from the command line, where every process of the host could read them."""

from __future__ import annotations

import click
import msgspec

from wa_supervisor.cli.failing import CommandError

LARGEST = 16_384
"""Characters of the largest secret that is read: a whole record has no more."""


def read_secret(source: str) -> str:
    """Read one line from a file, or from stdin for `-`; blanks around it are dropped. Raises `CommandError`."""
    text = _read(source)
    if len(text.split()) != 1:
        raise CommandError(f"{_named(source)} must hold the secret on one line and nothing else")
    return text


def read_json_secret(source: str) -> object:
    """Read JSON from a file, or from stdin for `-`. Raises `CommandError`."""
    try:
        return msgspec.json.decode(_read(source))
    except (msgspec.DecodeError, RecursionError):
        # The words of the cause may hold a piece of what was read: neither kept nor shown.
        raise CommandError(f"{_named(source)} must hold JSON and nothing else") from None


def _read(source: str) -> str:
    try:
        with click.open_file(source, encoding="utf-8") as file:
            text = str(file.read(LARGEST + 1)).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CommandError(f"{_named(source)} cannot be read: {reason}") from error
    if len(text) > LARGEST:
        raise CommandError(f"{_named(source)} is longer than {LARGEST} characters; is it the right file?")
    return text


def _named(source: str) -> str:
    return "stdin" if source == "-" else source
