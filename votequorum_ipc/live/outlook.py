"""What would happen if a node failed, or the quorum device: in one sentence.

Strategy: the margin of the status decides. If it is unknown, the sentence says "unknown". The remaining votes
are given only if votes alone decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..cli.common import printable
from ..explain import node_label
from ..types import QDEVICE_NODEID, ClusterStatus, ConfiguredNode, InfoFlags, Margin

_NOT_VOTES_ALONE: Final = (
    InfoFlags.TWONODE | InfoFlags.AUTO_TIE_BREAKER | InfoFlags.LAST_MAN_STANDING | InfoFlags.WAIT_FOR_ALL
)
"""With one of these flags, votes alone do not decide."""


def outlook(status: ClusterStatus | None, node_id: int | None, nodes: Sequence[ConfiguredNode]) -> str:
    """What would happen if the node with this id failed now; 0 is the quorum device, None no node.

    `nodes` are the nodes with known names, which stay known while the status is unknown.
    """
    if node_id is None:
        return ""
    what = _what(node_id, nodes)
    margin = status.margin if status else None
    if status is None or margin is None:
        return f"If {what} failed: unknown"
    if not margin.quorate:
        return f"If {what} failed: there is no quorum to lose"
    if node_id == QDEVICE_NODEID:
        return f"If {what} failed: {_without_device(margin)}"
    if node_id not in {member.node_id for member in status.members}:
        return f"If {what} failed: nothing would change, it is already missing"
    verdict = "quorum would be LOST" if node_id in margin.alone else "quorum would stay"
    return f"If {what} failed: {verdict}{_votes_left(status, node_id)}"


def _without_device(margin: Margin) -> str:
    if margin.device is None:
        return "nothing would change, it does not vote now"
    return "quorum would stay" if margin.device else "quorum would be LOST"


def _votes_left(status: ClusterStatus, node_id: int) -> str:
    info = status.info
    lost = next((member.info for member in status.members if member.node_id == node_id), None)
    if info is None or lost is None or info.qdevice_votes or info.flags & _NOT_VOTES_ALONE:
        return ""
    return f", {info.total_votes - lost.node_votes} of {info.node_expected_votes} votes, {info.quorum} needed"


def _what(node_id: int, nodes: Sequence[ConfiguredNode]) -> str:
    if node_id == QDEVICE_NODEID:
        return "the quorum device"
    names = {node.node_id: node.name for node in nodes}
    return printable(node_label(node_id, names.get(node_id, "")))
