"""Orders: what the operator commands, carried out at once or refused with the reason.

Each command is decided here and now: whether it is accepted, and a sentence that says what happens or what to do
instead. What it does not do: listen for commands or write the answers, which is `commanding`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wa_supervisor.domain.names import IntegrationId
from wa_supervisor.domain.status import CommandResult
from wa_supervisor.engine.guarding import Guarding
from wa_supervisor.engine.keeper import Keeper
from wa_supervisor.engine.ports import Command

Answer = tuple[bool, str]


class Orders:
    """Carries out commands to the daemon and to its integrations."""

    def __init__(
        self,
        *,
        keepers: Mapping[IntegrationId, Keeper],
        guarding: Guarding,
        reconcile_soon: Callable[[], None],
        wall: Callable[[], float],
    ) -> None:
        self._keepers = keepers
        self._guarding = guarding
        self._reconcile_soon = reconcile_soon
        self._wall = wall

    def carry_out(self, command: Command) -> Answer:
        """Do it; say whether it is accepted, and a sentence."""
        if command.verb == "confirm":
            return self._confirm()
        keeper = self._keepers.get(command.integration_id) if command.integration_id is not None else None
        if keeper is None:
            return False, _nobody(command)
        accepted, message = _tell(keeper, command)
        keeper.record.command_done(
            CommandResult(id=command.id, verb=command.verb, at=self._wall(), accepted=accepted, message=message)
        )
        return accepted, message

    def _confirm(self) -> Answer:
        count = self._guarding.confirm()
        if not count:
            return False, "nothing is held back, so there is nothing to confirm"
        self._reconcile_soon()
        return True, f"{count} sessions that the wish lost are stopped now"


def _tell(keeper: Keeper, command: Command) -> Answer:
    match command.verb:
        case "restart":
            return keeper.restart(command.reason or "restarted by the operator")
        case "release":
            return keeper.release(command.reason or "released by the operator")
        case unknown:
            return False, _no_such(unknown)


def _nobody(command: Command) -> str:
    if command.verb not in {"restart", "release"}:
        return _no_such(command.verb)
    if command.integration_id is None:
        return f"{command.verb} needs an integration: wa-supervisor {command.verb} ID"
    return f"there is no integration {command.integration_id!r:.80}; see: wa-supervisor status"


def _no_such(verb: str) -> str:
    return f"no such command: {verb!r:.40}; there are restart, release and confirm"
