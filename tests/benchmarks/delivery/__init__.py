"""What arrives, and how often: random faults against the real daemon while messages flow, counted at both ends.

    python -m tests.benchmarks.delivery --json [--seed N] [--sessions 50] [--gateways 2] [--rate 40] [--each 20]
        [--minutes 10] [--faults a,b,...] [--only each|mixed] [--short] [--calm 120] [--keep]

On the stage are the installed daemon (and a second one where it has something to take over), Valkey, PostgreSQL,
simulated gateways and agents, each a process of its own, everything on loopback in a private folder below /tmp, with a
wire that can be cut between each pair. Half of the integrations have agents that listen to the channel, half have
agents that read the stream. People write unique, numbered messages, directly, in groups and from privacy ids; every
agent answers every message. A seed decides which faults come when. The order of a run:

    come up     every session running
    no fault    some seconds of traffic alone
    each        every kind of fault alone, so many times, then a calm
    mixed       all kinds at random, for some minutes, then a calm

A calm ends when everything that can be delivered is, or when its time is up; what is not delivered then is lost. What
people wrote and got is in the ledgers of the gateways, which outlive every fault here; what agents got and answered is
in their logs, which outlive the agents, and in Redis, which flushes its file `always` where it is killed (`fsync` in
the result says which).

One JSON object on stdout, sums for the whole run and the same for each phase:

    sent, handed_over            written by people; heard by their agents, each message counted once
    lost                         never heard, without any excuse (`counting` says which there are): must be 0
    lost_pubsub_agent_died, lost_pubsub_agent_cut, lost_pubsub_redis_died
                                 never heard by an agent on the channel, and published within a second of the moment at
                                 which that agent was killed, its connection broke, or Redis was killed: what is written
                                 to a socket whose reader dies is gone, and a channel keeps nothing; not `lost`
    duplicates_to_agent          heard again: must be 0
    redelivered_to_agent         heard again by an agent on the stream that had died before it acknowledged; not a
                                 duplicate, and marked as redelivered
    recovered_by_catch_up        fetched from the gateway's history
    out_of_order                 heard after one that was written later in the same chat; reported, not judged
    replies, replies_lost        answers; those of agents on the stream that neither reached the person nor became dead
                                 letters: must be 0
    replies_lost_pubsub          the same for agents on the channel, by cause; not judged: nobody keeps them
    duplicates_to_person         answers that came again, without the agent having answered again: must be 0
    to_wrong_chat                answers that somebody else got: must be 0
    dead_letters, unknown_dead_letters
                                 by reason; and those of which nobody knows whether they arrived

and `faults`, `phases`, `seed`, `duration_s`, `examples` (the first few messages that went wrong, with their times and
the faults around them), `missed` (why it is not all right) and `ok`. Exit code 0 only if `ok`, 130 after SIGINT. A run
that is not all right leaves its folder, with every log. It ends by itself.

    schedule     which faults come when: pure, from a seed
    counting     what became of every message: pure
    settings     the daemon's configuration, and why its waits are short
    wires        a TCP proxy, and the ways in which it breaks
    phones       a simulated gateway whose control interface outlives its server
    agents       agents in processes, and their logs
    people       who writes
    stage        all of them
    record       gathers what is seen
    misfortune   how each fault is played and undone
    play         the run itself
"""
