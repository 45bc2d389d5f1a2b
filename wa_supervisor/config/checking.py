"""Values of a layer against the models: settings, or words for everything that is wrong.

Pure. Knows where every value came from, so that a mistake can say which file or variable to mend.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from wa_supervisor.config.catalogue import GATEWAYS, Key, dotted
from wa_supervisor.config.contradictions import Contradiction
from wa_supervisor.config.layers import DEFAULT, Entry, Layer, declared_gateways
from wa_supervisor.config.mistakes import Findings, wrong_value
from wa_supervisor.config.settings import Settings


def checked(layer: Layer, findings: Findings) -> Settings | None:
    """Return the settings that `layer` adds up to, or note everything that is wrong with its values.

    Values that are wrong by themselves are taken out to find what contradicts among the others.
    """
    settings, errors = _validated(layer)
    wrong = {tuple(str(part) for part in error["loc"]): error for error in errors if error["loc"]}
    for key, error in wrong.items():
        findings.mistake(key, wrong_value(key, error), _origin(dotted(key), layer))
    if wrong:
        _, errors = _validated(_without(layer, wrong))
    for contradiction in _contradictions(errors):
        if not {dotted(key) for key in wrong} & set(contradiction.keys):
            findings.mistakes.append(_contradiction_mistake(contradiction, layer))
    return settings


def _validated(layer: Layer) -> tuple[Settings | None, list[ErrorDetails]]:
    try:
        return Settings.model_validate(_tree(layer)), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _tree(layer: Layer) -> dict[str, object]:
    gateways: dict[str, dict[str, object]] = {name: {} for name in declared_gateways([layer])}
    sections: dict[str, dict[str, object]] = {}
    for key, entry in layer.items():
        if len(key) == 3:
            gateways[key[1]][key[2]] = entry.value
        elif key[0] != GATEWAYS:
            sections.setdefault(key[0], {})[key[1]] = entry.value
    return {**sections, GATEWAYS: gateways}


def _without(layer: Layer, wrong: Mapping[Key, ErrorDetails]) -> Layer:
    """Return what is right of `layer`, so that contradictions among it can be found beside the wrong values.

    A gateway without a right address gets one that nobody else has: it is needed for a value to exist, and
    contradictions about it are not told.
    """
    stand_ins = {
        key: Entry(value=f"http://{number}.invalid", origin=DEFAULT, folder=Path())
        for number, key in enumerate(wrong)
        if key[0] == GATEWAYS and key[-1] == "url"
    }
    return {key: entry for key, entry in layer.items() if key not in wrong} | stand_ins


def _contradictions(errors: list[ErrorDetails]) -> list[Contradiction]:
    return [found for error in errors for found in error.get("ctx", {}).get("found", ())]


def _contradiction_mistake(contradiction: Contradiction, layer: Layer) -> str:
    origins = ", ".join(f"{key} from {_origin(key, layer)}" for key in contradiction.keys)
    return f"{contradiction.keys[0]}: {contradiction.text} ({origins})"


def _origin(key: str, layer: Layer) -> str:
    """Return where `key` came from; for a missing address of a gateway, where the gateway came from."""
    origins = {dotted(each): entry.origin for each, entry in layer.items()}
    gateway = key.removesuffix("url") if key.startswith(f"{GATEWAYS}.") and key.endswith(".url") else f"{key}."
    nearby = (origin for each, origin in origins.items() if each.startswith(gateway) or f"{each}." == gateway)
    return origins.get(key) or next(nearby, DEFAULT)
