"""The statement that most tests of `status` make."""

from __future__ import annotations

from typing import Any

from tests.real.daemon import Daemon
from tests.real.waiting import eventually

from . import quorumtool
from .command import status, votequorum_ipc


def assert_agrees(daemon: Daemon) -> None:
    """People and programs are shown what corosync-quorumtool shows, every figure of it.

    Asked in between, it has to say the same before and after: a node of a busy machine may miss its turn, and
    the cluster form anew amid the questions.
    """
    ours, theirs, figures, shape = eventually(
        lambda: _while_nothing_changes(daemon), otherwise="the cluster is at rest"
    )
    assert quorumtool.words(ours.stdout) == quorumtool.words(theirs)
    assert ours.returncode == (0 if ["Quorate:", "Yes"] in quorumtool.words(theirs) else 2)
    assert quorumtool.comparable(shape) == figures


def _while_nothing_changes(daemon: Daemon) -> Any:
    """What is to be compared; None where something changed meanwhile."""
    before = quorumtool.figures(daemon)
    ours, theirs, shape = votequorum_ipc(daemon, "status"), quorumtool.shown(daemon), status(daemon)
    return (ours, theirs, before, shape) if quorumtool.figures(daemon) == before else None
