"""The statements in `sql/`, by name.

A file holds any number of statements, each below a line `-- name: what_it_does`; comments below that line go to the
server too, where `pg_stat_statements` and logs show them. Read once; nothing here knows what the statements do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

_HEADING = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def queries() -> Mapping[str, bytes]:
    """Give every statement of every file."""
    folder = files("wa_supervisor.adapters.postgres").joinpath("sql")
    return named(file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".sql"))


def named(texts: Iterable[str]) -> Mapping[str, bytes]:
    """Cut texts at their headings; a name used twice is a mistake of ours and raises `ValueError`."""
    found: dict[str, bytes] = {}
    for text in texts:
        _, *parts = _HEADING.split(text)
        for name, body in zip(parts[::2], parts[1::2], strict=True):
            if name in found:
                raise ValueError(f"two statements are named {name!r}")
            found[name] = body.strip().encode()
    return found
