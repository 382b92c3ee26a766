"""The comparison that most tests of `status` make."""

from __future__ import annotations

from typing import Any

from tests.real.daemon import Daemon
from tests.real.waiting import eventually

from . import quorumtool
from .command import status, votequorum_ipc


def assert_agrees(daemon: Daemon) -> None:
    """Both `status` and `status --json` show the figures of corosync-quorumtool.

    corosync-quorumtool runs before and after, and must say the same: on a busy machine a node may miss its
    turn, and the cluster may form a new membership between the queries.
    """
    ours, theirs, figures, shape = eventually(
        lambda: _while_nothing_changes(daemon), otherwise="the cluster does not change during the comparison"
    )
    assert quorumtool.words(ours.stdout) == quorumtool.words(theirs)
    assert ours.returncode == (0 if ["Quorate:", "Yes"] in quorumtool.words(theirs) else 2)
    assert quorumtool.comparable(shape) == figures


def _while_nothing_changes(daemon: Daemon) -> Any:
    """The outputs to compare; None if something changed meanwhile."""
    before = quorumtool.figures(daemon)
    ours, theirs, shape = votequorum_ipc(daemon, "status"), quorumtool.shown(daemon), status(daemon)
    return (ours, theirs, before, shape) if quorumtool.figures(daemon) == before else None
