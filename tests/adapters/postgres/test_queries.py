"""Named queries."""

from __future__ import annotations

import pytest

from wa_supervisor.adapters.postgres.queries import named, queries


def test_every_statement_is_found_by_its_name() -> None:
    assert set(queries()) == {"get_or_create", "create_tables", "missing"}
    assert all(b"SELECT" in statement and b"-- name:" not in statement for statement in queries().values())


def test_a_statement_ends_where_the_next_is_named() -> None:
    assert named(["-- name: a\nSELECT 1;\n\n-- name: b\n-- why\nSELECT 2\n", "-- name: c\nSELECT 3"]) == {
        "a": b"SELECT 1;",
        "b": b"-- why\nSELECT 2",
        "c": b"SELECT 3",
    }


def test_two_statements_with_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two statements are named 'find'"):
        named(["-- name: find\nSELECT 1\n", "-- name: find\nSELECT 2\n"])
