"""Settings as TOML text: the example file with every key, its default and its sentence, and the effective settings.

The repository's `config.toml` is exactly `example_toml()`. Only what TOML needs for our kinds of values is written;
this is no general TOML writer.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from wa_supervisor.config.catalogue import FILE, GATEWAYS, SECTIONS
from wa_supervisor.config.environment import HUB_GATEWAY
from wa_supervisor.config.layers import DEFAULT
from wa_supervisor.config.loading import LoadedSettings

_HEAD = """\
Configuration of wa-supervisor: every setting with its default.

What is left out has its default, so a working file needs little more than [gateways.main]. Environment variables
WA_SUPERVISOR_<SECTION>__<KEY> override what stands here; docs/configuration.md has the whole order. Durations are in
seconds. A key that ends in _file names a file with the value of the key without it (relative to this file's folder);
give one of the two. Check with: wa-supervisor config validate --config FILE
"""


def example_toml() -> str:
    """Return a configuration file with every key, its default and what it means."""
    blocks = [_comment(_HEAD)]
    for section, model in SECTIONS.items():
        header = f"{GATEWAYS}.{HUB_GATEWAY}" if section == GATEWAYS else section
        fields = "\n".join(_example(key, field) for key, field in model.model_fields.items())
        blocks.append(f"{_comment(model.__doc__ or '')}[{header}]\n{fields}")
    return "\n".join(blocks)


def effective_toml(loaded: LoadedSettings) -> str:
    """Return the settings as loaded, secrets masked, with the source of each that is not a default as a comment."""
    return "\n".join(
        f"[{section}]\n" + "".join(_line(section, key, value, loaded.sources) for key, value in table.items())
        for section, table in _tables(loaded.settings.masked())
    )


def _tables(masked: Mapping[str, dict[str, object]]) -> Iterator[tuple[str, Mapping[str, object]]]:
    for section, content in masked.items():
        if section == GATEWAYS:
            yield from ((f"{section}.{name}", table) for name, table in content.items() if isinstance(table, dict))
        else:
            yield section, content


def _line(section: str, key: str, value: object, sources: Mapping[str, str]) -> str:
    source = sources[f"{section}.{key}"]
    return f"{key} = {_literal(value)}{'' if source == DEFAULT else f'  # from {source}'}\n"


def _example(key: str, field: FieldInfo) -> str:
    value = (field.examples or [""])[0] if field.is_required() or key.endswith(FILE) else _plain(field.default)
    off = "# " if key.endswith(FILE) else ""
    return f"{_comment(field.description or '')}{off}{key} = {_literal(value)}\n"


def _plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _literal(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def _comment(text: str) -> str:
    paragraphs = textwrap.dedent(text).strip().split("\n\n")
    filled = "\n\n".join(textwrap.fill(paragraph, width=108, break_on_hyphens=False) for paragraph in paragraphs)
    return textwrap.indent(filled + "\n", "# ", lambda _: True).replace("# \n", "#\n")
