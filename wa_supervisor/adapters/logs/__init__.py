"""The log: how lines look, where they go, and an observer that writes what the engine tells.

Lines are constant messages with fields beside them, one per transition and not per message. Never a message's text, a
token, or a full phone number at info or above. Nothing here is read back; history is kept in Redis, numbers in metrics.
"""

from __future__ import annotations

from wa_supervisor.adapters.logs.observer import LogObserver, LogPolicy
from wa_supervisor.adapters.logs.setup import LogFormat, is_journal, set_up_logging
from wa_supervisor.domain.masking import masked_chat

__all__ = ["LogFormat", "LogObserver", "LogPolicy", "is_journal", "masked_chat", "set_up_logging"]
