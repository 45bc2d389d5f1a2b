"""Settings of how messages are carried: to the agents and to the people.

Values only; every number has its unit and its reason in its description. Arithmetic between them is checked in
`contradictions.py`.
"""

from __future__ import annotations

from pydantic import Field

from wa_supervisor.config import values


class InboundSettings(values.Section):
    """Messages on their way to agents."""

    seen_ttl: values.Seconds = Field(
        default=259_200.0,
        ge=60,
        le=31_536_000,
        description="Seconds for which a handed-over message is remembered, so that it is never handed over twice; "
        "three days, because that is longer than a weekend's outage after which messages are fetched again.",
    )
    stream_maxlen: values.Count = Field(
        default=10_000,
        ge=100,
        le=10_000_000,
        description="Most messages kept in the stream of one agent; some hours of a busy agent, and 10 MB of Redis "
        "memory at 1 KB a message.",
    )
    queue_per_session: values.Count = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        description="Most messages of one session that wait for hand-over in memory; a burst of a busy group fits, and "
        "one loud session cannot take the memory of the others.",
    )
    queue_total: values.Count = Field(
        default=20_000,
        ge=10,
        le=10_000_000,
        description="Most messages of all sessions that wait for hand-over in memory; when as many do, Redis is most "
        "likely away, and the gateways' event connections are let go until half of them are handed over. 100 MB at "
        "5 KB a message; what arrives meanwhile stays at WhatsApp and is fetched.",
    )
    owner_ttl: values.Seconds = Field(
        default=2_592_000.0,
        ge=60,
        le=31_536_000,
        description="Seconds for which it is remembered which session a chat wrote to last, and so which session "
        "answers it; a month, because agents may take up old conversations.",
    )
    catch_up_horizon: values.Seconds = Field(
        default=86_400.0,
        ge=1,
        le=31_536_000,
        description="Seconds: how old a missed message may be that is still fetched and handed over; a day, because an "
        "answer after that mostly surprises. Less than seen_ttl, so that nothing is handed over twice.",
    )
    catch_up_settle: values.Seconds = Field(
        default=5.0,
        ge=0.1,
        le=300,
        description="Seconds after a connection at which is looked for missed messages a second time, and the least "
        "between two looks that do not find a sent one; a page that has just been loaded shows its chats only bit by "
        "bit.",
    )
    catch_up_routine: values.Seconds = Field(
        default=900.0,
        ge=5,
        le=604_800,
        description="Seconds, give or take a fifth, between looks for missed messages without any cause; a gateway "
        "may lose one by itself, and a look at which nothing is missing is one request.",
    )
    unheard_longest: values.Seconds = Field(
        default=86_400.0,
        ge=1,
        le=31_536_000,
        description="Seconds for which messages wait for an agent that does not listen to its channel, to be "
        "published when it does; a day, as for catch_up_horizon. They stay in the stream all the same.",
    )


class OutboundSettings(values.Section):
    """Replies on their way to people."""

    in_flight_per_session: values.Count = Field(
        default=4,
        ge=1,
        le=100,
        description="Sends of one session, to different chats, that may be under way at the same time; its one browser "
        "page does not get faster with more.",
    )
    queue_per_session: values.Count = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        description="Most replies of one session that wait in memory; further ones go to the dead letters with that "
        "reason, so nothing grows without bound or vanishes.",
    )
    ack_timeout: values.Seconds = Field(
        default=30.0,
        ge=1,
        le=600,
        description="Seconds to wait for WhatsApp's first receipt of a sent message; a healthy session "
        "has it almost at once, and its absence makes the daemon look at the chat.",
    )
    attempts: values.Count = Field(
        default=5,
        ge=1,
        le=100,
        description="Times a reply is tried, where repeating is known to be safe, before it goes to the dead letters; "
        "with the back-off these cover a short disturbance and not an outage, for which sessions are held.",
    )
    backoff_initial: values.Seconds = Field(
        default=0.5,
        ge=0.01,
        le=3600,
        description="Most seconds before the second attempt, doubled after each failure and drawn at random below "
        "that; short, because somebody waits for the reply.",
    )
    backoff_max: values.Seconds = Field(
        default=30.0,
        ge=0.01,
        le=3600,
        description="Most seconds between attempts; longer waits would keep the chat's next replies waiting too.",
    )
    hold_longest: values.Seconds = Field(
        default=3600.0,
        ge=1,
        le=604_800,
        description="Seconds for which a reply waits for a session that is not connected before it goes to the dead "
        "letters; after an hour an answer mostly surprises more than it helps.",
    )
    sweep: values.Seconds = Field(
        default=1.0,
        ge=0.05,
        le=60,
        description="Seconds between looks at all output streams of agents; publishing on the channel has a stream "
        "read at once, so this is for agents that only add to the stream.",
    )
    claim_after: values.Seconds = Field(
        default=60.0,
        ge=1,
        le=86400,
        description="Seconds after which a reply that a vanished daemon had taken from a stream is taken over; long "
        "enough for a daemon that restarts to find its own.",
    )
    min_gap: values.Seconds = Field(
        default=0.25,
        ge=0,
        le=60,
        description="Seconds at least between two sends of one session; people who send like machines are banned.",
    )
    jitter: values.Seconds = Field(
        default=0.25,
        ge=0,
        le=60,
        description="Seconds, drawn anew each time, by which that is longer at most; an even beat looks like a "
        "machine too.",
    )
    per_minute: values.Count = Field(
        default=60,
        ge=1,
        le=10_000,
        description="Most sends of one session within a minute, further ones wait; one a second is more than a person "
        "types, and few numbers have to answer more people than that.",
    )
    check_numbers: values.Switch = Field(
        default=True,
        description="Whether a phone number that never wrote is looked up before the first message to it; on, because "
        "messages to numbers that nobody has are what spammers send.",
    )
    typing_speed: values.Number = Field(
        default=0.0,
        ge=0,
        le=1000,
        description='Characters a second at which "typing" is shown before a reply is sent, for 8 seconds at most; 0, '
        "at once, because people have waited for the agent already.",
    )
    name_messages: values.Switch = Field(
        default=True,
        description="Whether a message to a person gets its id from the daemon, so that one of which nobody knows "
        "whether it was sent is found exactly; off, it is found by its text.",
    )
    settle_quiet: values.Seconds = Field(
        default=200.0,
        ge=1,
        le=3600,
        description="Seconds after a send that was never answered until it certainly will not have its effect any "
        "more, so that it may be sent again if the chat does not show it; a hung page of the gateway ends after 180.",
    )
    settle_longest: values.Seconds = Field(
        default=1800.0,
        ge=1,
        le=604_800,
        description="Seconds in which it must be found out whether a reply was sent before it becomes a dead letter "
        "that may have arrived; a hung page of the gateway ends after three minutes, and half an hour outlasts its "
        "restart too.",
    )
    receipts_maxlen: values.Count = Field(
        default=10_000,
        ge=100,
        le=10_000_000,
        description="Most receipts kept in the stream of one agent, the oldest go first; those of some thousand "
        "replies, and 4 MB of Redis memory.",
    )
