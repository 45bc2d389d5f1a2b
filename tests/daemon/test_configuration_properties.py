"""Whatever stands in file and environment: settings or `ConfigurationError`, with full keys and without secrets."""

from __future__ import annotations

import json
import math
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from annotated_types import Ge, Le
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from wa_supervisor.config import LoadedSettings, Settings, effective_toml, load_settings
from wa_supervisor.config.catalogue import Key, all_keys, dotted, field_of, is_secret
from wa_supervisor.config.environment import HUB_NAMES, variable_of
from wa_supervisor.domain.errors import ConfigurationError

GATEWAY = '[gateways.main]\nurl = "http://127.0.0.1:21465"\n'
KEYS = all_keys(["main"])
MARK = "hunter2"

unhurried = settings(deadline=None)
"""No limit of time for an example: a busy machine is no failure."""

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.one_of(
    st.booleans(), st.integers(), st.floats(), texts, st.dates(), st.integers(min_value=1).map(lambda n: 10**300 * n)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


def toml(value: object) -> str:
    """Write any value that TOML knows."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(inner) for inner in value) + "]"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, str | bool | int):
        return json.dumps(value).replace("\x7f", "\\u007f") if not isinstance(value, str) else _text(value)
    return str(value)


def _text(value: str) -> str:
    return '"' + "".join(f"\\U{ord(char):08x}" if not char.isalnum() else char for char in value) + '"'


def outcome(text: str | bytes, environ: Mapping[str, str]) -> LoadedSettings | tuple[str, ...]:
    """Return what loading gives; any exception but `ConfigurationError` is the test's failure."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        try:
            return load_settings(file, environ)
        except ConfigurationError as error:
            return error.mistakes


def document(key: Key, value: object) -> str:
    """Return a file with a right gateway in which `key` has `value`."""
    tables: dict[str, dict[str, object]] = {"gateways.main": {"url": "http://127.0.0.1:21465"}}
    tables.setdefault(".".join(key[:-1]), {})[key[-1]] = value
    return "".join(
        f"[{header}]\n" + "".join(f"{name} = {toml(inner)}\n" for name, inner in table.items())
        for header, table in tables.items()
    )


@st.composite
def wrong(draw: st.DrawFn) -> tuple[Key, object]:
    """Draw a key and a value that is wrong for it: of another type or out of its range."""
    key = draw(st.sampled_from(KEYS))
    field = field_of(key)
    assert field is not None
    kinds = [
        *([] if field.annotation is bool else [st.booleans()]),
        *([texts] if field.annotation in {int, float, bool} else [st.integers(), st.floats()]),
        st.lists(scalars, max_size=2),
        st.dictionaries(texts, scalars, max_size=2),
        st.dates(),
        *(
            st.floats(min_value=float(str(each.le)), exclude_min=True)
            for each in field.metadata
            if isinstance(each, Le)
        ),
        *(
            st.floats(max_value=float(str(each.ge)), exclude_max=True)
            for each in field.metadata
            if isinstance(each, Ge)
        ),
    ]
    return key, draw(st.one_of(kinds))


@unhurried
@given(wrong())
@example((("redis", "password"), 5))
@example((("wish", "resync"), 10**400))
@example((("people", "cache_size"), 10**400))
def test_each_wrong_value_in_a_file_is_a_mistake_with_its_full_key(case: tuple[Key, object]) -> None:
    key, value = case
    found = outcome(document(key, value), {})
    assert isinstance(found, tuple)
    assert any(mistake.startswith(f"{dotted(key)}: ") for mistake in found)
    assert all("config.toml" in mistake for mistake in found)


@unhurried
@given(st.sampled_from(KEYS), st.text(max_size=20))
def test_any_text_in_a_variable_gives_settings_or_mistakes_that_name_it(key: Key, text: str) -> None:
    found = outcome(GATEWAY, {variable_of(key): text})
    if isinstance(found, tuple):
        assert all(dotted(key) in mistake and variable_of(key) in mistake for mistake in found)


@unhurried
@given(st.dictionaries(st.sampled_from(sorted(HUB_NAMES)), st.text(max_size=20)))
def test_any_text_in_a_hubs_variables_gives_settings_or_mistakes_that_name_them(environ: dict[str, str]) -> None:
    found = outcome("", environ)
    if isinstance(found, tuple):
        assert all("environment" in mistake or mistake.startswith("gateways: ") for mistake in found)


@unhurried
@given(st.dictionaries(st.text(max_size=30).map(lambda text: f"WA_SUPERVISOR_{text}"), st.text(max_size=5), min_size=1))
@example({"WA_SUPERVISOR_": ""})
@example({"WA_SUPERVISOR_GATEWAYS__URL": "x"})
@example({"WA_SUPERVISOR_GATEWAYS____URL": "x"})
@example({"WA_SUPERVISOR_REDIS__URL__X": "x"})
@example({"WA_SUPERVISOR_\udcff": "\udcff"})
def test_variables_that_mean_nothing_are_mistakes_one_by_one(environ: dict[str, str]) -> None:
    found = outcome(GATEWAY, environ)
    assert isinstance(found, tuple)
    assert len(found) == len(environ)
    assert all(mistake.isprintable() for mistake in found)


@unhurried
@given(st.binary())
def test_any_bytes_as_file_give_settings_or_mistakes(content: bytes) -> None:
    assert isinstance(outcome(content, {"WPPCONNECT_URL": "http://x"}), tuple | LoadedSettings)


@unhurried
@given(st.dictionaries(st.one_of(st.sampled_from(sorted(Settings.model_fields)), texts), values, max_size=4))
def test_any_document_gives_settings_or_mistakes_on_lines_that_a_terminal_can_show(content: dict[str, object]) -> None:
    text = "".join(f"{_text(key)} = {toml(value)}\n" for key, value in content.items())
    assert set(tomllib.loads(text)) == set(content)
    found = outcome(text, {})
    if isinstance(found, tuple):
        assert all(mistake.isprintable() for mistake in found)


@unhurried
@given(
    st.sampled_from([key for key in KEYS if is_secret(key)]),
    st.sampled_from(["redis", "rediss", "unix", "postgresql", "postgres+x", "http", ""]),
    st.text("a:/?#@%[] &=1.", max_size=6),
    st.text("a:/?#@%[] &=1.", max_size=6),
)
def test_no_secret_is_ever_shown_wherever_it_stands_in_a_value(key: Key, scheme: str, before: str, after: str) -> None:
    secret = f"{scheme}://:{before}{MARK}{after}@host" if scheme else f"{before}{MARK}{after}"
    found = outcome(GATEWAY, {variable_of(key): secret})
    if isinstance(found, LoadedSettings):
        shown = [effective_toml(found), json.dumps(found.settings.masked()), repr(found), *found.notices]
        value = found.settings.flat()[dotted(key)]
        assert isinstance(value, SecretStr)
        assert MARK in value.get_secret_value()
    else:
        shown = list(found)
    assert all(MARK not in each for each in shown)


@pytest.mark.parametrize("key", KEYS, ids=dotted)
def test_every_setting_has_a_variable_that_reaches_it(key: Key) -> None:
    found = outcome(GATEWAY, {variable_of(key): "\x07"})
    assert isinstance(found, tuple)
    assert any(mistake.startswith(f"{dotted(key)}: ") for mistake in found)
