"""Claims: one session, one integration; the others are rung when it is free."""

from __future__ import annotations

import anyio
import pytest

from wa_supervisor.domain.names import GatewayName, SessionName
from wa_supervisor.engine.claims import Claims
from wa_supervisor.engine.switch import Bell

pytestmark = pytest.mark.anyio

CLAIM = (GatewayName("main"), SessionName("s"))


async def test_one_has_it_and_those_who_asked_are_rung_when_it_is_free() -> None:
    claims, first, second = Claims(), Bell(), Bell()
    assert claims.take(CLAIM, first)
    assert claims.take(CLAIM, first)
    assert not claims.take(CLAIM, second)
    assert not claims.take(CLAIM, second)
    claims.give_up(CLAIM, second)
    assert not await second.wait_for(1)
    claims.give_up(CLAIM, first)
    with anyio.fail_after(1):
        await second.wait()
    assert not await second.wait_for(1)
    assert claims.take(CLAIM, second)
