"""Drives `corosync-vqsim`, which runs corosync's own votequorum for simulated nodes.

With -n it prints a line for each decision of each node at once. Nothing says that a command is done. But the
ring sequence of every membership change is known beforehand, and a node reports it only after sending the
others what it knows: once all nodes have reported, all messages have been sent, and each node only has to
read its socket. So a command waits for the reports that it must cause, and nothing here sleeps unless a step
of the scenario is about time.

Its -c option refuses every path in corosync 3.1.7, so the configuration is a directory that is bind-mounted
over /etc/corosync in its own mount namespace; and a state directory that is empty, for expected votes
tracking. Output goes line by line with stdbuf: into a pipe it would stay in a buffer.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ..cluster.cluster import RING_SEQ_STEP
from ..cluster.config import ClusterConfig
from ..types import TieBreaker

PARTITIONS = 16
_PATIENCE = 10.0
"""Seconds without the expected line after which a run counts as stuck; a good run never waits for it."""

_REPORT = re.compile(r"(\d+):(\d+): q=(\d) ring=\[([0-9a-f]+)\.([0-9a-f]+)\] nodes=\[([0-9 ]*)\]")
_REFUSED = "votequorum exec init failed: "
_MOUNT = (
    'mount --bind "$1" /etc/corosync && mount -t tmpfs tmpfs /var/lib/corosync && '
    'cd "$1" && exec stdbuf -oL corosync-vqsim -n'
)


class Stuck(Exception):
    """vqsim did not report what it must report."""


@dataclass(frozen=True)
class NodeReport:
    """One node's decision: whether it is quorate, on which ring, and with which nodes."""

    nodeid: int
    quorate: bool
    ring_seq: int
    members: frozenset[int]


def why_unavailable() -> str:
    """Why vqsim cannot run here; empty if it can."""
    for program in ("corosync-vqsim", "unshare", "stdbuf"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    for directory in ("/etc/corosync", "/var/lib/corosync"):
        if not Path(directory).is_dir():
            return f"{directory} is not there to mount over"
    script = "mount -t tmpfs tmpfs /var/lib/corosync"
    if subprocess.run([*_unshare(), "sh", "-c", script], check=False, capture_output=True).returncode:
        return "a private mount namespace is not allowed here"
    return ""


def _unshare() -> list[str]:
    """A command in its own mount and pid namespaces: vqsim's nodes would outlive vqsim, but not the
    namespace."""
    root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *root, "--mount", "--pid", "--fork", "--kill-child"]


def corosync_conf(config: ClusterConfig) -> str:
    """The configuration for vqsim. Without addresses, vqsim starts no node by itself."""
    quorum: dict[str, object] = {
        "provider": "corosync_votequorum",
        "expected_votes": config.expected_votes,
        "two_node": int(config.two_node),
        "wait_for_all": None if config.wait_for_all is None else int(config.wait_for_all),
        "last_man_standing": int(config.last_man_standing),
        "last_man_standing_window": config.last_man_standing_window,
        "auto_tie_breaker": int(config.auto_tie_breaker is not TieBreaker.NONE),
        "auto_tie_breaker_node": _tie_breaker_node(config),
        "allow_downscale": int(config.allow_downscale),
        "expected_votes_tracking": int(config.expected_votes_tracking),
    }
    lines = ["totem {", "version: 2", "}", "logging {", "to_syslog: no", "}", "nodelist {"]
    for node in config.nodes:
        lines += ["node {", f"nodeid: {node.nodeid}", f"quorum_votes: {node.votes}", "}"]
    lines += ["}", "quorum {", *(f"{key}: {value}" for key, value in quorum.items() if value is not None)]
    if config.device is not None:
        device = {
            "model": config.device.model,
            "votes": config.device.votes,
            "timeout": config.device.timeout,
            "sync_timeout": config.device.sync_timeout,
        }
        lines += ["device {", *(f"{k}: {v}" for k, v in device.items() if v is not None), "}"]
    return "\n".join([*lines, "}", ""])


def _tie_breaker_node(config: ClusterConfig) -> str | None:
    if isinstance(config.auto_tie_breaker, tuple):
        return " ".join(map(str, config.auto_tie_breaker))
    if config.auto_tie_breaker is TieBreaker.NONE:
        return None
    return config.auto_tie_breaker.name.lower()


@dataclass
class Vqsim:
    """One simulation. `where` is each running node's partition, `last` its last report."""

    config: ClusterConfig
    where: dict[int, int] = field(default_factory=dict)
    last: dict[int, NodeReport] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    reports: list[NodeReport] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ring_seq = [0] * PARTITIONS
        self._unread = b""

    def __enter__(self) -> Vqsim:
        self._directory = tempfile.TemporaryDirectory(prefix="vqsim-")
        Path(self._directory.name, "corosync.conf").write_text(corosync_conf(self.config))
        self._process = subprocess.Popen(
            [*_unshare(), "sh", "-c", _MOUNT, "sh", self._directory.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._write("exit")
        self._stdin.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()
        self._directory.cleanup()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def up(self, nodeid: int, partition: int) -> None:
        """Start a node. It reports twice: once for its own ring, once for the partition's."""
        self.where[nodeid] = partition
        self._ring_seq[partition] += RING_SEQ_STEP
        start = len(self.reports)
        self._write(f"up {partition}:{nodeid}")
        self._wait(lambda: self._on_ring(partition, start) and self._count(nodeid, start) >= 2)

    def down(self, nodeid: int) -> None:
        """Kill a node."""
        partition = self.where.pop(nodeid)
        self.last.pop(nodeid)
        self._ring_seq[partition] += RING_SEQ_STEP
        start = len(self.reports)
        self._write(f"down {nodeid}")
        quit_line = f":{nodeid}: Quit"
        before = sum(quit_line in line for line in self.log)
        self._wait(
            lambda: sum(quit_line in line for line in self.log) > before and self._on_ring(partition, start)
        )

    def move(self, partition: int, *nodeids: int) -> None:
        """Move nodes to a partition. Every partition forms a new ring."""
        self.where.update(dict.fromkeys(nodeids, partition))
        self._new_rings(f"split {partition}:{','.join(map(str, nodeids))}")

    def join(self, target: int, source: int) -> None:
        """Move all nodes of `source` to `target`. Every partition forms a new ring."""
        self.where.update({nodeid: target for nodeid, at in self.where.items() if at == source})
        self._new_rings(f"join {target} {source}")

    def qdevice(self, nodeid: int, on: bool) -> None:
        """Start or stop a node's device. Every partition synchronises anew, on the ring that it has."""
        start = len(self.reports)
        self._write(f"qdevice {'on' if on else 'off'} {nodeid}")
        self._wait(lambda: all(self._count(other, start) for other in self.where))

    def read_for(self, seconds: float) -> None:
        """Let real time pass, which drives timers and device polls."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._read(left)

    def read_until(self, done: Callable[[], bool]) -> bool:
        """Read until a condition holds. Returns False if it never does."""
        try:
            self._wait(done, 0.06)
        except Stuck:
            return False
        return True

    def _new_rings(self, command: str) -> None:
        self._ring_seq = [seq + RING_SEQ_STEP for seq in self._ring_seq]
        start = len(self.reports)
        self._write(command)
        self._wait(lambda: all(self._on_ring(partition, start) for partition in set(self.where.values())))

    def _on_ring(self, partition: int, start: int) -> bool:
        members = frozenset(nodeid for nodeid, at in self.where.items() if at == partition)
        ring = (self._ring_seq[partition], members)
        return members <= {
            report.nodeid for report in self.reports[start:] if (report.ring_seq, report.members) == ring
        }

    def ring_seq(self, nodeid: int) -> int:
        """The sequence of a node's ring, current or expected."""
        return self._ring_seq[self.where[nodeid]]

    def _count(self, nodeid: int, start: int) -> int:
        return sum(report.nodeid == nodeid for report in self.reports[start:])

    def _write(self, line: str) -> None:
        try:
            self._stdin.write(line.encode() + b"\n")
            self._stdin.flush()
        except BrokenPipeError as error:
            raise Stuck("\n".join(["vqsim has ended", *self.log])) from error

    def _wait(self, done: Callable[[], bool], patience: float = _PATIENCE) -> None:
        end = time.monotonic() + patience
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                raise Stuck("\n".join(["vqsim does not answer", *self.log]))
            self._read(left)

    def _read(self, seconds: float) -> None:
        ready, _, _ = select.select([self._stdout], [], [], seconds)
        if not ready:
            return
        data = os.read(self._stdout.fileno(), 65536)
        if not data:
            raise Stuck("\n".join(["vqsim has ended", *self.log]))
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._take(line.decode(errors="replace"))

    def _take(self, line: str) -> None:
        self.log.append(line)
        if _REFUSED in line:
            self.refusals.append(line.split(_REFUSED)[1])
        found = _REPORT.search(line)
        if found:
            _, nodeid, quorate, _, seq, members = found.groups()
            report = NodeReport(
                int(nodeid), quorate == "1", int(seq, 16), frozenset(map(int, members.split()))
            )
            self.reports.append(report)
            if report.nodeid in self.where:
                self.last[report.nodeid] = report
