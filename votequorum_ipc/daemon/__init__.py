"""libqb's server half, and corosync's services on top of the model of a cluster.

`open_server` is libqb's half by itself: it serves any `Service`. `open_simulation` serves a whole cluster,
each node with the services votequorum, quorum, cmap and cfg, convincing enough for corosync's own programs.
"""

from __future__ import annotations

from ..types import TransportName
from .admission import AccessRule, Credentials
from .connection import ServerConnection
from .listener import Listener
from .server import Server, open_server
from .service import Route, Service, routes
from .simulation import AddressOf, Simulation, open_simulation

__all__ = [
    "AccessRule",
    "AddressOf",
    "Credentials",
    "Listener",
    "Route",
    "Server",
    "ServerConnection",
    "Service",
    "Simulation",
    "TransportName",
    "open_server",
    "open_simulation",
    "routes",
]
