"""What holds of every value of the domain: frozen, slotted, keyword-only."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from typing import get_args

import msgspec
import pytest

from wa_supervisor import domain
from wa_supervisor.domain.observations import Observation


def classes() -> Iterator[type]:
    """Give every class that a module of the domain defines."""
    for module in pkgutil.iter_modules(domain.__path__, f"{domain.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and value.__module__ == module.name:
                yield value


DATACLASSES = [one for one in classes() if dataclasses.is_dataclass(one)]
STRUCTS = [one for one in classes() if issubclass(one, msgspec.Struct)]


@pytest.mark.parametrize("value", DATACLASSES, ids=lambda one: one.__name__)
def test_dataclass_is_frozen_slotted_and_keyword_only(value: type) -> None:
    assert value.__dataclass_params__.frozen  # type: ignore[attr-defined]  # every dataclass has it
    assert "__slots__" in vars(value)
    assert all(field.kw_only for field in dataclasses.fields(value))


@pytest.mark.parametrize("value", STRUCTS, ids=lambda one: one.__name__)
def test_struct_is_frozen_and_keyword_only(value: type[msgspec.Struct]) -> None:
    assert value.__struct_config__.frozen
    if value.__struct_fields__:
        with pytest.raises(TypeError):
            value(*range(len(value.__struct_fields__)))


def test_there_are_values_to_look_at() -> None:
    assert len(DATACLASSES) > 20
    assert len(STRUCTS) > 5


@pytest.mark.parametrize("observation", get_args(Observation), ids=lambda one: one.__name__)
def test_observation_has_no_field_for_what_people_write_or_for_a_secret(observation: type) -> None:
    names = {field.name for field in dataclasses.fields(observation)}
    assert names.isdisjoint({"text", "payload", "body", "token", "chat", "chat_id", "phone", "data"})
