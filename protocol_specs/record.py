"""Records the frames in `vectors/` again: `python -m protocol_specs.record [service...]`.

Needs root and a corosync, because it starts daemons: one node, one node over sockets, and a cluster of three
whose links it cuts. It reads messages from shared memory (see `tape`). The two messages that set a connection
up go over a socket; for them the client talks to a relay, which passes its credentials on.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
import re
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

from tests.real import requirements
from tests.real.cluster import Cluster, cluster, three_nodes
from tests.real.config import Config, Device
from tests.real.cref import CS_OK, CVotequorum
from tests.real.daemon import Daemon, one_node
from tests.real.host import Host, abstract_address
from votequorum_ipc.wire.setup import (
    CHUNK_HEADER,
    CONNECTION_REQUEST,
    CONNECTION_RESPONSE,
    CONTROL_BLOCK,
    RING_HEADER,
)

from . import scenarios
from .frames import Frame, Origin, save

_UCRED: Final = struct.Struct("=iII")
_NOBODY: Final = 65534
_SETUP_SIZES: Final = {
    "request": CONNECTION_REQUEST.fixed_size or 0,
    "response": CONNECTION_RESPONSE.fixed_size or 0,
}


# --- setting up: a relay between client and daemon ------------------------------------------------------


class Relay(threading.Thread):
    """Relays one connection to a service, and keeps the two setup messages.

    As root it may pass on the client's credentials, so that the daemon deals with the client and not with the
    relay.
    """

    def __init__(self, place: Host, name: str, daemon: Daemon, service: str) -> None:
        """Listen on a host under an abstract name, and connect to a service of a daemon."""
        super().__init__(daemon=True)
        self.request = b""
        self.response = b""
        with place.namespace():
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(abstract_address(name))
        self._listener.listen()
        self._listener.settimeout(10)
        self._server = daemon.connect(service, timeout=10)
        self.start()

    def run(self) -> None:
        client, _ = self._listener.accept()
        with self._listener, self._server, client:
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
            self._server.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            client.settimeout(10)
            self.request = client.recv(_SETUP_SIZES["request"], socket.MSG_WAITALL)
            ancillary = [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)]
            self._server.sendmsg([self.request], ancillary)
            self.response, credentials = self._receive()
            ancillary = [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)]
            client.sendmsg([self.response], ancillary)
            self._forward(client)

    def _forward(self, client: socket.socket) -> None:
        """Forward the doorbell's bytes both ways until one end closes."""
        other = {client: self._server, self._server: client}
        while True:
            for ready in select.select(list(other), [], [])[0]:
                data = ready.recv(64)
                if not data:
                    return
                other[ready].sendall(data)

    def _receive(self) -> tuple[bytes, bytes]:
        received, credentials = b"", b""
        while len(received) < _SETUP_SIZES["response"]:
            room = _SETUP_SIZES["response"] - len(received)
            data, ancillary, _, _ = self._server.recvmsg(room, socket.CMSG_SPACE(_UCRED.size))
            assert data, "the daemon closed the connection"
            received += data
            credentials = ancillary[0][2] if ancillary else credentials
        return received, credentials


Transport = Literal["shm", "socket"]


def setup(shm: Daemon, sockets: Daemon, place: Host) -> list[Frame]:
    """The setup of a connection, over both transports, and the contents of its shared memory."""
    return [*_over_shared_memory(shm, place), *_over_sockets(sockets), *_refused(shm, place)]


def _over_shared_memory(daemon: Daemon, place: Host) -> list[Frame]:
    relay = Relay(place, "votequorum", daemon, "votequorum")
    with place.namespace():
        client = CVotequorum()
    with client:
        (directory,) = daemon.connections()
        assert client.getinfo()[0] == CS_OK
        header = (directory / "qb-request-votequorum-header").read_bytes()
        chunk = (directory / "qb-request-votequorum-data").read_bytes()[: CHUNK_HEADER.sizeof()]
    relay.join()
    assert len(header) == RING_HEADER.sizeof(), len(header)
    call = "libvotequorum, votequorum_getinfo"
    context = "the -header file of the request ring, one call later"
    return [
        *_handshake(relay, "shm", "the daemon accepts", "libvotequorum, votequorum_initialize"),
        Frame("ring header", "after one request", context, call, "shm", header),
        Frame("chunk header", "after it was read", "the first words of its -data file", call, "shm", chunk),
    ]


def _over_sockets(daemon: Daemon) -> list[Frame]:
    # The datagram sockets are in the daemon's network namespace, and so is its abstract name.
    relay = Relay(daemon.host, "relay", daemon, "votequorum")
    with daemon.namespace(), scenarios.QbClient("relay"):
        (directory,) = daemon.connections()
        control = (directory / "qb-control-votequorum").read_bytes()
    relay.join()
    assert len(control) == CONTROL_BLOCK.sizeof(), len(control)
    call = "libqb, qb_ipcc_connect"
    context = "the control file of a new connection"
    return [
        *_handshake(relay, "socket", "the daemon accepts", call),
        Frame("control block", "new", context, call, "socket", control),
    ]


def _refused(daemon: Daemon, place: Host) -> list[Frame]:
    relay = Relay(place, "cmap", daemon, "cmap")
    place.run(["corosync-cmapctl"], uid=_NOBODY, gid=_NOBODY)
    relay.join()
    context = "a user that the configuration does not list: -EACCES, 13"
    return _handshake(relay, "shm", context, "corosync-cmapctl, as uid 65534", "refused")


def _handshake(relay: Relay, transport: str, context: str, client: str, case: str = "") -> list[Frame]:
    assert relay.request, f"no client has called: {client}"
    case = case or f"over {transport}"
    first = "the first message of a connection"
    return [
        Frame("connection request", case, first, client, transport, relay.request),
        Frame("connection response", case, context, client, transport, relay.response),
    ]


# --- the program ----------------------------------------------------------------------------------------


def _versions() -> Origin:
    shown = subprocess.run(["corosync", "-v"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version '([^']*)'", shown)
    assert found, shown
    libqb = ctypes.c_char_p.in_dll(ctypes.CDLL("libqb.so.100"), "qb_ver_str").value or b""
    c_library = " ".join(platform.libc_ver())
    return Origin(found[1], libqb.decode(), f"{platform.system()} {platform.machine()}, {c_library}")


class Machines:
    """The daemons that scenarios ask for; each starts when it is first asked for."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._cluster: Cluster | None = None

    def directory(self, name: str) -> Path:
        """A new directory."""
        path = self._directory / name
        path.mkdir()
        return path

    def node(self, name: str, transport: Transport = "shm", device: Device | None = None) -> Daemon:
        """A single node."""
        config = Config(transport=transport, device=device)
        return self._stack.enter_context(one_node(config, self.directory(name)))

    def cluster(self) -> Cluster:
        """Three nodes; always the same cluster."""
        if self._cluster is None:
            whole = cluster(Config(nodes=three_nodes()), self.directory("cluster"))
            self._cluster = self._stack.enter_context(whole)
        return self._cluster


def _votequorum(machines: Machines) -> list[Frame]:
    return [
        *scenarios.votequorum_one_node(machines.node("device", device=Device(votes=1))),
        *scenarios.votequorum_membership(machines.cluster()),
        *scenarios.refusal(machines.node("refusal")),
    ]


def _setup(machines: Machines) -> list[Frame]:
    shm, sockets = machines.node("shm"), machines.node("socket", "socket")
    with contextlib.closing(Host(machines.directory("relay"))) as place:
        return setup(shm, sockets, place)


RECORDINGS: Final[dict[str, Callable[[Machines], list[Frame]]]] = {
    "setup": _setup,
    "votequorum": _votequorum,
    "quorum": lambda machines: scenarios.quorum(machines.cluster()),
    "cmap": lambda machines: scenarios.cmap(machines.node("cmap")),
    "cfg": lambda machines: scenarios.cfg(machines.node("cfg")),
}


@contextlib.contextmanager
def _machines() -> Iterator[Machines]:
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        yield Machines(Path(directory), stack)


def main(services: list[str]) -> None:
    """Record these services, or all."""
    if reason := requirements.missing():
        sys.exit(reason)
    with _machines() as machines:
        for service in services or RECORDINGS:
            frames = RECORDINGS[service](machines)
            save(service, _versions(), frames)
            print(f"{service}: {len(frames)} frames")


if __name__ == "__main__":
    main(sys.argv[1:])
