"""Configuration: from files, environment and credentials to one frozen `Settings` value, or to every mistake at once.

Importing this brings pydantic and nothing heavier. Settings are prose: the description of each field is what
`config.toml`, `config schema` and the operator read. Nothing is global; `load_settings` is called at start and at every
reload, and its answer is handed to whoever needs it.
"""

from __future__ import annotations

from wa_supervisor.config.behaviour import (
    DeadLettersSettings,
    PeopleSettings,
    SessionsSettings,
    StatusSettings,
    TypingSettings,
    WishSettings,
)
from wa_supervisor.config.carrying import InboundSettings, OutboundSettings
from wa_supervisor.config.connections import GatewaySettings, PostgresSettings, RedisSettings
from wa_supervisor.config.loading import DEFAULT_PATH, LoadedSettings, load_settings
from wa_supervisor.config.rendering import effective_toml, example_toml
from wa_supervisor.config.service import AdminSettings, DaemonSettings, EmbeddedSettings, MetricsSettings
from wa_supervisor.config.settings import Settings, json_schema

__all__ = [
    "DEFAULT_PATH",
    "AdminSettings",
    "DaemonSettings",
    "DeadLettersSettings",
    "EmbeddedSettings",
    "GatewaySettings",
    "InboundSettings",
    "LoadedSettings",
    "MetricsSettings",
    "OutboundSettings",
    "PeopleSettings",
    "PostgresSettings",
    "RedisSettings",
    "SessionsSettings",
    "Settings",
    "StatusSettings",
    "TypingSettings",
    "WishSettings",
    "effective_toml",
    "example_toml",
    "json_schema",
    "load_settings",
]
