"""A program that owns private servers, for tests that kill it or run it as another user.

    python embedded_owner.py STATE_DIR [USER]

Started by root with a user's name it gives up being root for good, once everything that Python loads late is loaded:
the interpreter may lie where that user cannot read. It prints `{"redis_url": ..., "database_url": ...}` on a line when
the servers answer, stops them on SIGTERM and ends with 0; an error goes to stderr and it ends with 1.
`WA_TEST_REDIS_SERVER` and `WA_TEST_POSTGRES_BIN` choose the programs.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import sys
from pathlib import Path

import anyio
import anyio.to_thread

from tests.servers import policy_from_environment
from wa_supervisor.domain.errors import WaSupervisorError
from wa_supervisor.embedded import embedded_servers


async def own(state_dir: Path) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with embedded_servers(state_dir, policy=policy_from_environment()) as endpoints:
            words = {"redis_url": endpoints.redis_url, "database_url": endpoints.database_url}
            print(json.dumps(words), flush=True)
            async for _ in signals:
                return


async def load_everything() -> None:
    await anyio.run_process(["true"])
    await anyio.to_thread.run_sync(os.getpid)
    with anyio.open_signal_receiver(signal.SIGTERM):
        pass


def become(user: str) -> None:
    account = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def main(state_dir: str, user: str | None = None) -> int:
    if user is not None:
        anyio.run(load_everything)
        become(user)
    try:
        anyio.run(own, Path(state_dir))
    except WaSupervisorError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
