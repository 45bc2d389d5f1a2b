"""The few settings that say where Redis is, read without the models of the whole configuration.

Loading `wa_supervisor.config` takes twice as long as the rest of `status` together. The layers and the way in which
one covers another are the same here; what is not the same is that nothing is judged. Where anything is not as plain
as can be (an unknown key or section, an address or prefix out of the ordinary, a systemd credential, a file that
cannot be read) the answer is None, and the whole configuration is read, which knows the right words for mistakes.
Mistakes in settings that do not matter here go unnoticed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from wa_supervisor.cli.whereabouts import Whereabouts

DEFAULT_PATH = Path("/etc/wa-supervisor/config.toml")
DEFAULT_URL = "redis://127.0.0.1:6379/0"
PREFIX = "WA_SUPERVISOR_"
CONFIG_VARIABLE = "WA_SUPERVISOR_CONFIG"

SECTIONS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "redis": frozenset(
            {
                "url",
                "url_file",
                "password",
                "password_file",
                "prefix",
                "notifications",
                "connect_timeout",
                "command_timeout",
            }
        ),
        "embedded": frozenset({"enabled", "state_dir"}),
    }
)
"""The sections that matter, with every key there is in them."""

OTHER_SECTIONS = frozenset(
    {
        "daemon",
        "postgres",
        "gateways",
        "wish",
        "sessions",
        "events",
        "inbound",
        "outbound",
        "typing",
        "people",
        "dead_letters",
        "status",
        "admin",
        "metrics",
    }
)

_PLAIN_URL = (
    r"rediss?://([\w.~%-]*(:[\w.~%!$*+-]*)?@)?[a-z0-9.-]+(:([1-9]\d{0,3}|[1-5]\d{4}))?(/\d{0,2})?"
    r"|unix:///[\w./-]*\w(\?db=\d{1,2})?"
)
"""Addresses that need no second look; others are fine too, if the whole configuration says so."""

_SWITCH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_LARGEST_SECRET = 4096
"""Bytes; longer ones are the whole configuration's business."""

_Key = tuple[str, str]


_Entry = tuple[object, Path]
"""A value, and what a relative path in it is relative to."""

_Layer = dict[_Key, _Entry]


class _DoubtError(Exception):
    """Something is not as plain as can be."""


def read_quickly(
    path: Path | None, environ: Mapping[str, str], *, default_path: Path = DEFAULT_PATH
) -> Whereabouts | None:
    """Give the whereabouts, or None when the whole configuration has to be read."""
    try:
        return _read(path, environ, default_path)
    except (_DoubtError, OSError, ValueError, RecursionError):
        return None


def _read(path: Path | None, environ: Mapping[str, str], default_path: Path) -> Whereabouts:
    _sure(not environ.get("CREDENTIALS_DIRECTORY"))
    path = path or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    file = _file_layer(path) if path else _file_layer(default_path) if default_path.exists() else {}
    layer = _with_secrets_read(_covered([file, _hub_layer(environ), _own_layer(environ)]))
    url = _text(layer, ("redis", "url"), DEFAULT_URL)
    password = _text(layer, ("redis", "password"), "")
    prefix = _text(layer, ("redis", "prefix"), "wa")
    is_embedded = layer[key][0] if (key := ("embedded", "enabled")) in layer else False
    _sure(isinstance(is_embedded, bool) and password.isprintable() and not (password and "@" in url))
    _sure(url == DEFAULT_URL or re.fullmatch(_PLAIN_URL, url, re.ASCII) is not None)
    _sure(prefix.isascii() and prefix.isalnum() and len(prefix) <= 20)
    return Whereabouts(
        url=url,
        password=password,
        prefix=prefix,
        is_url_given=("redis", "url") in layer,
        is_embedded=bool(is_embedded),
        state_dir=_state_dir(layer, environ),
    )


def _sure(is_plain: bool) -> None:
    if not is_plain:
        raise _DoubtError


def _text(layer: _Layer, key: _Key, default: str) -> str:
    value = layer[key][0] if key in layer else default
    if not isinstance(value, str):
        raise _DoubtError
    return value


def _file_layer(path: Path) -> _Layer:
    import tomllib

    layer: _Layer = {}
    for section, table in tomllib.loads(path.read_text(encoding="utf-8")).items():
        _sure(isinstance(table, dict) and (section in SECTIONS or section in OTHER_SECTIONS))
        for key, value in table.items() if section in SECTIONS else ():
            _sure(key in SECTIONS[section])
            layer[section, key] = (value, path.parent)
    return layer


def _hub_layer(environ: Mapping[str, str]) -> _Layer:
    url = environ.get("REDIS_URL", "")
    return {("redis", "url"): (url, Path.cwd())} if url else {}


def _own_layer(environ: Mapping[str, str]) -> _Layer:
    layer: _Layer = {}
    for variable in sorted(name for name in environ if name.startswith(PREFIX) and name != CONFIG_VARIABLE):
        section, _, key = variable.removeprefix(PREFIX).lower().partition("__")
        if section in OTHER_SECTIONS:
            continue
        _sure(section in SECTIONS and key in SECTIONS[section])
        text = environ[variable]
        value = _SWITCH.get(text.strip().lower(), text) if (section, key) == ("embedded", "enabled") else text
        layer[section, key] = (value, Path.cwd())
    return layer


def _other_spelling(key: _Key) -> _Key | None:
    name = key[1].removesuffix("_file") if key[1].endswith("_file") else f"{key[1]}_file"
    return (key[0], name) if name in SECTIONS[key[0]] else None


def _covered(layers: list[_Layer]) -> _Layer:
    result: _Layer = {}
    for layer in layers:
        for key, (value, _) in layer.items():
            other = _other_spelling(key)
            if other is None or value == "":
                continue
            _sure(other not in layer or layer[other][0] == "")
            if other not in layer:
                result.pop(other, None)
        result |= layer
    return result


def _with_secrets_read(layer: _Layer) -> _Layer:
    read: _Layer = {}
    for key, (value, folder) in layer.items():
        if key[1].endswith("_file") and value != "":
            file = folder / _text(layer, key, "")
            with file.open("rb") as opened:
                secret = opened.read(_LARGEST_SECRET + 1).decode().strip()
            _sure(0 < len(secret) <= _LARGEST_SECRET and secret.isprintable())
            read[key[0], key[1].removesuffix("_file")] = (secret, file.parent)
    return layer | read


def _state_dir(layer: _Layer, environ: Mapping[str, str]) -> Path:
    key = ("embedded", "state_dir")
    given = _text(layer, key, "")
    found = given or _default_state_dir(environ)
    _sure(found.isprintable() and not found.startswith("~"))
    return layer[key][1].absolute() / found if given else Path(found)


def _default_state_dir(environ: Mapping[str, str]) -> str:
    state_home = environ.get("XDG_STATE_HOME", "")
    if first := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return first
    if state_home.startswith("/"):
        return f"{state_home}/wa-supervisor"
    return f"{environ.get('HOME') or Path.home()}/.local/state/wa-supervisor"
