"""What an object holds, and what that holds in turn: every plain value with the path that leads to it.

A step of a path is `Class.attribute` for an object of ours, a key for a mapping, a number for a sequence.

With it a test can say where a setting arrives without knowing beforehand: build twice, with one setting changed, and
compare.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

from pydantic import SecretStr

Path = tuple[str, ...]

_PLAIN = (str, bytes, int, float, bool, type(None), SecretStr, Enum)


def fingerprint(thing: object) -> dict[Path, object]:
    """Give every plain value that is reached through objects of ours, by its path."""
    return dict(_walk(thing, (), set()))


def differences(before: Mapping[Path, object], after: Mapping[Path, object]) -> dict[Path, object]:
    """Give the paths whose value is another one, or that only one side has, with the later value."""
    absent = object()
    return {
        path: after.get(path)
        for path in before.keys() | after.keys()
        if before.get(path, absent) != after.get(path, absent)
    }


def _walk(thing: object, path: Path, seen: set[int]) -> Iterator[tuple[Path, object]]:
    if isinstance(thing, _PLAIN):
        yield path, thing.get_secret_value() if isinstance(thing, SecretStr) else thing
        return
    if id(thing) in seen:
        return
    seen.add(id(thing))
    for name, inner in _parts(thing):
        yield from _walk(inner, (*path, name), seen)


def _parts(thing: object) -> Iterator[tuple[str, object]]:
    if isinstance(thing, Mapping):
        yield from ((str(key), inner) for key, inner in thing.items())
    elif isinstance(thing, list | tuple):
        yield from ((str(number), inner) for number, inner in enumerate(thing))
    elif isinstance(thing, frozenset):
        yield "members", ",".join(sorted(map(str, thing)))
    elif type(thing).__module__.startswith("wa_supervisor."):
        names = {*getattr(thing, "__dict__", {}), *_slots(type(thing))}
        kind = type(thing).__name__
        yield from ((f"{kind}.{name}", getattr(thing, name)) for name in sorted(names) if hasattr(thing, name))


def _slots(kind: type) -> Iterator[str]:
    for each in kind.__mro__:
        slots = each.__dict__.get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots
