"""`simulate-gateway`: a gateway that behaves like wppconnect-server, for trying things without phones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wa_supervisor.cli.failing import CommandError, failing_well
from wa_supervisor.cli.secret_input import read_secret

if TYPE_CHECKING:
    import anyio

    from wa_supervisor.simulator import SimulatedGateway

PUBLISHED_SECRET = "THISISMYSECURETOKEN"  # noqa: S105 - the real server's published default, on purpose


@click.command("simulate-gateway")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=21465, show_default=True, help="0 takes a free one.")
@click.option(
    "--secret-file",
    type=click.Path(dir_okay=False, allow_dash=True),
    help=f"File with the secret (- is stdin); else the real server's published default, {PUBLISHED_SECRET}.",
)
@click.option("--realistic", is_flag=True, help="Take as long as the real server does; else everything is quick.")
@failing_well
def simulate_gateway(host: str, port: int, secret_file: str | None, *, realistic: bool) -> None:
    """Run a simulated gateway until Ctrl-C or SIGTERM.

    Whoever reaches its port can script it: keep it on this machine.
    """
    import anyio

    from wa_supervisor.simulator import FAST, REALISTIC, serve

    secret = read_secret(secret_file) if secret_file else PUBLISHED_SECRET
    timings = REALISTIC if realistic else FAST

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_on_sigterm, tasks.cancel_scope)
            await serve(host, port, secret, timings=timings, ready=_say_where)

    try:
        anyio.run(run, backend="asyncio")
    except* OSError as group:
        raise CommandError(f"cannot listen on {host}:{port}: {group.exceptions[0]}; give another --port") from group


async def _end_on_sigterm(whole: anyio.CancelScope) -> None:
    """End in order, with exit code 0, as a service manager expects."""
    import signal

    import anyio

    with anyio.open_signal_receiver(signal.SIGTERM) as received:
        async for _ in received:
            whole.cancel()


def _say_where(gateway: SimulatedGateway) -> None:
    click.echo(f"gateway  {gateway.url}")
    click.echo(f"control  {gateway.url}/_control/state")
