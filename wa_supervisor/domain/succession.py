"""From one record of an integration to the next: what of the running session can stay.

Carriage is what waits to be carried, in and out: it belongs to one session of one gateway for one agent. The browser at
the gateway is closed only where it has to be, because a start takes long and may ask for a login.
"""

from __future__ import annotations

from dataclasses import replace

from wa_supervisor.domain.integration import Integration
from wa_supervisor.domain.plan import Wanted


def keeps_carriage(old: Integration, new: Wanted | None) -> bool:
    """Whether the session of `old` goes on under `new`."""
    return isinstance(new, Integration) and not new.paused and new.claim == old.claim and new.agent_id == old.agent_id


def must_close(old: Integration, new: Wanted | None) -> bool:
    """Whether the browser of `old` must be closed before `new` is followed.

    A record that became unreadable closes nothing: a typing error must not cost the login a restart.
    """
    if new is None:
        return True
    if not isinstance(new, Integration):
        return False
    return new.paused or new.claim != old.claim or new.proxy != old.proxy


def needs_new_life(old: Integration, new: Integration, *, is_serving: bool) -> bool:
    """Whether the session must begin its life anew to follow `new`.

    The number for a pairing code matters only while a login is still to come.
    """
    return new.token != old.token or new.proxy != old.proxy or (new.phone != old.phone and not is_serving)


def resumed(paused: Integration) -> Integration:
    """Give what a paused record means when its pause is over."""
    return replace(paused, paused=False, pause_reason="", paused_until=None)
