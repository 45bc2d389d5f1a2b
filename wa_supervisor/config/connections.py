"""Settings of the three neighbours: Redis, PostgreSQL and the gateways.

Values only. A `*_file` key names a file whose content becomes the key without `_file`; reading it is the loader's
work, so a section built in code is used as it is.
"""

from __future__ import annotations

from pydantic import Field, SecretStr

from wa_supervisor.config import values


class RedisSettings(values.Section):
    """Redis or Valkey, which holds the wish, the messages and the status."""

    url: values.RedisUrl = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Address of the server as redis://, rediss:// (TLS) or unix://, with the number of the database; "
        "the default is a server on this machine, as packages install it.",
        json_schema_extra={"default": "redis://127.0.0.1:6379/0"},
    )
    url_file: values.SecretFile = Field(
        default="",
        description="File that holds the address, for one with a password in it; takes the place of url.",
        examples=["/etc/wa-supervisor/redis.url"],
    )
    password: values.Secret = Field(
        default=SecretStr(""),
        description="Password of the server, when the address holds none; empty means that the server asks for none.",
        json_schema_extra={"default": ""},
    )
    password_file: values.SecretFile = Field(
        default="",
        description="File that holds the password; takes the place of password.",
        examples=["/etc/wa-supervisor/redis.password"],
    )
    prefix: values.Prefix = Field(
        default="wa",
        description="First part of every key of ours (wa:integrations, wa:status), so that several installations can "
        "share a server; the agents' channels have the names that agents know and no prefix.",
    )
    notifications: values.Switch = Field(
        default=True,
        description="Whether the daemon tries to switch the server's keyspace notifications on, so that a changed wish "
        "is seen in milliseconds; where the server forbids it, wish.resync still finds every change.",
    )
    connect_timeout: values.Seconds = Field(
        default=5.0,
        ge=0.1,
        le=60,
        description="Seconds to wait for a connection; a server near by needs milliseconds, and five outlast one lost "
        "packet and its repetition.",
    )
    command_timeout: values.Seconds = Field(
        default=5.0,
        ge=0.1,
        le=60,
        description="Seconds to wait for the answer to a command, beyond the time it blocks on purpose; reading the "
        "whole wish of 10,000 integrations takes a hundredth of a second.",
    )


class PostgresSettings(values.Section):
    """PostgreSQL, which knows the people and whether they may talk to an agent."""

    url: values.PostgresUrl = Field(
        default=SecretStr(""),
        description="Address of the database as postgresql://user:password@host:port/name; empty means that people "
        "are not looked up, and agents see everybody as not authenticated.",
        json_schema_extra={"default": ""},
    )
    url_file: values.SecretFile = Field(
        default="",
        description="File that holds the address, for one with a password in it; takes the place of url.",
        examples=["/etc/wa-supervisor/postgres.url"],
    )
    pool_size: values.Count = Field(
        default=4,
        ge=1,
        le=100,
        description="Most connections to the database; people come from a cache nearly always, and four answer "
        "thousands of look-ups a second.",
    )
    timeout: values.Seconds = Field(
        default=5.0,
        ge=0.1,
        le=60,
        description="Seconds to wait for a connection and the answer; after that a message goes on without its "
        "person's row rather than wait.",
    )


class GatewaySettings(values.Section):
    """A wppconnect-server; one table [gateways.NAME] for each, where NAME is what integrations call it."""

    url: values.GatewayUrl = Field(
        description="Address of the server, which must be reachable by nobody else, because its events have no "
        "password; every gateway needs one.",
        examples=["http://127.0.0.1:21465"],
        json_schema_extra={"pattern": "^[hH][tT][tT][pP][sS]?://"},
    )
    secret: values.Secret = Field(
        default=SecretStr(""),
        description="The server's secretKey, with which the daemon makes a token for every session; empty means that "
        "sessions bring tokens of their own or use token.",
        json_schema_extra={"default": ""},
    )
    secret_file: values.SecretFile = Field(
        default="",
        description="File that holds the secret; takes the place of secret.",
        examples=["/etc/wa-supervisor/main.secret"],
    )
    token: values.Secret = Field(
        default=SecretStr(""),
        description="Token for sessions whose record has none; a token is valid for one session only, so this is for "
        "a gateway with a single session and no known secret.",
        json_schema_extra={"default": ""},
    )
    token_file: values.SecretFile = Field(
        default="",
        description="File that holds the token; takes the place of token.",
        examples=["/etc/wa-supervisor/main.token"],
    )
    socketio_path: values.SocketioPath = Field(
        default="/socket.io/",
        description="Path of the server's events; another one than the server's own only behind a proxy that moves it.",
    )
    starts_at_once: values.Count = Field(
        default=2,
        ge=1,
        le=100,
        description="Sessions that may be starting at the same time; each start is a browser, and two keep two "
        "processors busy.",
    )
    start_interval: values.Seconds = Field(
        default=0.5,
        ge=0,
        le=600,
        description="Least seconds between two starts, so that a returning gateway is not buried under all its "
        "sessions at once; 0 means no gap.",
    )
    requests_at_once: values.Count = Field(
        default=16,
        ge=1,
        le=1000,
        description="Requests that may be under way at the same time; the server spends about 50 ms of processor time "
        "on checking each one's token, so more would only wait there.",
    )
    request_timeout: values.Seconds = Field(
        default=30.0,
        ge=1,
        le=600,
        description="Seconds to wait for an answer other than a send's; a healthy server answers within seconds, and a "
        "hung page only after 180.",
    )
    send_timeout: values.Seconds = Field(
        default=90.0,
        ge=1,
        le=600,
        description="Seconds to wait for the answer to a send; large media takes long, and an answer given up leaves "
        "open whether the message went out, which costs a look at the chat.",
    )
    max_event_bytes: values.Count = Field(
        default=67_108_864,
        ge=4_194_304,
        le=1_073_741_824,
        description="Bytes of the largest event accepted (64 MiB); files arrive inside events in base64, so this holds "
        "one of 48 MB; a larger event ends the connection, and would do so again.",
    )
    reconnect_initial: values.Seconds = Field(
        default=1.0,
        ge=0.1,
        le=3600,
        description="Seconds before the first attempt to reconnect to the events, doubled and spread at random after "
        "each failure; short, because what is emitted meanwhile has to be fetched later.",
    )
    reconnect_max: values.Seconds = Field(
        default=30.0,
        ge=0.1,
        le=3600,
        description="Most seconds between attempts to reconnect, however long the gateway has been away; half a "
        "minute of attempts costs nothing and is what people wait at most.",
    )
    probe_interval: values.Seconds = Field(
        default=5.1,
        ge=0.5,
        le=3600,
        description="Seconds between the single probes of a gateway that is down; one small request for all of its "
        "sessions together, so it can be frequent.",
    )
    admissions: values.Number = Field(
        default=20.0,
        ge=0.1,
        le=10_000,
        description="Sessions a second that are looked at and started again when the gateway is back, those first "
        "that waited longest; a server of two processors checks some 30 tokens a second at most.",
    )
    failing_share: values.Share = Field(
        default=0.5,
        ge=0.01,
        le=1,
        description="Share of the gateway's sessions (at least three) that must fail within failing_window to have "
        "the gateway blamed: all are held then, at no cost to them, even while it still answers probes.",
    )
    failing_window: values.Seconds = Field(
        default=30.0,
        ge=1,
        le=3600,
        description="Seconds within which that many sessions must fail; failures of their own do not come so close "
        "together.",
    )
    hold_initial: values.Seconds = Field(
        default=10.0,
        ge=0.1,
        le=3600,
        description="Seconds for which the sessions of a gateway are held that answers but fails them, or that comes "
        "and goes; doubled each time that happens again.",
    )
    hold_max: values.Seconds = Field(
        default=300.0,
        ge=0.1,
        le=86400,
        description="Most seconds for which they are held, however often it happened.",
    )
    flapping_half_life: values.Seconds = Field(
        default=600.0,
        ge=1,
        le=86400,
        description="Seconds after which an outage counts half towards holding the sessions longer.",
    )
    poll_share: values.Share = Field(
        default=0.25,
        ge=0.01,
        le=1,
        description="Share of the gateway's time that looks at its sessions may take; it is measured by how fast it "
        "answers, so a server that gets slower is asked less often.",
    )
