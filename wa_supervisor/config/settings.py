"""All settings as one frozen value, whatever they were read from.

Built by `load_settings` from file, environment and credentials, or in code by tests and the demo. Complete and free of
contradictions by construction. Deliberately does not know where a value came from, and never shows a secret by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from wa_supervisor.config import behaviour, carrying, connections, service, values
from wa_supervisor.config.contradictions import contradictions
from wa_supervisor.domain.names import GatewayName


class Settings(values.Section):
    """Every setting; the field's names are the sections of the file.

    Raises pydantic's `ValidationError` when built from wrong or contradicting values. Built in code, `daemon.id` and
    `embedded.state_dir` may be empty and `gateways` may have no entry; `load_settings` leaves none of them so.
    """

    daemon: service.DaemonSettings = Field(default_factory=service.DaemonSettings)
    redis: connections.RedisSettings = Field(default_factory=connections.RedisSettings)
    postgres: connections.PostgresSettings = Field(default_factory=connections.PostgresSettings)
    gateways: dict[values.GatewayKey, connections.GatewaySettings] = Field(
        default_factory=dict,
        description="The wppconnect-servers by name; integrations use the name.",
        json_schema_extra={"additionalProperties": False},
    )
    wish: behaviour.WishSettings = Field(default_factory=behaviour.WishSettings)
    sessions: behaviour.SessionsSettings = Field(default_factory=behaviour.SessionsSettings)
    inbound: carrying.InboundSettings = Field(default_factory=carrying.InboundSettings)
    outbound: carrying.OutboundSettings = Field(default_factory=carrying.OutboundSettings)
    typing: behaviour.TypingSettings = Field(default_factory=behaviour.TypingSettings)
    people: behaviour.PeopleSettings = Field(default_factory=behaviour.PeopleSettings)
    dead_letters: behaviour.DeadLettersSettings = Field(default_factory=behaviour.DeadLettersSettings)
    events: behaviour.EventsSettings = Field(default_factory=behaviour.EventsSettings)
    status: behaviour.StatusSettings = Field(default_factory=behaviour.StatusSettings)
    admin: service.AdminSettings = Field(default_factory=service.AdminSettings)
    metrics: service.MetricsSettings = Field(default_factory=service.MetricsSettings)
    embedded: service.EmbeddedSettings = Field(default_factory=service.EmbeddedSettings)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if found := contradictions(self.flat()):
            lines = "; ".join(f"{each.keys[0]} {each.text}" for each in found)
            raise PydanticCustomError("contradiction", "{lines}", {"lines": lines, "found": found})
        return self

    @property
    def default_gateway(self) -> GatewayName | None:
        """The gateway of integrations that name none, or None when they have to name one."""
        if self.wish.default_gateway:
            return GatewayName(self.wish.default_gateway)
        return next(iter(self.gateways)) if len(self.gateways) == 1 else None

    def flat(self) -> dict[str, object]:
        """Return dotted key (`gateways.main.url`) -> value as it is, secrets inside `SecretStr`."""
        plain = {f"{name}.{key}": value for name, section in self._sections() for key, value in section}
        return plain | {
            f"gateways.{name}.{key}": value for name, gateway in self.gateways.items() for key, value in gateway
        }

    def masked(self) -> dict[str, dict[str, object]]:
        """Return the file's tables as plain values for showing, secrets and passwords in addresses as asterisks."""
        shown: dict[str, dict[str, object]] = {name: _masked(section) for name, section in self._sections()}
        return shown | {"gateways": {name: _masked(gateway) for name, gateway in self.gateways.items()}}

    def _sections(self) -> Iterator[tuple[str, values.Section]]:
        return ((name, content) for name, content in self if isinstance(content, values.Section))


def _masked(section: values.Section) -> dict[str, object]:
    return {key: _shown(key, value) for key, value in section}


def _shown(key: str, value: object) -> object:
    if not isinstance(value, SecretStr):
        return value
    secret = value.get_secret_value()
    if key == "url":
        return values.mask_url(secret)
    return values.HIDDEN if secret else ""


def json_schema() -> dict[str, object]:
    """Return the JSON Schema (draft 2020-12) of the configuration file, with every description, range and default."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "wa-supervisor configuration",
        **{key: value for key, value in Settings.model_json_schema().items() if key not in {"title", "description"}},
    }
