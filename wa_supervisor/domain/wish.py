"""The whole wish: every record of the hash, read together.

Records are read one by one, so a bad one harms nobody. What only the whole can tell is whether two integrations claim
the same session: the one that holds it keeps it, and without a holder the first by id gets it; the other is invalid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wa_supervisor.domain.integration import Defaults, Integration, InvalidIntegration, read_integration
from wa_supervisor.domain.names import GatewayName, IntegrationId, SessionName

Claim = tuple[GatewayName, SessionName]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the operator wants, and what of it cannot be followed."""

    integrations: Mapping[IntegrationId, Integration]
    invalid: Mapping[IntegrationId, InvalidIntegration]


def read_wish(records: Mapping[str, bytes], defaults: Defaults, holders: Mapping[Claim, IntegrationId]) -> Wish:
    """Read every record. `holders` says which integration holds which session now: a newcomer cannot take it."""
    good: dict[IntegrationId, Integration] = {}
    invalid: dict[IntegrationId, InvalidIntegration] = {}
    for name in sorted(records):
        read = read_integration(name, records[name], defaults)
        if isinstance(read, Integration):
            good[read.id] = read
        else:
            invalid[read.id] = read
    owners = _owners(good, holders)
    for name, integration in list(good.items()):
        owner = owners[integration.claim]
        if owner != name:
            invalid[name] = _second_claim(good.pop(name), owner)
    return Wish(integrations=good, invalid=invalid)


def _owners(
    good: Mapping[IntegrationId, Integration], holders: Mapping[Claim, IntegrationId]
) -> dict[Claim, IntegrationId]:
    owners: dict[Claim, IntegrationId] = {}
    for name, integration in good.items():
        holder = holders.get(integration.claim)
        held = holder is not None and holder in good and good[holder].claim == integration.claim
        owners.setdefault(integration.claim, holder if held and holder else name)
    return owners


def _second_claim(integration: Integration, owner: IntegrationId) -> InvalidIntegration:
    return InvalidIntegration(
        id=integration.id,
        reason="SessionTaken",
        message=f"session: {integration.session!r} at gateway {integration.gateway!r} already belongs to {owner!r}",
        revision=integration.revision,
        agent_id=integration.agent_id,
    )
