"""The demo: the whole path on one machine, with no set-up.

Private Valkey and PostgreSQL servers, simulated gateways with people who write, an echo agent that speaks as a hub's
agent does, and the real daemon between them. Among the sessions one needs its QR code scanned, one drops and comes
back, and one has a record that cannot be read. What is told at the end is counted from the gateways' ledgers: what
people really sent and received, not what the daemon believes.
"""

from __future__ import annotations

from wa_supervisor.demo.cast import DemoOptions
from wa_supervisor.demo.play import DemoScene, play
from wa_supervisor.demo.tally import DemoResult

__all__ = ["DemoOptions", "DemoResult", "DemoScene", "play"]
