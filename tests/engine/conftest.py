"""Every test of the engine runs on asyncio and on trio, in virtual time: nothing here may touch a real socket."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.engine.virtual_time import virtual_backend


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, object]]:
    """Give each test both event loops, each with a clock that moves only while everything waits."""
    return virtual_backend(request.param)
