"""Where libqb binds the socket of a service: the server half binds it, the client half connects to it.

libqb binds each service to an abstract socket of that name, padded with NULs to the whole of `sun_path` (the
padding is part of the name). If a certain file exists, it binds to a path instead, in a directory chosen when
libqb is built: `/var/run` by default, `/tmp` in Debian 12. Sources: libqb's lib/ipc_setup.c and
lib/ipc_socket.c.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from .errors import InvalidParam

KNOWN_SERVICES: Final = ("votequorum", "quorum", "cmap", "cfg")
"""The corosync services that this package speaks, in the order in which an address is searched for their
names."""

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

    None, "@name" and paths mean what they mean in `votequorum_ipc.ipc.Address`. Raises `InvalidParam` for an
    invalid address.
    """
    if address is None:
        address = _filesystem_socket(service) if _mode(FORCE_FILESYSTEM_SOCKETS) else f"@{service}"
    text = os.fspath(address).replace("{service}", service)
    if text.startswith("@"):
        return abstract(text[1:]), f"the abstract socket {text[1:]!r}"
    if not text or "\0" in text or len(os.fsencode(text)) >= SUN_PATH_LENGTH:
        raise InvalidParam(f"a socket's path has 1 to {SUN_PATH_LENGTH - 1} bytes: {text!r}")
    return text, f"the socket {text}"


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
