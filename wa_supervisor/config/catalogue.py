"""Which settings there are, found out from the models: sections, keys, which of them are secret, what is nearest.

A key is a tuple: `("redis", "url")` or `("gateways", "main", "url")`. Pure look-ups, no state.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from wa_supervisor.config.connections import GatewaySettings
from wa_supervisor.config.settings import Settings
from wa_supervisor.config.values import Section

Key = tuple[str, ...]

GATEWAYS = "gateways"
"""The one section whose tables are named by the operator."""

FILE = "_file"
"""Ending of keys that name a file with the value of the key without it."""


def _section_model(field: FieldInfo) -> type[Section]:
    model = field.annotation
    return model if isinstance(model, type) and issubclass(model, Section) else GatewaySettings


SECTIONS: Mapping[str, type[Section]] = MappingProxyType(
    {name: _section_model(field) for name, field in Settings.model_fields.items()}
)
"""Section -> model of its table; of a gateway's table for `gateways`."""


def field_of(key: Key) -> FieldInfo | None:
    """Return the field that `key` sets, or None when there is no such setting."""
    well_formed = len(key) == (3 if key[0] == GATEWAYS else 2)
    return SECTIONS[key[0]].model_fields.get(key[-1]) if well_formed and key[0] in SECTIONS else None


def is_secret(key: Key) -> bool:
    """Whether the value of `key` must never be shown."""
    field = field_of(key)
    return field is not None and field.annotation is SecretStr


def other_spelling(key: Key) -> Key | None:
    """Return the `_file` key of a value, or the value's key of a `_file` key, or None when there is no such pair."""
    name = key[-1].removesuffix(FILE) if key[-1].endswith(FILE) else key[-1] + FILE
    other = (*key[:-1], name)
    return other if field_of(other) else None


def dotted(key: Key) -> str:
    """Return `key` as the file would have it, odd parts in quotes: `gateways.main.url`."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{clean(part)}"' for part in key)


def clean(text: str, longest: int = 60) -> str:
    """Return `text` fit for a line of a terminal: no control characters, not too long."""
    short = text if len(text) <= longest else f"{text[:longest]}..."
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in short)


def shown_path(path: Path) -> str:
    """Return `path` fit for a line of a terminal."""
    return clean(str(path), 300)


def all_keys(gateways: Iterable[str]) -> list[Key]:
    """Return every key there is, given the gateways' names."""
    plain = [(name, key) for name, model in SECTIONS.items() if name != GATEWAYS for key in model.model_fields]
    return [*plain, *((GATEWAYS, name, key) for name in gateways for key in GatewaySettings.model_fields)]


def nearest(key: Key, gateways: Iterable[str]) -> Key | None:
    """Return the setting or section that `key` was most likely meant to be."""
    known: list[Key] = [*((name,) for name in SECTIONS), *all_keys(gateways)]
    siblings = {each[-1]: each for each in known if each[:-1] == key[:-1]}
    close = difflib.get_close_matches(key[-1][:60], siblings, n=1)
    namesakes = [each for each in known if each[-1] == key[-1]]
    return next(iter([*(siblings[name] for name in close), *namesakes]), None)
