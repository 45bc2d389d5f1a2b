"""Where connections come from: aiohttp's connector, made to look before it hands one out.

Lives as long as the transport's session. It keeps idle connections, checks at the moment of use that the server has
not closed them (or written something nobody asked for), and bounds connecting by the request's own time-out. It does
not bound the number of connections: the transport does, because it alone can tell waiting from connecting.
"""

from __future__ import annotations

import ssl
from weakref import WeakSet

import aiohttp
import anyio
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from wa_supervisor.adapters.gateway.attempt import current_attempt, is_gone


class Connector(aiohttp.TCPConnector):
    """Hands out connections on which a request can still be sent; `keepalive` in seconds."""

    def __init__(self, *, keepalive: float, verify: ssl.SSLContext | bool) -> None:
        super().__init__(limit=0, keepalive_timeout=keepalive, ssl=verify)
        self._known: WeakSet[ResponseHandler] = WeakSet()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a connection, kept or new. Whatever this raises, nothing was sent."""
        with anyio.fail_after(current_attempt.get().connect_within):
            while True:
                connection = await super().connect(req, traces, timeout)
                if self._is_handed_over(connection):
                    return connection
                # A kept one that the server closed meanwhile. Each turn uses one up, so this ends.
                connection.close()

    def abort_all(self) -> None:
        """Close every connection without flushing it, so that closing the session waits for nobody."""
        for protocol in list(self._known):
            protocol.abort()

    def _is_handed_over(self, connection: Connection) -> bool:
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None:
            return False
        is_kept = protocol in self._known
        if is_kept and (protocol.should_close or is_gone(transport, is_kept=True)):
            return False
        self._known.add(protocol)
        current_attempt.get().take(transport, is_kept=is_kept)
        return True
