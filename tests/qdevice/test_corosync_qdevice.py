"""corosync's own quorum device, and ours in its place: corosync-quorumtool shows the same for both."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import StartDaemon
from tests.qdevice.support import need
from tests.real.config import Config, Device, Node
from tests.real.daemon import Daemon
from tests.real.host import ROOT, Process
from tests.real.waiting import eventually

QNETD = {"host": "127.0.0.1", "tls": "off", "algorithm": "ffsplit"}

OURS = [sys.executable, "-m", "votequorum_ipc", "qdevice", "run", "--name", "Qdevice", "--interval", "0.2"]


@pytest.fixture
def node(start_daemon: StartDaemon) -> Iterator[Daemon]:
    """One of two nodes, the other of which never starts, with corosync's arbitrator on the same host."""
    need("corosync-qdevice", "corosync-qdevice")
    need("corosync-qnetd", "corosync-qnetd")
    config = Config(
        nodes=(Node(1), Node(2, "127.0.0.2")), device=Device(votes=1, timeout=2000, options=QNETD)
    )
    daemon = start_daemon(config)
    daemon.run(["mkdir", "/run/corosync-qdevice", "/run/corosync-qnetd"], check=True)
    qnetd = daemon.host.start(["corosync-qnetd", "-f", "-s", "off"], daemon.directory / "qnetd.log")
    yield daemon
    end(qnetd)


def start(daemon: Daemon, argv: list[str]) -> Process:
    log = daemon.directory / "device.log"
    return daemon.host.start(["env", f"--chdir={ROOT}", *argv], log)


def end(process: Process) -> None:
    process.signal(signal.SIGTERM)
    process.wait()


def quorumtool(daemon: Daemon) -> str:
    """What corosync-quorumtool shows, without the time of day."""
    return re.sub("Date: .*", "", daemon.run(["corosync-quorumtool", "-s"]).stdout)


def shown(daemon: Daemon, text: str) -> str:
    def look() -> str:
        output = quorumtool(daemon)
        return output if text in output else ""

    return eventually(look, otherwise=lambda: f"{text!r} in {quorumtool(daemon)}")


def test_the_lines_are_those_of_corosyncs_own_device(node: Daemon) -> None:
    without = quorumtool(node)
    theirs = start(node, ["corosync-qdevice", "-f"])
    voting = shown(node, "A,V,NMW")
    end(theirs)
    assert shown(node, "Activity blocked") == without
    ours = start(node, [*OURS, "--exec", "true"])
    assert shown(node, "A,V,NMW") == voting
    assert "Qdevice" in voting
    end(ours)
    assert shown(node, "Activity blocked") == without


def test_a_failure_is_shown_as_for_corosyncs_own_device(node: Daemon) -> None:
    """A device without its arbitrator, and a device whose command fails."""
    node.run(["sh", "-c", "exec ip link set lo down"], check=True)
    theirs = start(node, ["corosync-qdevice", "-f"])
    alone = shown(node, " A,NV,NMW")
    end(theirs)
    ours = start(node, [*OURS, "--exec", "false"])
    assert shown(node, " A,NV,NMW") == alone
    assert "Qdevice (votes 1)" in alone
    end(ours)


def test_a_node_accepts_only_one_of_them(node: Daemon) -> None:
    theirs = start(node, ["corosync-qdevice", "-f"])
    shown(node, "NMW")
    other = [*OURS, "--exec", "true"]
    other[other.index("Qdevice")] = "ours"
    ours = start(node, other)
    ours.wait()
    log = (node.directory / "device.log").read_text()
    assert "a device with another name than 'ours' is registered" in log
    end(theirs)
