"""wa-supervisor: keeps declared WhatsApp sessions running and carries their messages to and from AI agents."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
