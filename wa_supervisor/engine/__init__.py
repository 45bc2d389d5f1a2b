"""Tasks and time: supervision and the carriage of messages, on anyio alone.

Everything here runs on asyncio and on trio, and in virtual time under test. It knows the domain's values and the ports
of `wa_supervisor.engine.ports`, and no library that talks to the outside.
"""
