"""Secrets that stand in files: `*_file` keys, and what systemd puts into `$CREDENTIALS_DIRECTORY`.

Files are read once, when the configuration is loaded; a reload reads them again. Their content never gets into a
mistake, and a file that others may read is worth a notice.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from wa_supervisor.config.catalogue import (
    FILE,
    GATEWAYS,
    SECTIONS,
    Key,
    all_keys,
    clean,
    dotted,
    is_secret,
    nearest,
    shown_path,
)
from wa_supervisor.config.environment import gateway_called
from wa_supervisor.config.layers import Entry, Layer, put
from wa_supervisor.config.mistakes import Findings

CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"

LARGEST = 65536
"""Bytes of the largest secret file; tokens and addresses are far smaller, and a device as a file would have no end."""


def credentials_layer(environ: Mapping[str, str], gateways: Iterable[str], findings: Findings) -> Layer:
    """Return the secrets among systemd's credentials, which are called as their settings: `gateways.main.secret`.

    Credentials that are called otherwise belong to somebody else; one that nearly is a secret setting is named in a
    notice.
    """
    layer: Layer = {}
    folder = environ.get(CREDENTIALS_VARIABLE, "")
    for path in _listed(Path(folder), findings) if folder else []:
        key = _credential_key(path.name, list(gateways))
        if is_secret(key):
            origin = f"credential {clean(path.name)}"
            if (secret := _content(path, key, origin, findings)) is not None:
                put(layer, key, Entry(value=secret, origin=origin, folder=path.parent), findings)
        elif key[0] in SECTIONS:
            findings.notices.append(_ignored_credential(path.name, key))
    return layer


def with_secrets_read(layer: Layer, findings: Findings) -> Layer:
    """Return `layer` with the content of every file that a `*_file` key names, under the key without `_file`."""
    read: Layer = {}
    for key, entry in layer.items():
        if not key[-1].endswith(FILE) or not isinstance(entry.value, str) or not entry.value:
            continue
        path = entry.folder / entry.value
        if (secret := _content(path, key, entry.origin, findings)) is None:
            continue
        _warn_of_open_file(path, key, findings)
        origin = f"{shown_path(path)}, named by {dotted(key)} from {entry.origin}"
        read[*key[:-1], key[-1].removesuffix(FILE)] = Entry(value=secret, origin=origin, folder=path.parent)
    return layer | read


def _listed(folder: Path, findings: Findings) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (OSError, ValueError) as error:
        text = f"cannot be listed: {_reason(error)}; start the daemon through its unit, or unset the variable"
        findings.mistake((CREDENTIALS_VARIABLE,), text, f"environment {CREDENTIALS_VARIABLE}")
        return []


def _credential_key(name: str, gateways: Iterable[str]) -> Key:
    parts = name.split(".")
    if parts[0] == GATEWAYS and len(parts) > 2:
        return GATEWAYS, gateway_called(parts[1], gateways), *parts[2:]
    return tuple(parts)


def _ignored_credential(name: str, key: Key) -> str:
    meant = nearest(key, [key[1]] if key[0] == GATEWAYS and len(key) > 1 else [])
    guess = f"; did you mean {dotted(meant)}?" if meant and is_secret(meant) else ""
    secrets = ", ".join(dotted(each) for each in all_keys(["NAME"]) if is_secret(each))
    return f"credential {clean(name)} is ignored, because credentials are {secrets}{guess}"


def _content(path: Path, key: Key, origin: str, findings: Findings) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1).decode().strip()
    except UnicodeDecodeError:
        findings.mistake(key, f"{shown_path(path)} is not UTF-8 text; write the secret as text", origin)
    except (OSError, ValueError) as error:
        text = f"{shown_path(path)} cannot be read: {_reason(error)}; give the path of a readable file"
        findings.mistake(key, text, origin)
    else:
        if content and len(content) <= LARGEST and len(content.splitlines()) == 1:
            return content
        findings.mistake(key, f"{shown_path(path)} must hold the secret on one line and nothing else", origin)
    return None


def _reason(error: Exception) -> str:
    return str(error.strerror).lower() if isinstance(error, OSError) else "not a path"


def _warn_of_open_file(path: Path, key: Key, findings: Findings) -> None:
    mode = path.stat().st_mode
    readers = [who for bit, who in ((stat.S_IRGRP, "its group"), (stat.S_IROTH, "everybody")) if mode & bit]
    if stat.S_ISREG(mode) and readers:
        findings.notices.append(
            f"{dotted(key)}: {shown_path(path)} may be read by {readers[-1]} (mode {stat.S_IMODE(mode):04o}); "
            f"chmod 600 {shown_path(path)}"
        )
