"""The Lua scripts of this package, each in its `.lua` file."""

from __future__ import annotations

from importlib.resources import files


def read_script(name: str) -> bytes:
    """Give the text of one of them."""
    return (files("wa_supervisor.adapters.redis") / f"{name}.lua").read_bytes()
