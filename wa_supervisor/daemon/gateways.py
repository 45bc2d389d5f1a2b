"""One gateway's client, event connection and room, built from its settings."""

from __future__ import annotations

from wa_supervisor.adapters.gateway.client import HttpGateway
from wa_supervisor.adapters.gateway.events import SocketIoEvents
from wa_supervisor.config import GatewaySettings
from wa_supervisor.daemon.policies import gate_policy
from wa_supervisor.daemon.telling import wall
from wa_supervisor.domain.names import GatewayName
from wa_supervisor.domain.observations import Observer
from wa_supervisor.engine.backlog import Backlog
from wa_supervisor.engine.ports import Receipts
from wa_supervisor.engine.room import GatewayRoom


def build_room(
    name: str, given: GatewaySettings, observe: Observer, *, receipts: Receipts, backlog: Backlog
) -> GatewayRoom:
    """Give the room of gateway `name`; it hangs up when it ends."""
    client = HttpGateway(
        GatewayName(name),
        given.url,
        secret=given.secret.get_secret_value() or None,
        token=given.token.get_secret_value() or None,
        requests_at_once=given.requests_at_once,
        request_timeout=given.request_timeout,
        send_timeout=given.send_timeout,
    )
    events = SocketIoEvents(given.url, socketio_path=given.socketio_path, max_event_bytes=given.max_event_bytes)
    return GatewayRoom(
        client,
        events,
        gate_policy(given),
        observe,
        hang_up=client.aclose,
        address=given.url,
        receipts=receipts,
        backlog=backlog,
        wall=wall,
    )
