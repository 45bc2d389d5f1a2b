"""What the figures of docs/performance.md come from: each benchmark runs by itself and prints one JSON object.

    python -m tests.benchmarks.herd --json     500 sessions and a gateway that is away, in virtual time
    python -m tests.benchmarks.chaos --json    real processes under random faults, for as many minutes as it is given

Nothing here is imported by the tests of other folders, and nothing here decides what the daemon should do: a bound that
is missed is reported, with what stands in its way, and never bent.
"""
