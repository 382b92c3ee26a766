"""The statement that most tests of `status` make."""

from __future__ import annotations

from tests.real.daemon import Daemon

from . import quorumtool
from .command import status, votequorum_ipc


def assert_agrees(daemon: Daemon) -> None:
    """People and programs are shown what corosync-quorumtool shows, every figure of it."""
    ours, theirs = votequorum_ipc(daemon, "status"), quorumtool.shown(daemon)
    assert quorumtool.words(ours.stdout) == quorumtool.words(theirs)
    assert ours.returncode == (0 if ["Quorate:", "Yes"] in quorumtool.words(theirs) else 1)
    assert quorumtool.comparable(status(daemon)) == quorumtool.figures(daemon)
