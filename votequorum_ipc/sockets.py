"""Where the socket of a service is: the server half binds it, the client half connects to it.

Strategy: callers write an address as text with at most one placeholder. `locate` turns it into a socket's
address, and `sibling` into the address of another service of the same daemon.

libqb binds each service to an abstract socket of that name, padded with NULs to the whole of `sun_path` (the
padding is part of the name). If a certain file exists, it binds to a path instead, in a directory chosen when
libqb is built: `/var/run` by default, `/tmp` in Debian 12. Sources: libqb's lib/ipc_setup.c and
lib/ipc_socket.c.
"""

from __future__ import annotations

import os
import socket
import stat
from typing import Final

from .errors import InvalidParam

KNOWN_SERVICES: Final = ("votequorum", "quorum", "cmap", "cfg")
"""The corosync services that this package speaks, in the order in which an address is searched for their
names."""

Address = str | os.PathLike[str] | socket.socket | None
"""`None`: corosync's own sockets. "@name": that abstract socket. A path: that socket in the file system. A
connected stream socket: itself. In a text, "{service}" stands for the name of the service."""

SUN_PATH_LENGTH: Final = 108
"""sizeof(sockaddr_un.sun_path) on Linux."""

FORCE_FILESYSTEM_SOCKETS: Final = "/etc/libqb/force-filesystem-sockets"
SOCKET_DIRECTORIES: Final = ("/var/run", "/tmp")


def abstract(name: str) -> bytes:
    """The socket address of an abstract name as libqb writes it: a NUL, the name, then NULs up to 108 bytes.

    Raises `InvalidParam` for a name that is empty, too long or has a NUL.
    """
    raw = os.fsencode(name)
    if not raw or len(raw) >= SUN_PATH_LENGTH or b"\0" in raw:
        raise InvalidParam(f"an abstract socket's name has 1 to {SUN_PATH_LENGTH - 1} bytes: {name!r}")
    return (b"\0" + raw).ljust(SUN_PATH_LENGTH, b"\0")


def locate(service: str, address: str | os.PathLike[str] | None) -> tuple[bytes | str, str]:
    """What to `bind` or `connect` to, and what to call it in an error.

    Raises `InvalidParam` for an invalid address.
    """
    if address is None:
        address = _filesystem_socket(service) if _mode(FORCE_FILESYSTEM_SOCKETS) else f"@{service}"
    text = os.fspath(address).replace("{service}", service)
    if text.startswith("@"):
        return abstract(text[1:]), f"the abstract socket {text[1:]!r}"
    if not text or "\0" in text or len(os.fsencode(text)) >= SUN_PATH_LENGTH:
        raise InvalidParam(f"a socket's path has 1 to {SUN_PATH_LENGTH - 1} bytes: {text!r}")
    return text, f"the socket {text}"


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


def _filesystem_socket(service: str) -> str:
    paths = [f"{directory}/{service}" for directory in SOCKET_DIRECTORIES]
    return next((path for path in paths if stat.S_ISSOCK(_mode(path))), paths[0])


def _mode(path: str) -> int:
    """The `st_mode` of a path; 0 if nothing is there."""
    # Importing pathlib would take a tenth of the time that it takes to import the library.
    try:
        return os.stat(path).st_mode  # noqa: PTH116
    except OSError:
        return 0
