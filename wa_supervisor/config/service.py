"""Settings of the process itself: its name, its log, its page for machines, its private servers.

Values only; what they mean is said once, in each field's description, and shown by `config.toml`, `config schema` and
the documentation from there.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wa_supervisor.config import values


class DaemonSettings(values.Section):
    """The process itself."""

    id: values.DaemonId = Field(
        default="",
        description="Name of this daemon in Redis (leases, who is alive), unique among daemons that share a Redis; "
        "empty means the host's name, which is unique as long as one daemon runs per host.",
    )
    lease_ttl: values.Seconds = Field(
        default=15.0,
        ge=3,
        le=3600,
        description="Seconds after which another daemon on the same wish may take over the sessions of one that fell "
        "silent; a daemon that stops in order, or starts again on its host, makes nobody wait.",
    )
    shutdown_timeout: values.Seconds = Field(
        default=25.0,
        ge=1,
        le=3600,
        description="Seconds in which a stopping daemon finishes what is in flight before it cancels and names the "
        "rest; below the 30 s after which container platforms kill, and far below systemd's 90 s.",
    )
    log_level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        default="info",
        description="Least severe log line that is written; info shows transitions and not each message, so "
        "thousands of sessions stay below what the journal accepts.",
    )
    log_format: Literal["auto", "text", "json", "journal"] = Field(
        default="auto",
        description="Form of log lines; auto means journal (no time, priority in front) when stderr is the journal, "
        "and text elsewhere.",
    )


class AdminSettings(values.Section):
    """The HTTP server with /metrics, /healthz and /readyz."""

    enabled: values.Switch = Field(
        default=True,
        description="Whether the admin server runs; on, because without it nobody sees metrics or readiness.",
    )
    host: values.LoopbackHost = Field(
        default="127.0.0.1",
        description="Address to listen on; loopback only, because the server asks for no password yet: put a proxy "
        "that does in front of it to reach it from elsewhere.",
    )
    port: values.Count = Field(
        default=9477,
        ge=0,
        le=65535,
        description="TCP port to listen on, in the range that Prometheus exporters use; 0 takes any free one, which "
        "the log names.",
    )


class MetricsSettings(values.Section):
    """What /metrics shows."""

    per_session: Literal["full", "state", "off"] = Field(
        default="full",
        description="Series kept for each session: full (all of them), state (state only) or off; full, because a "
        "thousand sessions are little to Prometheus, and state or off for many thousands.",
    )


class EmbeddedSettings(values.Section):
    """Private Redis and PostgreSQL servers, for a host that has neither."""

    enabled: values.Switch = Field(
        default=False,
        description="Whether the daemon starts private Valkey and PostgreSQL servers and uses them in place of "
        "redis.url and postgres.url; off, because servers that somebody looks after are the better home for data.",
    )
    state_dir: values.Folder = Field(
        default="",
        description="Folder that holds the private servers' data; empty means $STATE_DIRECTORY (set by systemd), "
        "else $XDG_STATE_HOME/wa-supervisor, else ~/.local/state/wa-supervisor.",
    )
