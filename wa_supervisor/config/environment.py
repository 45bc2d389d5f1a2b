"""Settings from environment variables: our own `WA_SUPERVISOR_<SECTION>__<KEY>`, and the names a hub already uses.

A variable's text becomes the kind of value that the setting wants; text that does not is left as it is, for the check
of values to complain about. A hub's variable that is set but empty counts as not set, because that is how container
files write "none". Nothing is read from `os.environ`; the caller hands a mapping over.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal, get_origin

from wa_supervisor.config.catalogue import GATEWAYS, Key, all_keys, clean, field_of
from wa_supervisor.config.contradictions import folded
from wa_supervisor.config.layers import Entry, Layer, put
from wa_supervisor.config.mistakes import Findings

PREFIX = "WA_SUPERVISOR_"
CONFIG_VARIABLE = "WA_SUPERVISOR_CONFIG"
"""Names the configuration file; the one variable with our prefix that is no setting."""

HUB_GATEWAY = "main"
"""Name of the gateway that a hub's `WPPCONNECT_*` variables speak about."""

HUB_NAMES: Mapping[str, Key] = {
    "REDIS_URL": ("redis", "url"),
    "DATABASE_URL": ("postgres", "url"),
    "WPPCONNECT_URL": (GATEWAYS, HUB_GATEWAY, "url"),
    "WPPCONNECT_SOCKETIO_PATH": (GATEWAYS, HUB_GATEWAY, "socketio_path"),
    "WPPCONNECT_TOKEN": (GATEWAYS, HUB_GATEWAY, "token"),
    "WPPCONNECT_RECONNECT_DELAY": (GATEWAYS, HUB_GATEWAY, "reconnect_initial"),
    "WPPCONNECT_SESSION_NAME": ("wish", "default_session"),
    "LOG_LEVEL": ("daemon", "log_level"),
    "REDIS_USER_CACHE_TTL": ("people", "cache_ttl"),
}
"""Variable of a hub -> the setting that it sets."""

HUB_NAMES_WITHOUT_EFFECT: Mapping[str, str] = {
    "WPPCONNECT_RECONNECT_ATTEMPTS": "a lost connection is tried again for ever, ever more slowly",
}
"""Variable of a hub that is accepted and ignored -> why."""

HUB_WORDS: Mapping[Key, Mapping[str, str]] = {
    ("daemon", "log_level"): {"trace": "debug", "notset": "debug", "warn": "warning", "fatal": "critical"},
}
"""Setting -> words that logging libraries know beside ours."""

_SWITCH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def hub_layer(environ: Mapping[str, str], gateways: Iterable[str], findings: Findings) -> Layer:
    """Return what the hub's names say; `gateways` are those declared elsewhere.

    Without `WPPCONNECT_URL` and without a gateway `main` the other `WPPCONNECT_*` speak about nothing and are ignored,
    with a notice: a hub's environment has them whether or not its gateway is ours.
    """
    layer: Layer = {}
    names = list(gateways)
    main = gateway_called(HUB_GATEWAY, names)
    has_main = main in names or bool(environ.get("WPPCONNECT_URL"))
    for variable, key in HUB_NAMES.items():
        text = environ.get(variable, "")
        if text and key[0] == GATEWAYS and not has_main:
            findings.notices.append(f"{variable} has no effect: there is no gateway {HUB_GATEWAY}; set WPPCONNECT_URL")
        elif text:
            target = (GATEWAYS, main, key[-1]) if key[0] == GATEWAYS else key
            put(layer, target, _entry(_hub_value(key, text), variable), findings)
    for variable, reason in HUB_NAMES_WITHOUT_EFFECT.items():
        if environ.get(variable):
            findings.notices.append(f"{variable} has no effect: {reason}")
    return layer


def _hub_value(key: Key, text: str) -> object:
    value = _value(key, text)
    return HUB_WORDS.get(key, {}).get(str(value), value)


def own_layer(environ: Mapping[str, str], gateways: Iterable[str], findings: Findings) -> Layer:
    """Return what `WA_SUPERVISOR_*` say; a gateway's name is matched to one of `gateways` whatever its case."""
    layer: Layer = {}
    names = list(gateways)
    for variable in sorted(each for each in environ if each.startswith(PREFIX) and each != CONFIG_VARIABLE):
        key = _key(variable, names)
        if field_of(key):
            put(layer, key, _entry(_value(key, environ[variable]), variable), findings)
        else:
            findings.mistake(key, _not_a_variable(variable, names), _origin(variable))
    return layer


def gateway_called(spelt: str, gateways: Iterable[str]) -> str:
    """Return the declared gateway that `spelt` means, its case and dashes aside, or `spelt` in lower case."""
    return next((name for name in gateways if folded(name) == folded(spelt)), spelt.lower())


def _origin(variable: str) -> str:
    return f"environment {clean(variable, 100)}"


def _entry(value: object, variable: str) -> Entry:
    return Entry(value=value, origin=_origin(variable), folder=Path.cwd())


def _key(variable: str, gateways: Iterable[str]) -> Key:
    parts = variable.removeprefix(PREFIX).split("__")
    section, last = parts[0].lower(), parts[-1].lower()
    if section == GATEWAYS and len(parts) > 2:
        return section, gateway_called("__".join(parts[1:-1]), gateways), last
    return tuple(part.lower() for part in parts)


def _not_a_variable(variable: str, gateways: Iterable[str]) -> str:
    names = [*(variable_of(key) for key in all_keys(gateways or [HUB_GATEWAY])), CONFIG_VARIABLE]
    known = [name.removeprefix(PREFIX) for name in names]
    if close := difflib.get_close_matches(variable.removeprefix(PREFIX)[:100], known, n=1):
        return f"is not a setting; did you mean {PREFIX}{close[0]}?"
    return f"is not a setting; variables are called {PREFIX}<SECTION>__<KEY>, with two underscores between them"


def variable_of(key: Key) -> str:
    """Return the name of our environment variable for `key`."""
    return PREFIX + "__".join(key).upper().replace("-", "_")


def _value(key: Key, text: str) -> object:
    field = field_of(key)
    kind = field.annotation if field else None
    reader = _READERS.get(get_origin(kind) or kind)
    try:
        return reader(text.strip()) if reader else text
    except ValueError:
        return text


def _switch(text: str) -> object:
    return _SWITCH.get(text.lower(), text)


_READERS: Mapping[object, Callable[[str], object]] = {int: int, float: float, bool: _switch, Literal: str.lower}
"""Kind of a setting -> how a variable's text becomes it; text stays as it is for other kinds."""
