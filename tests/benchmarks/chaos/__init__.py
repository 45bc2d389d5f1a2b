"""Random faults against the real daemon, for as many minutes as it is given, and what is left of it afterwards.

    python -m tests.benchmarks.chaos --json [--minutes 30] [--seed N] [--sessions 30] [--gateways 3]

On the stage are the installed daemon, Valkey, PostgreSQL and simulated gateways, each a process of its own and a child
of this one, everything on loopback or unix sockets in a private folder below /tmp; agents echo, people write. A seed
decides which faults come when, to whom, for how long (`schedule`). The order of a run:

    come up      every session running
    calm         what the daemon holds is measured: file descriptors, threads, tasks, memory
    faults I     with deaths of the daemon among them; this program starts it again, as a service manager does
    calm         states are judged; measured again, for the process that now lives to the end
    faults II    without deaths of the daemon; at last a few causes that nobody takes back
    calm         states are judged, measured, and every session that should run carries one more message and its answer

A calm ends when every session is as it should be, or when its time is up. What the daemon did wrong is reported with
the seed and the folder of its logs, which then stays.

One JSON object on stdout: `seed`, `minutes`, `faults` by kind, `sessions`, `wrong_states` (what was expected, what was
found, in which calm), `fd_growth`, `thread_growth`, `task_growth` (null while the daemon does not tell its tasks),
`rss_mb_start`, `rss_mb_end`, `memory_growth` (a share), `duplicates`, `messages`, `log_errors_by_reason`, `ok` and, in
`missed`, why not. Lost messages are counted and not judged: catching up is not built. Exit code 0 only if `ok`, 130
after SIGINT, which ends it tidily. It ends by itself.

    schedule     which faults come when: pure, from a seed
    book         the operator's wish, and what it and the faults call for
    processes    one child process, from its start to its end
    stage        all of them, and where they are found
    operator     what an operator does: write the wish, command, look
    misfortune   how each fault is played and undone
    traffic      people who write, agents who answer, and who heard what how often
    vitals       what a process holds: /proc, and its own metrics
    verdict      what was found, judged
    play         the run itself
"""
