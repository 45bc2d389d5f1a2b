"""Where the daemon's Redis is, as far as commands need to know.

The configuration says it, as it says it to the daemon. Reading all of it takes longer than the rest of `status`,
because of the models that check it; so the few keys that matter are read directly first (`quick`), and the whole is
read only when these leave any doubt.

Which server it is, in this order:

1. With `--embedded`, or `embedded.enabled` in the configuration: the private server of the daemon that owns
   `embedded.state_dir`.
2. When nobody gave `redis.url` and a daemon with private servers runs in `embedded.state_dir`: that one, so that after
   `wa-supervisor run --embedded` no command needs to be told.
3. Else `redis.url`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wa_supervisor.cli.exits import Exit
from wa_supervisor.cli.failing import CommandError
from wa_supervisor.domain.errors import WaSupervisorError

if TYPE_CHECKING:
    from wa_supervisor.config import LoadedSettings
    from wa_supervisor.embedded import EmbeddedEndpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """What the configuration says about Redis."""

    url: str = field(repr=False)
    password: str = field(repr=False)
    prefix: str
    is_url_given: bool
    """Whether any layer gave `redis.url`; else it is the default."""
    is_embedded: bool
    state_dir: Path


def whereabouts_of(loaded: LoadedSettings) -> Whereabouts:
    """Take them from settings."""
    redis, embedded = loaded.settings.redis, loaded.settings.embedded
    return Whereabouts(
        url=redis.url.get_secret_value(),
        password=redis.password.get_secret_value(),
        prefix=redis.prefix,
        is_url_given=loaded.sources["redis.url"] != "default",
        is_embedded=embedded.enabled,
        state_dir=Path(embedded.state_dir),
    )


def find(path: Path | None, environ: Mapping[str, str]) -> Whereabouts:
    """Read them from the configuration. Raises `ConfigurationError` with every mistake found."""
    from wa_supervisor.cli.quick import read_quickly

    found = read_quickly(path, environ)
    if found is None:
        from wa_supervisor.config import load_settings

        found = whereabouts_of(load_settings(path, environ, needs_gateway=False))
    return found


def settled(found: Whereabouts, *, embedded: bool) -> Whereabouts:
    """Decide between the configured server and a private one; the URL of the answer is the one to use.

    Raises `CommandError` when private servers are wanted and none run.
    """
    if embedded or found.is_embedded:
        return _with(found, _private_or_fail(found.state_dir))
    if not found.is_url_given and (private := _private_if_any(found.state_dir)) is not None:
        return _with(found, private)
    return found


def _with(found: Whereabouts, private: EmbeddedEndpoints) -> Whereabouts:
    return replace(found, url=private.redis_url, password="", is_url_given=True)


def _private_or_fail(state_dir: Path) -> EmbeddedEndpoints:
    from wa_supervisor.embedded import read_endpoints

    endpoints = read_endpoints(state_dir)
    if endpoints is None:
        raise CommandError(
            f"no daemon with private servers runs in {state_dir}; start one with: wa-supervisor run --embedded, "
            "or set embedded.state_dir to the folder that the daemon uses (a systemd unit's is in /var/lib)",
            code=Exit.UNKNOWN,
        )
    return endpoints


def _private_if_any(state_dir: Path) -> EmbeddedEndpoints | None:
    from wa_supervisor.embedded import read_endpoints

    try:
        return read_endpoints(state_dir)
    except WaSupervisorError:  # somebody else's
        return None
