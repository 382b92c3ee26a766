"""A service: a table of the requests it knows, with a handler for each.

Strategy: a service is one module with one class. Its table maps a message's id to the layout that decodes it
and the function that handles it. Messages that cannot be decoded, or are not in the table, are answered here
as corosync answers them, so handlers see only well-formed requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from ..errors import CsErrorCode, MessageError
from ..wire import Layout, message_id
from ..wire.setup import REFUSAL
from .connection import ServerConnection

REFUSED = REFUSAL.encode(error=CsErrorCode.INVALID_PARAM)
"""The answer to a message that is not a request of the service (corosync's `cs_ipcs_msg_process`)."""


Handler = Callable[[Any, ServerConnection, Any], None]
"""Handles one request: takes the service, the client and the decoded message; responds now or later, once."""


class Route(NamedTuple):
    """A request's layout and its handler."""

    layout: Layout
    handler: Handler


def routes(*pairs: tuple[Layout, Handler]) -> dict[int, Route]:
    """A service's table, by message id."""
    return {layout.id: Route(layout, handler) for layout, handler in pairs}


class Service:
    """The base of all services; by itself, a service without requests."""

    name: ClassVar[str]
    """Its name, as in its socket's name and its rings' names."""

    routes: ClassVar[Mapping[int, Route]] = {}

    paused = False
    """Whether requests are left unread, as while corosync synchronises. Call `Listener.wake` when it
    changes."""

    def connected(self, client: ServerConnection) -> None:
        """A client was accepted and has its setup response. Events may be sent to it from now on."""

    def disconnected(self, client: ServerConnection) -> None:
        """A client that was `connected` is gone."""

    def process(self, client: ServerConnection, message: bytes) -> None:
        """Handle one request, whatever its bytes."""
        try:
            route = self.routes.get(message_id(message))
            request = route.layout.decode(message) if route else None
        except MessageError:
            route = None
        if route is None:
            client.respond(REFUSED)
        else:
            route.handler(self, client, request)
