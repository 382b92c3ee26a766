"""Where a service is: turns a service's name and the caller's `address` into a socket address.

libqb binds each service to an abstract socket of that name, padded with NULs to the whole of `sun_path` (the
padding is part of the name). Where a file tells it to, it binds to a path instead, in a directory that is
chosen when libqb is built: `/var/run` by default, `/tmp` in Debian 12. Sources: libqb's lib/ipc_setup.c and
lib/ipc_socket.c.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

from ..errors import InvalidParam

Address = str | os.PathLike[str] | socket.socket | None
"""`None`: where corosync is. "@name": that abstract socket. A path: that socket in the file system. A
connected stream socket: itself. In a text, "{service}" stands for the name of the service."""

SUN_PATH_LENGTH: Final = 108
"""sizeof(sockaddr_un.sun_path) on Linux."""

FORCE_FILESYSTEM_SOCKETS: Final = "/etc/libqb/force-filesystem-sockets"
SOCKET_DIRECTORIES: Final = ("/var/run", "/tmp")

KNOWN_SERVICES: Final = ("votequorum", "quorum", "cmap", "cfg")
"""In the order in which `sibling` looks for one at the end of an address."""


def abstract(name: str) -> bytes:
    """The socket address of an abstract name as libqb writes it: a NUL, the name, NULs up to 108 bytes."""
    raw = os.fsencode(name)
    if not raw or len(raw) >= SUN_PATH_LENGTH or b"\0" in raw:
        raise InvalidParam(f"an abstract socket's name has 1 to {SUN_PATH_LENGTH - 1} bytes: {name!r}")
    return (b"\0" + raw).ljust(SUN_PATH_LENGTH, b"\0")


def locate(service: str, address: str | os.PathLike[str] | None) -> tuple[bytes | str, str]:
    """What to `connect` to, and how to call it in an error. Raises `InvalidParam` for what is no address."""
    if address is None:
        address = _filesystem_socket(service) if Path(FORCE_FILESYSTEM_SOCKETS).exists() else f"@{service}"
    text = os.fspath(address).replace("{service}", service)
    if text.startswith("@"):
        return abstract(text[1:]), f"the abstract socket {text[1:]!r}"
    if not text or "\0" in text or len(os.fsencode(text)) >= SUN_PATH_LENGTH:
        raise InvalidParam(f"a socket's path has 1 to {SUN_PATH_LENGTH - 1} bytes: {text!r}")
    return text, f"the socket {text}"


def _filesystem_socket(service: str) -> str:
    paths = [f"{directory}/{service}" for directory in SOCKET_DIRECTORIES]
    return next((path for path in paths if Path(path).is_socket()), paths[0])


def sibling(address: Address, service: str) -> Address:
    """The address of another service of the same daemon.

    An address with "{service}" in it serves for all of them. One that ends with the name of a service, such
    as "@sim-votequorum", leads to its siblings by that name. Raises `InvalidParam` for any other.
    """
    if address is None:
        return None
    if isinstance(address, socket.socket):
        raise InvalidParam("a connected socket leads to one service only")
    text = os.fspath(address)
    if "{service}" in text:
        return text
    for known in KNOWN_SERVICES:
        if text.endswith(known):
            return text.removesuffix(known) + service
    raise InvalidParam(
        f"{text!r} does not tell where the service {service!r} is: put {{service}} in place of its name",
    )
