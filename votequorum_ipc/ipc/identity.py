"""Who the server is, according to the kernel, and whether to trust it.

Strategy: any user may listen on an abstract name while corosync is down, so a name proves nothing. The kernel
attaches the sender's credentials to the setup response (SCM_CREDENTIALS), and only root can forge those. With
`address=None` the caller wants corosync, which root runs, or a stand-in that the same user started. Any other
server is refused before its response is read. An explicit address is the caller's choice, and is checked only
against `server_uids`.

The sender alone proves too little: any user can listen, accept, and start a setuid program (sudo, say) with
that socket as its output. So the user who called listen (SO_PEERCRED) is checked as well. Root may always
listen, as for a server that then drops its privileges.

In a user namespace the kernel shows every unmapped user as the overflow uid (65534), which may be the host's
root or any other user. It shows the same uid for a message without credentials. Neither is trusted unless
`server_uids` contains 65534.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Collection
from typing import Final, NamedTuple

from ..errors import Security

_DEFAULT_OVERFLOW_UID: Final = 65534
_ALL_UIDS: Final = ["0", "0", "4294967295"]
"""The uid_map of a user namespace that maps every user to itself, as the first one does."""


class ServerProcess(NamedTuple):
    """The process that answered on a setup socket."""

    pid: int
    """0 if the server runs in a pid namespace that is not visible from here."""
    uid: int
    """The overflow uid if the kernel cannot say."""

    @property
    def is_root(self) -> bool:
        """Whether root runs it. Root needs no trick to harm this process."""
        return self.uid == 0


def unknown_server() -> ServerProcess:
    """What the kernel reports for a message without credentials."""
    return ServerProcess(0, _overflow_uid())


def check_server(
    server: ServerProcess,
    where: str,
    server_uids: Collection[int] | None,
    *,
    is_default_address: bool,
) -> None:
    """Raises `Security` for a server that must not be trusted. `where` names the address in the error."""
    if server_uids is not None:
        if server.uid not in server_uids:
            allowed = ", ".join(map(str, sorted(server_uids))) or "none"
            raise Security(f"{_who(server, where)}. Allowed here are the uids in server_uids: {allowed}")
        return
    if is_default_address and not _is_root_or_us(server.uid):
        raise Security(f"{_who(server, where)}. {_next_step(server)}")


def check_listener(
    listener: ServerProcess,
    where: str,
    server_uids: Collection[int] | None,
    *,
    is_default_address: bool,
) -> None:
    """Raises `Security` if the process that listens at `where` must not be trusted, whichever process
    answers."""
    if not listener.is_root:
        check_server(listener, where, server_uids, is_default_address=is_default_address)


def _is_root_or_us(uid: int) -> bool:
    # The effective uid: a program with more rights than its user must not trust that user.
    return uid == 0 or (uid == os.geteuid() and not is_unmapped(uid))


def is_unmapped(uid: int) -> bool:
    """Whether this uid may stand for a user that has no mapping in this user namespace."""
    return uid == _overflow_uid() and not _maps_all_users()


def _who(server: ServerProcess, where: str) -> str:
    process = f"pid {server.pid}" if server.pid else "a process that is not visible from here"
    if is_unmapped(server.uid):
        return (
            f"{process} answers on {where}, and its user is unknown: uid {server.uid} stands for every user "
            f"that this user namespace does not map"
        )
    return f"uid {server.uid}{_name_of(server.uid)}, {process}, answers on {where}"


def _next_step(server: ServerProcess) -> str:
    if is_unmapped(server.uid):
        return (
            f"If only the host's corosync can listen in this network namespace, connect with "
            f"server_uids={{{server.uid}}}, or give the address '@{{service}}'; otherwise run this program "
            f"outside the user namespace"
        )
    look = f"Look at what it is (ps -p {server.pid})" if server.pid else "Find out what it is"
    return (
        f"That is neither root nor this program's user (uid {os.geteuid()}), so it is not corosync. {look} "
        f"and end it; or, if you mean to use it, give its address, or allow its user with "
        f"server_uids={{{server.uid}}}"
    )


def _name_of(uid: int) -> str:
    try:
        return f" ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return ""


def _overflow_uid() -> int:
    try:
        return int(proc_text("/proc/sys/kernel/overflowuid"))
    except (OSError, ValueError):
        return _DEFAULT_OVERFLOW_UID


def _maps_all_users() -> bool:
    try:
        return proc_text("/proc/self/uid_map").split() == _ALL_UIDS
    except OSError:
        return False


def proc_text(path: str) -> str:
    """The content of a file in /proc. Raises `OSError`."""
    with open(path, errors="replace") as file:  # noqa: PTH123 - pathlib would slow the import down
        return file.read()
