"""What stands on the stage: gateways, the daemon's settings, the wish, and a configuration for those who look on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from wa_supervisor.adapters.redis.desk import OperatorDesk
from wa_supervisor.config import (
    AdminSettings,
    DaemonSettings,
    GatewaySettings,
    InboundSettings,
    OutboundSettings,
    PostgresSettings,
    RedisSettings,
    SessionsSettings,
    Settings,
    StatusSettings,
)
from wa_supervisor.demo.cast import DemoOptions, gateway_names, records
from wa_supervisor.embedded import EmbeddedEndpoints
from wa_supervisor.simulator import FAST, SimulatedGateway, simulated_gateway

POLLS = 20.0
"""Looks at connected sessions a second, all together, that a demo can spare beside everything else that it plays."""

_HEAD = """\
# The demo's servers and gateways, for wa-supervisor status and every other command.
# The gateways can be scripted: wa_supervisor/simulator/control.py has what can be made to go wrong.
"""


@asynccontextmanager
async def simulated_gateways(options: DemoOptions) -> AsyncIterator[Mapping[str, SimulatedGateway]]:
    """Run the gateways that the demo needs, by name."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(simulated_gateway(timings=FAST)) for name in gateway_names(options)
        }


def settings_for(
    options: DemoOptions, endpoints: EmbeddedEndpoints, gateways: Mapping[str, SimulatedGateway]
) -> Settings:
    """Give the daemon's settings: quick, but for what would cost more than it shows."""
    return Settings(
        daemon=DaemonSettings(id="demo", shutdown_timeout=10.0),
        redis=RedisSettings(url=SecretStr(endpoints.redis_url)),
        postgres=PostgresSettings(url=SecretStr(endpoints.database_url)),
        gateways={
            name: GatewaySettings(url=each.url, secret=SecretStr(each.secret), starts_at_once=10, start_interval=0.05)
            for name, each in gateways.items()
        },
        sessions=SessionsSettings(
            poll_starting=0.25,
            poll_connected=max(2.0, options.sessions / POLLS),
            alive_evidence=1.0,
            backoff_initial=0.5,
        ),
        inbound=InboundSettings(catch_up_settle=0.1),
        outbound=OutboundSettings(min_gap=0.05, jitter=0.05, per_minute=600),
        status=StatusSettings(ttl=15.0, refresh=3.0),
        admin=AdminSettings(port=0),
    )


def declare(redis_url: str, options: DemoOptions) -> None:
    """Make the demo's records the whole wish, whatever an earlier demo in the same folder declared."""
    wish = records(options)
    with OperatorDesk(redis_url) as desk:
        for name in desk.wishes().keys() - wish.keys():
            desk.write(name, partial(_replaced_by, None))
        for name, record in wish.items():
            desk.write(name, partial(_replaced_by, record))


def write_config(folder: Path, settings: Settings) -> Path:
    """Write a configuration that every command understands, readable by nobody else."""
    tables = [
        f"[daemon]\nid = {_text(settings.daemon.id)}\n",
        f"[redis]\nurl = {_text(settings.redis.url.get_secret_value())}\n",
        f"[postgres]\nurl = {_text(settings.postgres.url.get_secret_value())}\n",
    ]
    for name, gateway in settings.gateways.items():
        secret = _text(gateway.secret.get_secret_value())
        tables.append(f"[gateways.{name}]\nurl = {_text(gateway.url)}\nsecret = {secret}\n")
    path = folder / "config.toml"
    path.touch(mode=0o600)
    path.write_text("\n".join([_HEAD, *tables]), encoding="utf-8")
    return path


def _replaced_by(new: bytes | None, old: bytes | None) -> bytes | None:
    del old
    return new


def _text(value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'
