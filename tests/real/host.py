"""A host as the tests see it: a network and a mount namespace, what runs in them, and sockets opened from
there.

Behind it stands a keeper process (see `keeper`) in a session of its own, so that a signal for the test run's
group does not reach it: it ends by its standard input's end, whichever way the test run ends.
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
    """A process that a keeper has started. It is the keeper's child, so all is done through a pidfd."""

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
        """Send a signal; a process that is dead already is no error."""
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
    """A network namespace with nothing but loopback, and a mount namespace with a private /run."""

    def __init__(self, directory: Path) -> None:
        """Make the namespaces; the keeper's complaints go to a file in `directory`."""
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
        """The keeper: /proc/<pid>/ns and /proc/<pid>/root are the host's namespaces and files."""
        return self._keeper.pid

    def close(self) -> None:
        """End everything that was started on the host, and the host."""
        self.network.close()
        self._dismiss()

    def start(self, argv: Sequence[str], log: Path) -> Process:
        """Start a daemon that lives no longer than the host; what it prints is appended to `log`."""
        assert self._keeper.stdin
        order = json.dumps({"argv": list(argv), "log": str(log)})
        self._keeper.stdin.write(order.encode() + b"\n")
        self._keeper.stdin.flush()
        return Process(self._hear("pid"))

    def run(
        self, argv: Sequence[str], *, uid: int = 0, gid: int = 0, check: bool = False, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in the host's namespaces, as another user if need be; see `command`."""
        options = {"capture_output": True, "text": True, "timeout": DEADLINE} | options
        return subprocess.run(self.command(argv, uid=uid, gid=gid), check=check, **options)

    def command(self, argv: Sequence[str], *, uid: int = 0, gid: int = 0) -> list[str]:
        """`argv` so wrapped that it runs on the host, for `run` and for any other way to start it."""
        enter = ["nsenter", f"--target={self.pid}", "--net", "--mount", f"--wd={Path.cwd()}", "--"]
        user = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--"] if uid or gid else []
        return [*enter, *user, *argv]

    def path(self, path: str) -> Path:
        """How to reach a file of the host, such as one in its private /run, from outside."""
        return Path(f"/proc/{self.pid}/root") / path.lstrip("/")

    @contextlib.contextmanager
    def namespace(self) -> Iterator[None]:
        """Within the block the calling thread is in the host's network; see the module `namespace`."""
        with self.network.visit():
            yield

    def force_filesystem_sockets(self) -> None:
        """Let libqb on this host use paths instead of abstract addresses.

        The paths are in /run or, as Debian builds libqb, in /tmp; so this gives the host a /tmp of its own as
        well, in which there is only the host's own directory.
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
        """A stream socket that was made on the host and is connected to an address of any kind."""
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
        """Let the keeper clean up and end."""
        try:
            # Closes standard input, which is the order to end.
            self._keeper.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.communicate()
            raise


def abstract_address(name: str) -> bytes:
    """The address that libqb makes of a name: abstract, and padded to the end, where the padding counts."""
    return b"\0" + name.encode().ljust(_SUN_PATH - 1, b"\0")
