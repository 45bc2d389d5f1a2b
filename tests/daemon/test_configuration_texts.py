"""What the models are turned into: the example file, the schema and the documentation say what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from wa_supervisor.config import Settings, effective_toml, example_toml, json_schema, load_settings
from wa_supervisor.config.catalogue import FILE, SECTIONS, Key, all_keys, dotted, is_secret
from wa_supervisor.config.contradictions import ARITHMETIC
from wa_supervisor.config.environment import HUB_NAMES, HUB_NAMES_WITHOUT_EFFECT

ROOT = Path(__file__).parents[2]
GATEWAY = '[gateways.main]\nurl = "http://127.0.0.1:21465"\n'


def refusals(text: str) -> list[str]:
    """Return what the schema says against a TOML document."""
    return [error.json_path for error in Draft202012Validator(json_schema()).iter_errors(tomllib.loads(text))]


def test_config_toml_is_the_generated_example() -> None:
    assert (ROOT / "config.toml").read_text(encoding="utf-8") == example_toml(), (
        "write it anew with wa_supervisor.config.example_toml()"
    )


def test_config_toml_is_valid_and_says_what_the_defaults_say(tmp_path: Path) -> None:
    environ = {"HOME": "/home/op"}
    (tmp_path / "least.toml").write_text(GATEWAY)
    shipped = load_settings(ROOT / "config.toml", environ)
    assert shipped.settings == load_settings(tmp_path / "least.toml", environ).settings


def test_example_names_every_key_and_is_readable_with_each_commented_one_switched_on() -> None:
    everything = tomllib.loads(re.sub(r"(?m)^# (\w+_file = )", r"\1", example_toml()))
    gateways = everything.pop("gateways")
    found: list[Key] = [(section, key) for section, table in everything.items() for key in table]
    found += [("gateways", name, key) for name, table in gateways.items() for key in table]
    assert sorted(found) == sorted(all_keys(["main"]))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_says_what_it_means_and_every_number_has_a_range(section: str) -> None:
    for key, field in SECTIONS[section].model_fields.items():
        description = field.description or ""
        assert description.endswith("."), key
        assert len(description) > 40, key
        if field.annotation in {int, float}:
            assert {type(each).__name__ for each in field.metadata} >= {"Ge", "Le"}, key
        if field.annotation is float:
            assert any(unit in description for unit in ("econd", "Share", "sure", "Failures")), key


def test_every_secret_has_a_file_spelling() -> None:
    keys = set(all_keys(["main"]))
    assert all((*key[:-1], key[-1] + FILE) in keys for key in keys if is_secret(key))


def test_effective_settings_are_toml_that_loads_again_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GATEWAY + "[wish]\nresync = 12.5\n[typing]\nenabled = false\n")
    first = load_settings(tmp_path / "a.toml", {"WA_SUPERVISOR_PEOPLE__CACHE_SIZE": "7"})
    text = effective_toml(first)
    (tmp_path / "b.toml").write_text(text)
    assert load_settings(tmp_path / "b.toml", {}).settings == first.settings
    assert "cache_size = 7  # from environment WA_SUPERVISOR_PEOPLE__CACHE_SIZE\n" in text
    assert "cache_ttl = 3600\n" in text


def test_schema_is_valid_itself_and_accepts_the_example() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert refusals(example_toml()) == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[redis]\nprefx = 1", "$.redis"),
        ("[reddis]", "$"),
        ("[wish]\nresync = 0", "$.wish.resync"),
        ('[wish]\nresync = "30"', "$.wish.resync"),
        ('[metrics]\nper_session = "some"', "$.metrics.per_session"),
        ("[gateways.main]", "$.gateways.main"),
        ('[gateways.main]\nurl = "ftp://x"', "$.gateways.main.url"),
        ('[gateways."a b"]\nurl = "http://x"', "$.gateways"),
    ],
)
def test_schema_refuses_what_loading_refuses(text: str, path: str) -> None:
    assert refusals(text) == [path]


def test_schema_shows_every_default_and_description() -> None:
    definitions = json_schema()["$defs"]
    assert isinstance(definitions, dict)
    for model in SECTIONS.values():
        properties = definitions[model.__name__]["properties"]
        for key, field in model.model_fields.items():
            assert properties[key]["description"] == field.description
            reveal = getattr(field.default, "get_secret_value", lambda default=field.default: default)
            assert field.is_required() or properties[key]["default"] == reveal()


def test_documentation_has_every_name_of_a_hub_every_rule_and_every_secret() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for variable, key in HUB_NAMES.items():
        assert f"| `{variable}` | `{dotted(key)}` |" in text
    for variable in HUB_NAMES_WITHOUT_EFFECT:
        assert f"| `{variable}` | - |" in text
    for rule in ARITHMETIC:
        smaller, larger = (re.escape(each.replace("*", "NAME")) for each in (rule.key, rule.of))
        assert re.search(rf"\| `{smaller}` \| .*`{larger}` \| {re.escape(rule.why)} \|", text), rule
    for each in all_keys(["NAME"]):
        assert not is_secret(each) or f"`{dotted(each)}`" in text


def test_settings_have_no_field_beside_the_sections_of_the_file() -> None:
    assert set(SECTIONS) == set(Settings.model_fields)
