"""A host as the tests see it: a network and a mount namespace, the processes in them, and sockets opened
there.

A keeper process (see `keeper`) holds the namespaces. It has a separate session, so that a signal for the test
run's group does not reach it. It exits when its standard input ends, however the test run ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .namespace import NetworkNamespace
from .waiting import DEADLINE, eventually

ROOT = Path(__file__).resolve().parents[2]
_SUN_PATH = 108  # sys/un.h


class Process:
    """A process started by a keeper. It is the keeper's child, so everything goes through a pidfd."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = -1
        with contextlib.suppress(ProcessLookupError):
            self._fd = os.pidfd_open(pid)

    @property
    def alive(self) -> bool:
        """False once the process is dead and reaped."""
        if self._fd < 0:
            return False
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return not poll.poll(0)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; that the process is already dead is not an error."""
        if self._fd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, number)

    def wait(self, within: float = DEADLINE) -> None:
        """Block until the process is dead and reaped."""
        eventually(lambda: not self.alive, within=within, otherwise=f"process {self.pid} has ended")
        self.close()
        eventually(lambda: not Path(f"/proc/{self.pid}").exists(), within=within, otherwise="it was reaped")

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Host:
    """A network namespace with only a loopback interface, and a mount namespace with a private /run."""

    def __init__(self, directory: Path) -> None:
        """Make the namespaces; the keeper's stderr goes to a file in `directory`."""
        self.directory = directory
        self._complaints = directory / "keeper.log"
        with self._complaints.open("ab") as complaints:
            self._keeper = subprocess.Popen(
                ["unshare", "--net", "--mount", sys.executable, "-m", "tests.real.keeper"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,
            )
        try:
            self._hear("ready")
            self.network = NetworkNamespace(Path(f"/proc/{self.pid}/ns/net"))
        except BaseException:
            self._dismiss()
            raise

    @property
    def pid(self) -> int:
        """The keeper's process id: /proc/<pid>/ns and /proc/<pid>/root belong to the host."""
        return self._keeper.pid

    def close(self) -> None:
        """Kill everything that was started on the host, and the keeper."""
        self.network.close()
        self._dismiss()

    def start(self, argv: Sequence[str], log: Path) -> Process:
        """Start a daemon that ends with the host at the latest; its output is appended to `log`."""
        assert self._keeper.stdin
        order = json.dumps({"argv": list(argv), "log": str(log)})
        self._keeper.stdin.write(order.encode() + b"\n")
        self._keeper.stdin.flush()
        return Process(self._hear("pid"))

    def run(
        self, argv: Sequence[str], *, uid: int = 0, gid: int = 0, check: bool = False, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to completion in the host's namespaces, optionally as another user; see `command`."""
        options = {"capture_output": True, "text": True, "timeout": DEADLINE} | options
        return subprocess.run(self.command(argv, uid=uid, gid=gid), check=check, **options)

    def command(self, argv: Sequence[str], *, uid: int = 0, gid: int = 0) -> list[str]:
        """`argv` wrapped so that it runs on the host, for `run` and other ways to start it."""
        enter = ["nsenter", f"--target={self.pid}", "--net", "--mount", f"--wd={Path.cwd()}", "--"]
        user = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--"] if uid or gid else []
        return [*enter, *user, *argv]

    def path(self, path: str) -> Path:
        """The path, from outside, of a file of the host, such as one in its private /run."""
        return Path(f"/proc/{self.pid}/root") / path.lstrip("/")

    @contextlib.contextmanager
    def namespace(self) -> Iterator[None]:
        """Within the block the calling thread is in the host's network; see the module `namespace`."""
        with self.network.visit():
            yield

    def force_filesystem_sockets(self) -> None:
        """Let libqb on this host use paths instead of abstract addresses.

        The paths are in /run or, as Debian builds libqb, in /tmp. So the host also gets a private /tmp, which
        contains only the host's own directory.
        """
        flag = "/run/etc/libqb/force-filesystem-sockets"
        own = shlex.quote(str(self.directory))
        commands = [
            "cp -a /etc /run/etc",
            f"install -D /dev/null {flag}",
            "mount --bind /run/etc /etc",
            f"mkdir /run/own && mount --bind {own} /run/own",
            "mount -t tmpfs tmpfs /tmp",
            f"mkdir -p {own} && mount --bind /run/own {own}",
        ]
        if not self.path(flag).exists():
            self.run(["sh", "-c", " && ".join(commands)], check=True)

    def connect(self, service: str, timeout: float | None = None) -> socket.socket:
        """A stream socket connected to the abstract address of a libqb service on the host."""
        return self.connect_address(abstract_address(service), timeout)

    def connect_address(self, address: bytes | str, timeout: float | None = None) -> socket.socket:
        """A stream socket created on the host and connected to an address of any kind."""
        with self.namespace():
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(address)
        except BaseException:
            connection.close()
            raise
        return connection

    def _hear(self, key: str) -> int:
        assert self._keeper.stdout
        line = self._keeper.stdout.readline()
        if not line:
            raise RuntimeError(f"the host's keeper has died: {self._complaints.read_text().strip()}")
        return int(json.loads(line)[key])

    def _dismiss(self) -> None:
        """Let the keeper clean up and exit."""
        try:
            # This closes standard input, which tells the keeper to exit.
            self._keeper.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.communicate()
            raise


def abstract_address(name: str) -> bytes:
    """libqb's address for a name: abstract, and padded to full length, where the padding counts."""
    return b"\0" + name.encode().ljust(_SUN_PATH - 1, b"\0")
