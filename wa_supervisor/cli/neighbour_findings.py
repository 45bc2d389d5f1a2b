"""What `doctor` finds at PostgreSQL and at the gateways: that they answer, and that they let us in.

Nothing is made or changed: tables are looked at, not created; a gateway is asked how long it has been up and for a
token, the only thing that tries its secret without an effect. All are asked at once: it takes as long as the slowest.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

import anyio

from wa_supervisor.adapters.gateway.client import HEALTH_TIMEOUT, HttpGateway
from wa_supervisor.adapters.gateway.tokens import Tokens
from wa_supervisor.adapters.gateway.wire import Wire, WirePolicy
from wa_supervisor.adapters.postgres.connections import Connections
from wa_supervisor.adapters.postgres.policy import PostgresPolicy
from wa_supervisor.adapters.postgres.schema import missing
from wa_supervisor.cli.findings import Finding, doubtful, fine, parted, wrong
from wa_supervisor.cli.simulate import PUBLISHED_SECRET
from wa_supervisor.config import GatewaySettings, Settings
from wa_supervisor.domain.errors import (
    ConfigurationError,
    GatewayGarbledError,
    GatewayUnreachableError,
    StoreUnavailableError,
    WaSupervisorError,
    WrongSecretError,
)
from wa_supervisor.domain.gateway import SessionAccess
from wa_supervisor.domain.names import GatewayName, SessionName

_NOBODY = SessionAccess(session=SessionName("wa-supervisor-doctor"))
"""A session that there is none of: a token for it is good for nothing."""

_WHAT_TO_DO = ". What to do: "
_ADVICE = "see that the server runs, and that {key}.url leads to it: curl -i {url}/healthz"

Look = Callable[[], Awaitable[list[Finding]]]


def neighbour_findings(settings: Settings, database_url: str) -> list[Finding]:
    """Look at PostgreSQL and every gateway, in that order; an empty `database_url` means that there is none."""
    return anyio.run(_all, settings, database_url, backend="asyncio")


async def _all(settings: Settings, database_url: str) -> list[Finding]:
    found: dict[str, list[Finding]] = {}

    async def keep(name: str, look: Look) -> None:
        found[name] = await look()

    looks: Mapping[str, Look] = {
        "postgres": lambda: postgres(database_url, settings.postgres.timeout),
        **{f"gateways.{name}": _look_at(name, given) for name, given in settings.gateways.items()},
    }
    async with anyio.create_task_group() as group:
        for name, look in looks.items():
            group.start_soon(keep, name, look)
    return [finding for name in looks for finding in found[name]]


def _look_at(name: str, given: GatewaySettings) -> Look:
    return lambda: gateway(name, given)


async def postgres(url: str, within: float) -> list[Finding]:
    """Look whether people can be looked up."""
    check = "postgres"
    if not url:
        return [fine(check, "not configured: agents see everybody as not authenticated")]
    logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())  # it tells what the finding tells
    try:
        return _tables(await _missing(url, PostgresPolicy(connections=1, timeout=within)))
    except StoreUnavailableError as error:
        return [wrong(check, *parted(str(error), _WHAT_TO_DO))]
    except ConfigurationError as error:
        return [wrong(check, *parted(error.mistakes[0]))]


async def _missing(url: str, policy: PostgresPolicy) -> tuple[str, ...]:
    connections = Connections(url, policy)
    await connections.open()
    try:
        return await connections.guarded(lambda: missing(connections))
    finally:
        with anyio.move_on_after(policy.cleanup, shield=True):
            await connections.close()


def _tables(lacking: tuple[str, ...]) -> list[Finding]:
    check = "postgres.tables"
    answers = fine("postgres", "answers")
    if not lacking:
        return [answers, fine(check, "users and agent_user_authorizations are as they are needed")]
    told = "; ".join(lacking)
    if all(sentence.startswith("there is no table ") for sentence in lacking):
        mend = "point postgres.url to the hub's database; or start a daemon whose role may create tables: it makes them"
        return [answers, doubtful(check, told, mend)]
    mend = "GRANT the role what is missing, or point postgres.url or its search_path to the hub's tables"
    return [answers, wrong(check, told, mend)]


async def gateway(name: str, given: GatewaySettings) -> list[Finding]:
    """Look whether a gateway is there, and whether it knows our secret."""
    check, secret = f"gateways.{name}", given.secret.get_secret_value()
    client = HttpGateway(GatewayName(name), given.url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(client.aclose)
        try:
            uptime = (await client.health()).uptime
        except WaSupervisorError as error:
            return [_unwell(check, given.url, error)]
        answers = fine(check, f"answers, and has been up for {uptime / 3600:.1f} h")
        if secret:
            return [answers, await _secret(name, given.url, secret)]
        return [answers, _no_secret(check, has_token=bool(given.token.get_secret_value()))]


def _unwell(check: str, url: str, error: WaSupervisorError) -> Finding:
    if isinstance(error, GatewayUnreachableError):
        return wrong(check, str(error), _ADVICE.format(key=check, url=url))
    if isinstance(error, GatewayGarbledError):
        return wrong(check, str(error), f"{check}.url leads to something else than a wppconnect-server: correct it")
    return wrong(check, str(error), "see the log of that server; restart it if it hangs")


async def _secret(name: str, url: str, secret: str) -> Finding:
    check = f"gateways.{name}.secret"
    wire = Wire(GatewayName(name), url, WirePolicy(), verify=True)
    try:
        await Tokens(wire, secret=secret, default=None, within=HEALTH_TIMEOUT).of(_NOBODY)
    except WrongSecretError as error:
        return wrong(check, *parted(str(error), ": "))
    except WaSupervisorError as error:
        return wrong(check, str(error), "see the log of that server: it could not make a token")
    finally:
        with anyio.move_on_after(HEALTH_TIMEOUT, shield=True):
            await wire.aclose()
    if secret == PUBLISHED_SECRET:
        mend = f"set another secretKey at the server, and {check} to it"
        return doubtful(check, "is right, and is the one that everybody knows: the server's published default", mend)
    return fine(check, "is right")


def _no_secret(check: str, *, has_token: bool) -> Finding:
    if has_token:
        return fine(f"{check}.secret", f"none; sessions without a token of their own use {check}.token")
    mend = f"set {check}.secret to the server's secretKey"
    return doubtful(f"{check}.secret", "none, and no token: only sessions that bring their own can run", mend)
