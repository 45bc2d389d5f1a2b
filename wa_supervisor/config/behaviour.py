"""Settings of what the daemon does: follow the wish, keep sessions alive, show "typing", tell how it goes.

How messages are carried is in `carrying.py`. Values only; every number has its unit and its reason in its description.
Arithmetic between them is checked in `contradictions.py`.
"""

from __future__ import annotations

from pydantic import Field

from wa_supervisor.config import values


class WishSettings(values.Section):
    """How the wish (the hash of integrations) is followed."""

    resync: values.Seconds = Field(
        default=30.0,
        ge=1,
        le=3600,
        description="Seconds, give or take a random tenth, between two readings of the whole wish; it makes a lost "
        "notification harmless, and a reading of 10,000 records takes a hundredth of a second.",
    )
    debounce: values.Seconds = Field(
        default=0.05,
        ge=0,
        le=60,
        description="Seconds to wait after a notification for more of them, so that writing many records is one "
        "round and not many; nobody notices a twentieth of a second.",
    )
    shrink_share: values.Share = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Share of the running sessions that may be stopped when the wish loses them all at once, before "
        "somebody says wa-supervisor apply --confirm; an emptied hash is more often an accident than a wish.",
    )
    shrink_least: values.Count = Field(
        default=3,
        ge=0,
        le=1_000_000,
        description="Sessions that may be stopped at once in any case, so that small installations are not asked for "
        "every removal.",
    )
    default_gateway: values.NameOrNone = Field(
        default="",
        description="Gateway of integrations that name none; empty means the only one, when there is just one.",
    )
    default_session: values.NameOrNone = Field(
        default="",
        description="Session of an integration that names none; empty means that every integration must name its own, "
        "which two integrations have to do anyway.",
    )


class SessionsSettings(values.Section):
    """How a session is started, watched and started again."""

    poll_starting: values.Seconds = Field(
        default=2.0,
        ge=0.2,
        le=60,
        description="Seconds between looks at a session that is starting or waits for its login; a QR code lives for "
        "20 s, and its event is not always sent.",
    )
    poll_connected: values.Seconds = Field(
        default=45.0,
        ge=1,
        le=3600,
        description="Seconds between looks at a connected session, the only way to learn of a logout or a crashed "
        "browser; each costs the gateway about 50 ms of processor time.",
    )
    alive_evidence: values.Seconds = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="Seconds for which a message or a receipt proves a session alive, so that a look is not needed; a "
        "little more than poll_connected, so that busy sessions cost no looks.",
    )
    start_timeout: values.Seconds = Field(
        default=90.0,
        ge=5,
        le=3600,
        description="Seconds after which a session that is still starting counts as stuck; a browser on a busy host "
        "takes its time, and one that failed to start never says so.",
    )
    login_rounds: values.Count = Field(
        default=10,
        ge=1,
        le=1000,
        description="Rounds of QR codes offered (about a minute each) before the session waits in quarantine for "
        "somebody; ten minutes are enough to fetch the phone, and endless rounds look like abuse to WhatsApp.",
    )
    healthy_after: values.Seconds = Field(
        default=300.0,
        ge=1,
        le=86400,
        description="Seconds of being connected after which earlier failures are forgiven and backing off begins "
        "anew; shorter spells are typical of a session that fails again and again.",
    )
    backoff_initial: values.Seconds = Field(
        default=1.0,
        ge=0.1,
        le=3600,
        description="Most seconds before the first new attempt of a failed session, doubled after each failure and "
        "drawn at random below that, so that sessions do not return in step.",
    )
    backoff_max: values.Seconds = Field(
        default=300.0,
        ge=1,
        le=86400,
        description="Most seconds between attempts, however often they failed; five minutes are gentle to the gateway, "
        "and nobody waits longer after the cause has passed.",
    )

    budget: values.Number = Field(
        default=5.0,
        ge=1,
        le=1000,
        description="Failures beyond which a session that fails for reasons unknown is quarantined, each counted half "
        "after every half-life; failures that are known to pass are tried for ever and never lead there.",
    )
    budget_half_life: values.Seconds = Field(
        default=600.0,
        ge=1,
        le=86400,
        description="Seconds after which a failure counts half; ten minutes, so that a bad hour is remembered and a "
        "bad day is not.",
    )
    quarantine_probe: values.Seconds = Field(
        default=1800.0,
        ge=10,
        le=604_800,
        description="Seconds, give or take a fifth, between two tries of a session that was quarantined for reasons "
        "unknown; rare enough to harm nobody, and it heals by itself in the night.",
    )
    suspect_at: values.Share = Field(
        default=0.5,
        ge=0.01,
        le=1,
        description="How sure it must be (0 to 1) that a connected session only looks alive before nothing is sent "
        "through it until that is clear; at one half it is as likely as not.",
    )
    certain_at: values.Share = Field(
        default=0.9,
        ge=0.01,
        le=1,
        description="How sure it must be that a connected session only looks alive before it is closed and started "
        "anew; a needless restart costs half a minute, and everything missed is fetched.",
    )


class TypingSettings(values.Section):
    """The sign "typing..." that people see until the agent has answered."""

    enabled: values.Switch = Field(
        default=True,
        description="Whether the sign is shown; on, because people are used to it from the bots that this replaces.",
    )
    refresh: values.Seconds = Field(
        default=10.0,
        ge=1,
        le=60,
        description="Seconds between renewals, because phones hide a sign that is not renewed; every renewal costs "
        "the gateway a request, so not more often than needed.",
    )
    longest: values.Seconds = Field(
        default=60.0,
        ge=1,
        le=600,
        description="Seconds after which the sign ends even without an answer; an agent that takes longer has most "
        "likely decided not to answer, and a sign must never stay on.",
    )


class PeopleSettings(values.Section):
    """What is remembered of the people in the database."""

    cache_ttl: values.Seconds = Field(
        default=3600.0,
        ge=0,
        le=604_800,
        description="Seconds for which a person's row is remembered; an hour spares the database nearly every "
        "look-up, and is how late a changed authorisation is noticed at most.",
    )
    cache_size: values.Count = Field(
        default=100_000,
        ge=0,
        le=10_000_000,
        description="Most people remembered, the least recently seen are forgotten first; at half a kilobyte each, "
        "50 MB when full.",
    )


class DeadLettersSettings(values.Section):
    """What could not be delivered."""

    maxlen: values.Count = Field(
        default=10_000,
        ge=100,
        le=10_000_000,
        description="Most dead letters kept, the oldest go first; far more than anybody reads one by one, and "
        "10 MB of Redis memory at 1 KB a letter.",
    )


class EventsSettings(values.Section):
    """The history of what happened, in Redis."""

    maxlen: values.Count = Field(
        default=10_000,
        ge=100,
        le=10_000_000,
        description="Most events kept in the stream, the oldest go first; days of a quiet installation, and 4 MB of "
        "Redis memory.",
    )
    buffer: values.Count = Field(
        default=10_000,
        ge=100,
        le=1_000_000,
        description="Most events that wait in memory while Redis is away; beyond that the oldest go first, which is "
        "counted.",
    )


class StatusSettings(values.Section):
    """The status that the daemon writes to Redis."""

    ttl: values.Seconds = Field(
        default=60.0,
        ge=3,
        le=86400,
        description="Seconds after which a status that was not renewed is shown as Unknown, because its daemon is most "
        "likely gone; a minute is soon enough to notice and survives a short pause.",
    )
    refresh: values.Seconds = Field(
        default=15.0,
        ge=1,
        le=28800,
        description="Seconds between renewals of statuses that did not change (a change is written at once); four "
        "within ttl, so that losing one or two is harmless.",
    )
