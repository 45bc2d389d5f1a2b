"""Programs that some tests need and not every machine has."""

from __future__ import annotations

import os
import shutil

import pytest


def required_program(name: str, package: str) -> str:
    """Give the path of a program, skip the test without it, fail it when `WA_TEST_REQUIRE_ALL` is 1."""
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"{name} is not installed (Debian package {package})"
    if os.environ.get("WA_TEST_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
