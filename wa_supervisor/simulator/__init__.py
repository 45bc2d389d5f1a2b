"""A gateway that behaves like wppconnect-server, bad manners included, and an agent that echoes.

For the demo, the tests and the benchmarks: real HTTP and real Socket.IO on one real port, sessions that log in, drop,
turn zombie, get stuck, refuse and answer late, people who write, and a ledger of what they really sent and received.

    async with simulated_gateway() as gateway:
        anna = gateway.person("5511900000077@c.us", name="Anna")
        ...                                                  # something starts session "acme" over HTTP
        anna.writes("acme", "hello")
        await gateway.ledger.until(lambda ledger: ledger.texts_received("acme", anna.id))
        gateway.session("acme").drop()

Another process scripts it over HTTP (`wa_supervisor.simulator.control`). It imports nothing of the daemon, so that a
mistake there is not mirrored here.
"""

from wa_supervisor.simulator.faults import Fault
from wa_supervisor.simulator.gateway import SimulatedGateway, serve, simulated_gateway
from wa_supervisor.simulator.ledger import Ledger, Received, Written
from wa_supervisor.simulator.messages import Media
from wa_supervisor.simulator.people import Person
from wa_supervisor.simulator.session import SimulatedSession, Status
from wa_supervisor.simulator.timings import FAST, REALISTIC, Manners, Timings

__all__ = [
    "FAST",
    "REALISTIC",
    "Fault",
    "Ledger",
    "Manners",
    "Media",
    "Person",
    "Received",
    "SimulatedGateway",
    "SimulatedSession",
    "Status",
    "Timings",
    "Written",
    "serve",
    "simulated_gateway",
]
