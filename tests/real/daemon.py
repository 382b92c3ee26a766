"""One real corosync on a separate host, from a configuration: start, wait until ready, damage, stop.

Ready means: the services accept connections, and the node is a member of its own membership. The daemon
itself reports both. Every failure message ends with the last lines of the daemon's log.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import leftovers
from .config import Config
from .cref import CS_OK, CQuorum, CVotequorum
from .host import Host, Process
from .installation import program
from .waiting import eventually, eventually_async

_HANDSHAKE = struct.Struct("=i4xi4xI4x")
_ANSWER = struct.Struct("=i4xi4xi")
_ANSWER_SIZE = 12328
_LOG_LINES = 40
_QUORATE = 2  # VOTEQUORUM_INFO_QUORATE


@dataclass(frozen=True)
class Status:
    """What a daemon reports about itself, read through corosync's C libraries."""

    members: tuple[int, ...]
    ring_id: tuple[int, int]
    quorate: bool
    info: dict[str, int | bytes]
    """votequorum's getinfo for the node itself; empty without a provider."""


class Daemon:
    """A corosync, from `start` to `stop`; meanwhile it may be killed and started again."""

    def __init__(self, host: Host, config: Config, directory: Path, nodeid: int | None = None) -> None:
        """Keep configuration, state and log in `directory`; `nodeid` selects the node of the list."""
        self.host = host
        self.config = config
        self.directory = directory
        self.nodeid = config.nodes[0].nodeid if nodeid is None else nodeid
        self.log = directory / "corosync.log"
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """The daemon's process id, even after `kill`, but not after `stop`."""
        assert self._process, "the daemon was not started, or was stopped"
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    def start(self) -> None:
        """Start the daemon without waiting for it."""
        assert not self.alive
        self._forget()
        state = self.directory / "state"
        state.mkdir(exist_ok=True)
        file = self.directory / "corosync.conf"
        file.write_text(self.config.render(state))
        if self.config.filesystem_sockets:
            self.host.force_filesystem_sockets()
        self._process = self.host.start([program(), "-f", "-c", str(file)], self.log)

    def wait_ready(self) -> None:
        """Block until the daemon is ready."""
        eventually(self.ready, otherwise=lambda: f"node {self.nodeid} is ready{self.log_tail()}")

    async def until_ready(self) -> None:
        """`wait_ready` for trio."""
        await eventually_async(self.ready, otherwise=lambda: f"node {self.nodeid} is ready{self.log_tail()}")

    def stop(self) -> None:
        """Stop the daemon with SIGTERM, or kill it if it does not exit in time; remove what it leaves."""
        if self._process and self.alive:
            self._process.signal(signal.SIGCONT)
            self._process.signal(signal.SIGTERM)
            try:
                self._process.wait(within=10)
            except AssertionError:
                self.kill()
        self._forget()

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone; its files in /dev/shm stay until `start` or `stop`."""
        assert self._process
        self._process.signal(signal.SIGKILL)
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal, and do not wait."""
        assert self._process
        self._process.signal(number)

    def discard(self) -> None:
        """Kill the daemon at once and remove what it leaves; a clean stop takes corosync a second."""
        if self._process:
            self.kill()
        self._forget()

    def restart(self) -> None:
        """Kill, start and wait: this restores the configured votes and disconnects all clients."""
        self.discard()
        self.start()
        self.wait_ready()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the process with SIGSTOP for the duration of the block: clients wait, and peers miss its
        token.
        """
        assert self._process
        process = self._process
        process.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.signal(signal.SIGCONT)

    def connections(self) -> list[Path]:
        """The /dev/shm directories of the existing connections, or of those that a killed daemon left."""
        return leftovers.connections(self.pid)

    def log_text(self) -> str:
        """The log so far; empty if there is none yet."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines: int = _LOG_LINES) -> str:
        """The log's last lines, for the end of a message."""
        text = self.log_text() or "(empty)"
        state = "alive" if self.alive else "dead"
        return f"; the daemon is {state}, {self.log} ends:\n" + "\n".join(text.splitlines()[-lines:])

    def ready(self) -> bool:
        """Whether the daemon is ready. Raises AssertionError if it has died."""
        assert self.alive, f"corosync of node {self.nodeid} has died{self.log_tail()}"
        if self.config.filesystem_sockets:
            return self.answers()  # the C library in this process only knows abstract addresses
        status = self.status() if self.answers() else None
        return status is not None and self.nodeid in status.members

    def answers(self) -> bool:
        """Whether the quorum services accept a connection. Does not use the C library, which may block."""
        services = ["quorum", "votequorum"] if self.config.provider else ["quorum"]
        return all(self.handshake(service) == 0 for service in services)

    def handshake(self, service: str) -> int | None:
        """The error in a service's answer to a connection request, a negative errno; None if none comes."""
        try:
            with self.connect(service, timeout=1) as connection:
                connection.sendall(_HANDSHAKE.pack(-1, _HANDSHAKE.size, 8192))
                answer = connection.recv(_ANSWER_SIZE)
        except OSError:
            return None
        return int(_ANSWER.unpack_from(answer)[2]) if len(answer) >= _ANSWER.size else None

    def status(self) -> Status | None:
        """What the daemon reports about itself; None if it does not answer, as during synchronisation."""
        with self.namespace(), contextlib.ExitStack() as handles:
            quorum = CQuorum()
            if quorum.error != CS_OK:
                return None
            handles.enter_context(quorum)
            info = self._own_info() if self.config.provider else {}
            events = _current(quorum)
        if info is None or len(events) != 2:
            return None
        (_, nodelist_ring_id, members, _, _), (_, ring_id, quorate, _) = events
        if self.config.provider and ring_id != nodelist_ring_id:
            return None  # synchronising: the members are the next ring's, and the quorum is the last one's
        return Status(tuple(sorted(members)), ring_id, bool(quorate), info)

    # Shortcuts for what tests use most.

    def socket_path(self, service: str) -> Path:
        """The path where a service listens, seen from outside the host: an `address`."""
        for directory in ("/run", "/tmp"):
            path = self.host.path(f"{directory}/{service}")
            if path.is_socket():
                return path
        raise FileNotFoundError(f"no socket of the service {service} on the host")

    def connect(self, service: str, timeout: float | None = None) -> socket.socket:
        """A stream socket connected to a service; clients accept such a socket as an address."""
        if self.config.filesystem_sockets:
            return self.host.connect_address(str(self.socket_path(service)), timeout)
        return self.host.connect(service, timeout)

    @contextlib.contextmanager
    def namespace(self) -> Iterator[None]:
        """Within the block the calling thread is in the daemon's network namespace."""
        with self.host.namespace():
            yield

    def run(self, argv: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command on the daemon's host; see `Host.run`."""
        return self.host.run(argv, **options)

    def _own_info(self) -> dict[str, int | bytes] | None:
        votequorum = CVotequorum()
        if votequorum.error != CS_OK:
            return None
        with votequorum:
            error, info = votequorum.getinfo()
        return info if error == CS_OK else None

    def _forget(self) -> None:
        if self._process:
            leftovers.remove(self._process.pid)
            self._process.close()
            self._process = None


def _current(quorum: CQuorum) -> list[tuple[Any, ...]]:
    """The two events that trackstart sends at once for the current state."""
    if quorum.trackstart(1) != CS_OK:
        return []
    return quorum.take()


@contextlib.contextmanager
def one_node(config: Config, directory: Path) -> Iterator[Daemon]:
    """A ready one-node daemon on a separate host."""
    with contextlib.ExitStack() as stack:
        host = Host(directory)
        stack.callback(host.close)
        daemon = Daemon(host, config, directory)
        stack.callback(daemon.discard)
        daemon.start()
        daemon.wait_ready()
        yield daemon
