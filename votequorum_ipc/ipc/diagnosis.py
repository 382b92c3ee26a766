"""Why a connection could not be made, and what to do about it, in the words of an error.

Strategy: an errno says little, but the system around the caller often shows the cause. The sockets that
listen in this network namespace distinguish a stopped corosync from one without the service. The namespaces
of this process reveal a container that does not share what corosync needs. If the server still holds its end
of the setup socket, a missing file means that /dev/shm is not the server's. What /proc does not show is left
out of the advice, or becomes an "if". This runs only after a failure.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

from ..errors import CsError, Library, error_from_errno
from ..sockets import KNOWN_SERVICES, SOCKET_DIRECTORIES, Address
from .identity import proc_text

_LISTENS: Final = 0x10000
"""The flag of a listening socket in /proc/net/unix (__SO_ACCEPTCON in linux/net.h)."""

_FIRST_PID_NAMESPACE: Final = "pid:[4026531836]"
"""PROC_PID_INIT_INO in linux/proc_ns.h: a process in any other namespace is in some kind of container."""

_NOT_SHARED: Final = (
    "Abstract sockets do not cross network namespaces: run this program in corosync's (with containers, "
    "share the host's network)"
)


def unreachable(service: str, address: Address, where: str, error: OSError) -> CsError:
    """Why a socket could not be connected."""
    number = error.errno or 0
    if number in (errno.ECONNREFUSED, errno.ENOENT):
        if address is None:
            return Library(_not_running(service, where))
        return Library(
            f"nothing listens on {where}: is the daemon at this address running? ({{service}} in an "
            f"address stands for the service's name, here {service!r})"
        )
    if number == errno.EAGAIN:
        return error_from_errno(number, f"{where} cannot take another connection now: try again")
    return error_from_errno(number, f"cannot connect to {where}: {error.strerror}")


def _not_running(service: str, where: str) -> str:
    listening = _listening()
    others = [name for name in KNOWN_SERVICES if name != service and name in listening]
    if others:
        advice = "it may still be starting"
        if service == "votequorum":
            advice = (
                "unless it is just starting, set 'provider: corosync_votequorum' in the quorum section of "
                "corosync.conf and restart it"
            )
        return (
            f"corosync is running, but without the service {service!r}: {', '.join(others)} can be reached, "
            f"but nothing listens on {where}: {advice}"
        )
    text = f"corosync is not running here: nothing listens on {where}. "
    if _shares_network_with_the_first_process() is False:
        return (
            f"{text}This process is in another network namespace than the system's first one. "
            f"{_NOT_SHARED}. If corosync should run in this one, start it"
        )
    if _is_in_a_container():
        # The first process here is the container's own, and says nothing about the host's network.
        return (
            f"{text}This process is in a container. {_NOT_SHARED}. If corosync should run in this "
            f"container, or the network is shared already, start corosync"
        )
    return (
        f"{text}Start it (systemctl start corosync); or, to try things out, a simulated cluster "
        f"(votequorum-ipc serve)"
    )


def _listening() -> set[str]:
    """The names of corosync's services that something listens on in this network namespace; empty without
    /proc."""
    names = set()
    try:
        lines = proc_text("/proc/thread-self/net/unix").splitlines()[1:]
    except OSError:
        return set()
    for line in lines:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and int(fields[3], 16) & _LISTENS:
            directory, _, name = fields[7].rpartition("/")
            if directory in ("", *SOCKET_DIRECTORIES):
                # /proc shows the NULs of an abstract name as "@".
                names.add(name.strip("@"))
    return names


def _shares_network_with_the_first_process() -> bool | None:
    """None if that cannot be seen."""
    try:
        return os.path.samefile("/proc/1/ns/net", "/proc/thread-self/ns/net")  # noqa: PTH121
    except OSError:
        return None


def _is_in_a_container() -> bool:
    try:
        return os.readlink("/proc/self/ns/pid") != _FIRST_PID_NAMESPACE  # noqa: PTH115
    except OSError:
        return False


def lost(where: str, error: OSError) -> CsError:
    """A connection that broke during the handshake."""
    return Library(f"the connection to {where} broke during setup: {error.strerror}")


def refusal(service: str, where: str, number: int) -> CsError:
    """What this errno in a server's answer means."""
    if number == errno.EACCES:
        text = f"{where} refuses {_who_we_are()}"
    elif number == errno.EAGAIN:
        text = f"corosync is still starting and does not accept connections on {where} yet: try again"
    elif number == errno.EMFILE:
        text = f"corosync has no file descriptors left for a connection on {where}"
    else:
        name = errno.errorcode.get(number)
        why = f"{name} ({os.strerror(number)})" if name else f"error {number}, which Linux does not have"
        text = f"{where} refused the connection to {service!r}: {why}"
    return error_from_errno(number, text)


def _who_we_are() -> str:
    uid, gid = os.getuid(), os.getgid()  # the kernel's credentials
    outer_uid, outer_gid = _outside(uid, "uid_map"), _outside(gid, "gid_map")
    who, advice = f"uid {uid}, gid {gid}", "Run as root, or allow this user"
    if (outer_uid, outer_gid) != (uid, gid):
        who = (
            f"uid {outer_uid}, gid {outer_gid}, as which corosync sees this program from outside of its user "
            f"namespace (here it is {who})"
        )
        advice = "Allow that user"
    return (
        f"{who}. {advice}: 'uidgid {{', 'uid: {outer_uid}' and '}}', each on its own line, in corosync.conf "
        f"or a file in /etc/corosync/uidgid.d, then 'corosync-cfgtool -R'"
    )


def _outside(number: int, table: str) -> int:
    """A uid or gid of this user namespace as the parent namespace has it; unchanged if /proc does not say."""
    try:
        lines = proc_text(f"/proc/self/{table}").splitlines()
    except OSError:
        return number
    for inside, outside, count in (map(int, line.split()) for line in lines):
        if inside <= number < inside + count:
            return outside + number - inside
    return number


def shared_memory_missing(setup: socket.socket, path: str) -> CsError:
    """The server answered, but a file that it named does not exist."""
    try:
        is_alive = setup.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        is_alive = True
    except OSError:
        is_alive = False
    if not is_alive:
        return Library(f"the daemon ended this connection at once, and its shared memory is gone: {path}")
    return Library(
        f"the daemon is running, but its shared memory is not in this process's /dev/shm: there is no "
        f"{path}. In a container or its own mount namespace, this program needs the daemon's /dev/shm "
        f"(with containers, share the host's IPC namespace, or mount its /dev/shm)"
    )
