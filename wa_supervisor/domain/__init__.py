"""Values and decisions: no clock, no dice, no I/O, no event loop.

Everything here is a frozen value or a pure function, so every rule of the house can be tested with plain calls. What
waits lives in `wa_supervisor.engine`; what talks lives in `wa_supervisor.adapters`.
"""
