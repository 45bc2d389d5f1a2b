"""One room for each conversation with the outside.

Only here are redis, httpx, aiohttp, python-socketio, psycopg and prometheus_client imported. Adapters do not know each
other; each implements ports of `wa_supervisor.engine.ports` and turns its library's exceptions into ours.
"""
