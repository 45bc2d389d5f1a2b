"""Errors of ours leave task groups as they are; what nobody foresaw keeps its tree."""

from __future__ import annotations

import anyio
import pytest

from wa_supervisor.daemon import told_plainly
from wa_supervisor.domain.errors import ConfigurationError, PermanentError, StoreUnavailableError


def test_without_an_error_nothing_happens() -> None:
    with told_plainly():
        done = True
    assert done


def test_an_error_that_no_group_wraps_passes() -> None:
    with pytest.raises(ZeroDivisionError), told_plainly():
        raise ZeroDivisionError


def test_an_error_of_ours_comes_out_of_groups_of_groups_with_its_cause() -> None:
    error = PermanentError("the port is taken")
    error.__cause__ = OSError("in use")
    with pytest.raises(PermanentError) as caught, told_plainly():
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [error])])
    assert caught.value is error
    assert isinstance(caught.value.__cause__, OSError)


def test_of_several_the_first_comes_out_and_notes_the_others() -> None:
    errors = [ConfigurationError(["one"]), StoreUnavailableError("two"), PermanentError("three")]
    with pytest.raises(ConfigurationError) as caught, told_plainly():
        raise ExceptionGroup("several", errors)
    assert caught.value.__notes__ == ["and also: two", "and also: three"]


def test_a_group_with_something_unforeseen_comes_out_whole() -> None:
    group = ExceptionGroup("mixed", [PermanentError("ours"), ZeroDivisionError("not ours")])
    with pytest.raises(ExceptionGroup) as caught, told_plainly():
        raise group
    assert caught.value is group


@pytest.mark.anyio
async def test_a_task_that_fails_is_heard_as_if_there_were_no_task_group() -> None:
    async def fail() -> None:
        raise PermanentError("it cannot be")

    with pytest.raises(PermanentError, match="it cannot be"), told_plainly():
        async with anyio.create_task_group() as tasks:  # noqa: ASYNC112  # the group is what is tested
            tasks.start_soon(fail)
