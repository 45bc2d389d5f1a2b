"""From file, environment and credentials to settings, or to every mistake at once.

Later wins: defaults, the file, a hub's names, systemd's credentials, `WA_SUPERVISOR_*`. Runs once at start and again at
every reload; keeps nothing. Reads only what it is told of: the environment is handed over, and the current folder is
never searched, because a daemon must not depend on where a shell stands and `config.toml` is many programs' name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wa_supervisor.config.catalogue import GATEWAYS, dotted, shown_path
from wa_supervisor.config.checking import checked
from wa_supervisor.config.environment import CONFIG_VARIABLE, hub_layer, own_layer
from wa_supervisor.config.layers import DEFAULT, Entry, Layer, covered, declared_gateways, read_file
from wa_supervisor.config.mistakes import Findings
from wa_supervisor.config.secret_files import credentials_layer, with_secrets_read
from wa_supervisor.config.settings import Settings
from wa_supervisor.domain.errors import ConfigurationError

DEFAULT_PATH = Path("/etc/wa-supervisor/config.toml")
"""Read when no file is named; it may be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSettings:
    """Settings with what is worth saying about them."""

    settings: Settings
    notices: tuple[str, ...]
    """Sentences for the operator about what is allowed and perhaps not meant; never a secret."""
    sources: Mapping[str, str]
    """Dotted key -> where its value came from: a file's path, `environment NAME`, `credential NAME`, `default`."""
    path: Path | None
    """The configuration file that was read, if there was one."""


def load_settings(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    default_path: Path = DEFAULT_PATH,
    needs_gateway: bool = True,
) -> LoadedSettings:
    """Read all layers and return the settings they add up to.

    `path` is the file to read; without it the one in `$WA_SUPERVISOR_CONFIG`, else `default_path` if it exists. With
    `needs_gateway=False` settings without any gateway are fine, for commands that speak to Redis only. Raises
    `ConfigurationError` with every mistake found.
    """
    findings = Findings()
    path = _file_to_read(path, environ, default_path)
    layer = _completed(_effective(path, environ, findings), environ)
    if (
        needs_gateway
        and not declared_gateways([layer])
        and not any(each.startswith(GATEWAYS) for each in findings.mistakes)
    ):
        findings.mistakes.append(_no_gateway(path or default_path))
    settings = checked(layer, findings)
    if settings is None or findings.mistakes:
        raise ConfigurationError(findings.mistakes)
    findings.notices.extend(_gateways_without_secret(settings))
    origins = {dotted(key): entry.origin for key, entry in layer.items()}
    sources = {key: origins.get(key, DEFAULT) for key in settings.flat()}
    return LoadedSettings(settings=settings, notices=tuple(findings.notices), sources=sources, path=path)


def _file_to_read(path: Path | None, environ: Mapping[str, str], default_path: Path) -> Path | None:
    named = path or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    if named:
        return named
    try:
        default_path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return default_path  # it is there and closed to us: reading it says so
    return default_path


def _effective(path: Path | None, environ: Mapping[str, str], findings: Findings) -> Layer:
    file = read_file(path, findings) if path else {}
    own = own_layer(environ, declared_gateways([file]), findings)
    hub = hub_layer(environ, declared_gateways([file, own]), findings)
    credentials = credentials_layer(environ, declared_gateways([file, hub, own]), findings)
    return with_secrets_read(covered([file, hub, credentials, own], findings), findings)


def _no_gateway(path: Path) -> str:
    return (
        "gateways: there is none, so no session can run; add a section [gateways.main] with "
        f'url = "http://127.0.0.1:21465" to {shown_path(path)}, or set WPPCONNECT_URL'
    )


def _completed(layer: Layer, environ: Mapping[str, str]) -> Layer:
    here = Path.cwd()
    found = {
        ("daemon", "id"): Entry(value=_host_name(), origin="this host's name", folder=here),
        ("embedded", "state_dir"): _state_dir(environ, here),
    }
    given = {key: entry for key, entry in layer.items() if key not in found or entry.value != ""}
    state_dir = given.get(("embedded", "state_dir"))
    if state_dir and isinstance(state_dir.value, str) and not state_dir.value.startswith("~"):
        whole = str(state_dir.folder.absolute() / state_dir.value)
        given["embedded", "state_dir"] = Entry(value=whole, origin=state_dir.origin, folder=here)
    return found | given


def _host_name() -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", os.uname().nodename)[:64] or "localhost"


def _state_dir(environ: Mapping[str, str], here: Path) -> Entry:
    home = environ.get("HOME") or str(Path.home())
    state_home = environ.get("XDG_STATE_HOME", "")
    if first := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Entry(value=first, origin="environment STATE_DIRECTORY", folder=here)
    if state_home.startswith("/"):  # the XDG specification wants any other ignored
        return Entry(value=f"{state_home}/wa-supervisor", origin="environment XDG_STATE_HOME", folder=here)
    return Entry(value=f"{home}/.local/state/wa-supervisor", origin="the home folder", folder=here)


def _gateways_without_secret(settings: Settings) -> list[str]:
    return [
        f"gateways.{name} has neither secret nor token; only integrations that bring a token of their own can run there"
        for name, gateway in settings.gateways.items()
        if not gateway.secret.get_secret_value() and not gateway.token.get_secret_value()
    ]
