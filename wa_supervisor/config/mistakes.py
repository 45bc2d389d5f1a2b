"""Words for what is wrong: every mistake starts with the full key, says what would be right, and where it came from.

Pure. A secret's value is never part of a text; any other value is shortened and rid of what a terminal would obey.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from wa_supervisor.config.catalogue import GATEWAYS, SECTIONS, Key, clean, dotted, field_of, is_secret, nearest
from wa_supervisor.config.values import HIDDEN, PATTERN_PROSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What loading found so far; both lists grow while the layers are read."""

    mistakes: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def mistake(self, key: Key, text: str, origin: str) -> None:
        """Note that `key` is wrong; `text` reads on from the key."""
        if (line := f"{dotted(key)}: {text} (from {origin})") not in self.mistakes:
            self.mistakes.append(line)


def not_a_setting(key: Key) -> str:
    """Return what to say of a key that does not exist."""
    meant = nearest(key, [key[1]] if key[0] == GATEWAYS and len(key) > 1 else [])
    if meant:
        return f"is not a setting; did you mean {dotted(meant)}?"
    siblings = SECTIONS[key[0]].model_fields if len(key) > 1 and key[0] in SECTIONS else SECTIONS
    return f"is not a setting; there are {', '.join(siblings)}"


def wrong_value(key: Key, error: ErrorDetails) -> str:
    """Return what to say of a value that pydantic turned down, the value first where it may be shown."""
    setting, context = field_of(key), error.get("ctx", {})
    if error["type"] == "missing":
        return f'is missing; give e.g. "{_example(setting)}"'
    shown = "its value" if is_secret(key) else show(error["input"])
    template = _TEMPLATES.get(error["type"], "is not right: {message}")
    facts = {
        "range": _range(setting),
        "words": _words(setting),
        "prose": PATTERN_PROSE.get(context.get("pattern", ""), ""),
        "problem": context.get("problem", ""),
        "message": error["msg"],
    }
    return f"{shown} {template.format_map(facts)}"


def show(value: object) -> str:
    """Return a value as the file would have it, shortened, without user and password of an address."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return "its value"
    return clean(re.sub(r"//.*@", f"//{HIDDEN}@", text))


_TEMPLATES: Mapping[str, str] = {
    "refused": "{problem}",
    "string_type": "is not text in quotes",
    "string_unicode": "has bytes that are not UTF-8; give plain text",
    "string_pattern_mismatch": "{prose}",
    "bool_type": "is neither true nor false",
    "int_type": "is not a whole number; give one{range}",
    "float_type": "is not a number; give one{range}",
    "finite_number": "is not a number that ends; give one{range}",
    "greater_than_equal": "is too small; give a number{range}",
    "less_than_equal": "is too large; give a number{range}",
    "literal_error": "is not a known word; give one of {words}",
}
"""Kind of pydantic's error -> what reads on from the value."""


def _range(setting: FieldInfo | None) -> str:
    metadata = setting.metadata if setting else []
    least = next((each.ge for each in metadata if isinstance(each, Ge)), None)
    most = next((each.le for each in metadata if isinstance(each, Le)), None)
    return f" from {least} to {most}" if least is not None and most is not None else ""


def _words(setting: FieldInfo | None) -> str:
    return ", ".join(f'"{word}"' for word in get_args(setting.annotation)) if setting else ""


def _example(setting: FieldInfo | None) -> str:
    examples = (setting.examples if setting else None) or [""]
    return str(examples[0])
