"""Durations and moments as operators write them."""

from __future__ import annotations

import pytest

from wa_supervisor.cli.times import moment_of, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30.0), ("30m", 1800.0), ("2h", 7200.0), ("1d", 86_400.0), ("090m", 5400.0)]
)
def test_a_duration_is_a_number_and_its_unit(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "30", "0s", "00h", "1w", "-1s", "1.5h", "1h30m", " 1s", "1s\n", "٣s", "1" * 7 + "s"]
)
def test_anything_else_is_none(text: str) -> None:
    assert seconds_of(text) is None


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:01:40Z", 100.0),
        ("1970-01-01T01:01:40+01:00", 100.0),
        ("1970-01-01 00:01:40.5+00:00", 100.5),
    ],
)
def test_a_moment_has_its_offset(text: str, at: float) -> None:
    assert moment_of(text) == at


@pytest.mark.parametrize("text", ["", "1970-01-01", "1970-01-01T00:01:40", "yesterday", "100"])
def test_a_time_of_no_certain_moment_is_none(text: str) -> None:
    assert moment_of(text) is None
