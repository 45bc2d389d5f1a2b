"""The servers that tests share, and an environment that no setting of the machine reaches into."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from tests.servers import database_url, postgres_url, redis_url, valkey_url

__all__ = ["database_url", "postgres_url", "redis_url", "valkey_url"]

# No test asserts a time, and a busy machine would make hypothesis' own deadline one.
hypothesis.settings.register_profile("ours", deadline=None)
hypothesis.settings.load_profile("ours")

_OURS = (
    "WA_SUPERVISOR_",
    "WPPCONNECT_",
    "REDIS_",
    "DATABASE_URL",
    "LOG_LEVEL",
    "NOTIFY_SOCKET",
    "WATCHDOG_",
    "COLUMNS",
    "LINES",
)


@pytest.fixture(autouse=True, scope="session")
def _clean_environment() -> Iterator[None]:
    """Take out of the environment what would be taken for a setting."""
    taken = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_OURS)}
    yield
    os.environ.update(taken)
