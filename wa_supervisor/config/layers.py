"""Layers of settings: one reading of the file, the environment or the credentials, and how a later one covers another.

A layer is a flat mapping of keys to entries; an entry remembers where it came from and what its paths are relative to.
A value and its `_file` key are two spellings of one setting: within a layer they exclude each other, and a later layer
that gives either covers both. Values are not judged here, only keys.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wa_supervisor.config.catalogue import (
    FILE,
    GATEWAYS,
    SECTIONS,
    Key,
    dotted,
    field_of,
    is_secret,
    other_spelling,
    shown_path,
)
from wa_supervisor.config.mistakes import Findings, not_a_setting
from wa_supervisor.config.values import NAME, PATTERN_PROSE, mask_url
from wa_supervisor.domain.errors import ConfigurationError

DEFAULT = "default"
"""Origin of a value that no layer gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A value as it was found; its own text never shows it."""

    value: object
    origin: str
    """Reads on from "from": a file's path, `environment NAME`, `credential NAME`."""
    folder: Path
    """What a relative path in the value is relative to."""

    def __repr__(self) -> str:
        return f"<Entry from {self.origin}>"


Layer = dict[Key, Entry]
"""Key -> entry. A gateway's table without any key stands as `("gateways", name)`."""


def read_file(path: Path, findings: Findings) -> Layer:
    """Return what the TOML file says. Raises `ConfigurationError` when it cannot be read at all."""
    document = _parse(path)
    layer: Layer = {}
    origin = shown_path(path)
    for key, value in _leaves(document, origin, findings):
        put(layer, key, Entry(value=value, origin=origin, folder=path.parent), findings)
    _warn_of_open_secrets(path, layer, findings)
    return layer


def put(layer: Layer, key: Key, entry: Entry, findings: Findings) -> None:
    """Add an entry, or note why there can be no such key."""
    if key[0] == GATEWAYS and len(key) > 1 and not re.fullmatch(NAME, key[1]):
        findings.mistake(key[:2], PATTERN_PROSE[NAME], entry.origin)
    elif key == (GATEWAYS, key[-1]) or field_of(key):
        layer[key] = entry
    else:
        findings.mistake(key, not_a_setting(key), entry.origin)


def covered(layers: Iterable[Layer], findings: Findings) -> Layer:
    """Return one layer in which later ones have covered earlier ones, setting by setting."""
    result: Layer = {}
    for layer in layers:
        _note_double_spellings(layer, findings)
        for key, entry in layer.items():
            other = other_spelling(key)
            if other and other not in layer and entry.value != "":
                result.pop(other, None)
        result |= layer
    return result


def declared_gateways(layers: Iterable[Layer]) -> list[str]:
    """Return the names of the gateways that the layers mention, first mention first."""
    return list(dict.fromkeys(key[1] for layer in layers for key in layer if key[0] == GATEWAYS))


def _note_double_spellings(layer: Layer, findings: Findings) -> None:
    for key, entry in layer.items():
        other = layer.get((*key[:-1], key[-1].removesuffix(FILE))) if key[-1].endswith(FILE) else None
        if other and entry.value != "" and other.value != "":
            text = f"is given beside {dotted(key)[: -len(FILE)]}; remove one of the two"
            findings.mistake(key, text, " and ".join(dict.fromkeys([entry.origin, other.origin])))


def _parse(path: Path) -> dict[str, object]:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigurationError(
            [f"{shown_path(path)}: cannot be read: {reason}; give the path of a readable file"]
        ) from error
    try:
        return tomllib.loads(content.decode())
    except RecursionError:
        text = "is nested too deeply; a configuration has tables of keys and nothing below"
        raise ConfigurationError([f"{shown_path(path)}: {text}"]) from None
    except ValueError as error:
        raise ConfigurationError([_syntax_mistake(path, content, error)]) from None


def _syntax_mistake(path: Path, content: bytes, error: ValueError) -> str:
    place = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
    file = shown_path(path)
    what = re.sub(r" \(at [^()]*\)$", "", str(error))
    if place:
        return f"{file}, line {place[1]}, column {place[2]}: {what}"
    if isinstance(error, UnicodeDecodeError):
        return f"{file}, {_place(content[: error.start])}: a byte that is not UTF-8; save the file as UTF-8"
    if not isinstance(error, tomllib.TOMLDecodeError):
        return f"{file}: a number with thousands of digits; give one that fits its setting"
    return f"{file}, {_place(content)}: {what}, where the file ends"


def _place(before: bytes) -> str:
    lines = before.decode().split("\n")
    return f"line {len(lines)}, column {len(lines[-1]) + 1}"


def _leaves(document: Mapping[str, object], origin: str, findings: Findings) -> Iterator[tuple[Key, object]]:
    for section, content in document.items():
        if section not in SECTIONS:
            findings.mistake((section,), not_a_setting((section,)), origin)
        elif not isinstance(content, dict):
            findings.mistake((section,), f"is not a table; write {_header(section)} and its keys below", origin)
        elif section == GATEWAYS:
            yield from _gateway_leaves(content, origin, findings)
        else:
            yield from (((section, key), value) for key, value in content.items())


def _header(section: str) -> str:
    return "[gateways.NAME]" if section == GATEWAYS else f"[{section}]"


def _gateway_leaves(tables: Mapping[str, object], origin: str, findings: Findings) -> Iterator[tuple[Key, object]]:
    for name, table in tables.items():
        if isinstance(table, dict):
            yield (GATEWAYS, name), None
            yield from (((GATEWAYS, name, key), value) for key, value in table.items())
        else:
            text = f"is not a table; write [{dotted((GATEWAYS, name))}] and its keys below"
            findings.mistake((GATEWAYS, name), text, origin)


def _warn_of_open_secrets(path: Path, layer: Layer, findings: Findings) -> None:
    held = [
        dotted(key)
        for key, entry in layer.items()
        if is_secret(key) and isinstance(entry.value, str) and mask_url(entry.value) != entry.value
    ]
    mode = path.stat().st_mode
    if held and stat.S_ISREG(mode) and mode & stat.S_IROTH:
        file = shown_path(path)
        findings.notices.append(
            f"{file} holds {', '.join(held)} and may be read by everybody (mode {stat.S_IMODE(mode):04o}); "
            f"chmod o-r {file}, or put secrets into files of their own"
        )
