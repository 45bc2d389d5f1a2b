"""The composition root: settings become adapters, adapters meet the engine, and it runs until told to stop.

`Daemon` is one run of it; `run_under_signals` is what the command `run` does with one. `told_plainly` lets
their errors through task groups as they are; `LastResort` ends a process that does not end. Nothing is decided here.
"""

from __future__ import annotations

from wa_supervisor.daemon.last_resort import ABANDONED, LastResort
from wa_supervisor.daemon.main import Daemon, Started
from wa_supervisor.daemon.plainly import told_plainly
from wa_supervisor.daemon.reload import tell_notices
from wa_supervisor.daemon.signals import run_under_signals

__all__ = ["ABANDONED", "Daemon", "LastResort", "Started", "run_under_signals", "tell_notices", "told_plainly"]
