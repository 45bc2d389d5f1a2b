"""An echo agent on streams alone, beside the rooms of the acceptance tests: the simulator's own."""

from __future__ import annotations

from wa_supervisor.simulator.stream_agent import StreamEchoAgent as StreamAgent

__all__ = ["StreamAgent"]
