"""Addresses as callers write them, and how one service's address leads to the same daemon's other services.

Strategy: an address is text with at most one placeholder. `sockets.locate` turns it into a socket address.
"""

from __future__ import annotations

import os
import socket

from ..errors import InvalidParam
from ..sockets import KNOWN_SERVICES, abstract, locate

__all__ = ["KNOWN_SERVICES", "Address", "abstract", "locate", "sibling"]

Address = str | os.PathLike[str] | socket.socket | None
"""`None`: corosync's own sockets. "@name": that abstract socket. A path: that socket in the file system. A
connected stream socket: itself. In a text, "{service}" stands for the name of the service."""


def sibling(address: Address, service: str) -> Address:
    """The address of another service of the same daemon.

    An address with "{service}" in it works for all of them. In one that ends with the name of a service, such
    as "@sim-votequorum", that name is replaced. Raises `InvalidParam` for any other.
    """
    if address is None:
        return None
    if isinstance(address, socket.socket):
        raise InvalidParam("a connected socket leads to only one service")
    text = os.fspath(address)
    if "{service}" in text:
        return text
    for known in KNOWN_SERVICES:
        if text.endswith(known):
            return text.removesuffix(known) + service
    raise InvalidParam(
        f"{text!r} does not tell where the service {service!r} is: put {{service}} in place of its name",
    )
