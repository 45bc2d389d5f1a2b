"""Words of the command line: ages, times, lines of a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_supervisor.cli.words import age, cells, cut, one_line, padded, rfc3339, wrapped


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (0, "0 s"),
        (42.4, "42 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_199, "120 min"),
        (7_200, "2 h"),
        (172_799, "48 h"),
        (172_800, "2 d"),
        (8_640_000, "100 d"),
    ],
)
def test_an_age_is_said_in_one_unit(seconds: float, words: str) -> None:
    assert age(seconds) == words


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_800_000_000.25, "2027-01-15T08:00:00.250Z"),
        (None, None),
        (1e300, None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_a_time_is_rfc_3339_and_an_impossible_one_is_none(at: float | None, words: str | None) -> None:
    assert rfc3339(at) == words


def test_one_line_spells_out_what_a_terminal_would_obey() -> None:
    assert one_line("a\x1b[31mred\x07\n\t b\u202ec") == "a\\x1b[31mred\\x07 b\\u202ec"


@given(st.text())
def test_one_line_is_printable_whatever_comes(text: str) -> None:
    assert one_line(text).isprintable()


def test_wide_characters_take_two_columns_and_combining_ones_none() -> None:
    assert [cells(text) for text in ("abc", "日本", "e\u0301", "🙂")] == [3, 4, 1, 2]


@given(st.text(st.characters(categories=["L", "N", "So", "Mn"])), st.integers(1, 30))
def test_cut_fits_and_says_that_something_is_missing(text: str, width: int) -> None:
    shown = cut(text, width)
    assert cells(shown) <= width
    assert shown == text or shown.endswith("…")


def test_padded_fills_columns_and_not_characters() -> None:
    assert padded("日本", 6) == "日本  "
    assert padded("7", 3, right=True) == "  7"


@given(st.text(st.characters(categories=["L", "N", "Zs"]), max_size=200), st.integers(2, 40))
def test_wrapped_lines_fit_and_lose_nothing(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert lines
    assert all(cells(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_wrapped_breaks_at_blanks() -> None:
    assert wrapped("the gateway answered 503 to it", 12) == ["the gateway", "answered 503", "to it"]
