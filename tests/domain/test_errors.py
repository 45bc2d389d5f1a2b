"""The error tree: what is drawn is what is there."""

from __future__ import annotations

import re

import pytest

from wa_supervisor.domain import errors
from wa_supervisor.domain.errors import ConfigurationError, PermanentError, TemporaryError, WaSupervisorError


def drawn() -> dict[str, str]:
    """Give each error of the drawing with the one that it hangs on."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r" {4}([ |]*)(\+-- )?(\w+Error)\b", line):
            depth = len(found[1]) // 4 + (1 if found[2] else 0)
            path[depth:] = [found[3]]
            if depth:
                parents[found[3]] = path[depth - 1]
    return parents


def tree(root: type[WaSupervisorError]) -> dict[str, str]:
    """Give each error of the program with the one that it inherits from."""
    found = {child.__name__: root.__name__ for child in root.__subclasses__() if child.__module__ == errors.__name__}
    for child in root.__subclasses__():
        found |= tree(child)
    return found


def every(root: type[WaSupervisorError]) -> list[type[WaSupervisorError]]:
    """Give an error and all of the domain's below it; an adapter may have kinds of its own."""
    ours = (child for child in root.__subclasses__() if child.__module__ == root.__module__)
    return [root, *(one for child in ours for one in every(child))]


def test_drawing_shows_the_tree_as_it_is() -> None:
    assert drawn() == tree(WaSupervisorError)
    temperaments = {child for child, parent in tree(WaSupervisorError).items() if parent == "WaSupervisorError"}
    assert temperaments == {"TemporaryError", "PermanentError"}


@pytest.mark.parametrize("error", every(WaSupervisorError))
def test_every_error_has_a_word_of_its_own_for_a_column(error: type[WaSupervisorError]) -> None:
    assert re.fullmatch(r"([A-Z][a-z]+)+", error.reason)
    assert [other for other in every(WaSupervisorError) if other.reason == error.reason] == [error]


def test_temporary_error_may_say_when_to_come_back() -> None:
    assert TemporaryError("busy").retry_after is None
    assert TemporaryError("busy", retry_after=3.5).retry_after == 3.5
    assert str(TemporaryError("busy", retry_after=3.5)) == "busy"


def test_configuration_error_carries_every_mistake() -> None:
    error = ConfigurationError(["a: wrong", "b: missing"])
    assert isinstance(error, PermanentError)
    assert error.mistakes == ("a: wrong", "b: missing")
    assert str(error) == "a: wrong\nb: missing"
