"""The arithmetic: how many votes make a quorum, and whether this node's partition has them.

    quorum  = half of the votes, rounded down, plus one; of the expected ones or of those present,
              whichever are more; 1 with two_node while at most two are present
    quorate = the votes present reach the quorum,
              or this is the half that the tie breaker favours,
              or the partition that a master-wins device votes for;
              but never before all nodes were here at once, with wait_for_all

A quorum does not fall by itself (`allow_decrease`): otherwise the remains of a cluster would become quorate.
Every event that may change votes ends in `recalculate_quorum`. Source: votequorum(5), and
`recalculate_quorum` in exec/votequorum.c of corosync 3.1.7.
"""

from __future__ import annotations

from ..types import TieBreaker
from .messages import NodeFlags
from .state import VotequorumState


def recalculate_quorum(vq: VotequorumState, *, allow_decrease: bool = False, by_nodes: bool = False) -> None:
    """Recompute quorum and quorate, and notify the trackers of a change.

    `by_nodes` makes the number of nodes present, the device included, the new expected votes.
    """
    us, device_votes = vq.db.us, vq.db.qdevice.votes
    total_votes = vq.db.member_votes() + device_votes
    if total_votes > us.expected_votes:
        vq.db.change(us, expected_votes=total_votes)
        vq.notify_expected_votes()
    if vq.rules.expected_votes_tracking and us.expected_votes > vq.disk.tracked_expected_votes:
        vq.track_expected_votes(us.expected_votes)
    expected = vq.db.member_count() + (device_votes > 0) if by_nodes else 0
    vq.quorum = calculate_quorum(vq, allow_decrease=allow_decrease, expected_votes=expected)
    vq.db.set_expected_votes(expected)
    _decide(vq, votes_present(vq))


def votes_present(vq: VotequorumState) -> int:
    """The members' votes, and the device's while it casts them for this node."""
    casts = vq.has_flags(NodeFlags.QDEVICE_CAST_VOTE)
    return vq.db.member_votes() + (vq.db.qdevice.votes if casts else 0)


def calculate_quorum(
    vq: VotequorumState, *, allow_decrease: bool, expected_votes: int = 0, downscale: bool = True
) -> int:
    """The votes that a quorum needs. `expected_votes` 0 means the most that a member expects.

    `downscale` False leaves the barrier of allow_downscale out, for an operator's own value.
    """
    if vq.rules.allow_downscale and downscale and allow_decrease and expected_votes:
        expected_votes = max(vq.ev_barrier, expected_votes)
    expected = expected_votes or vq.db.highest_expected()
    quorum = max((expected + 2) // 2, (votes_present(vq) + 2) // 2)
    if not allow_decrease:
        quorum = max(vq.quorum, quorum)
    present = vq.db.member_count() + vq.has_flags(NodeFlags.QDEVICE_CAST_VOTE)
    if vq.rules.two_node and present <= 2:
        return 1
    return quorum


def _decide(vq: VotequorumState, total_votes: int) -> None:
    if vq.rules.wait_for_all and vq.wait_for_all_status:
        if total_votes != vq.db.us.expected_votes:
            return
        vq.set_wait_for_all_status(False)
    quorate = total_votes >= vq.quorum
    if quorate:
        vq.note_tie_breakers()
    quorate = quorate or _wins_tie(vq, total_votes) or _follows_master(vq)
    changed = quorate != vq.quorate
    vq.quorate = quorate
    vq.set_flags(NodeFlags.QUORATE, quorate)
    if vq.rules.wait_for_all:
        vq.set_wait_for_all_status(not quorate)
    if changed and not vq.sync_in_progress:
        vq.notify_quorum()


def _wins_tie(vq: VotequorumState, total_votes: int) -> bool:
    return (
        vq.has_tie_breaker
        and total_votes == vq.db.us.expected_votes // 2
        # otherwise the nodes that went away may be quorate among themselves
        and len(vq.previous_members) - len(vq.members) < vq.quorum
        and has_tie_breaker_node(vq)
    )


def has_tie_breaker_node(vq: VotequorumState) -> bool:
    """Whether the node that breaks ties is on our side."""
    if vq.rules.tie_breaker is TieBreaker.LOWEST:
        return vq.db.has_member(vq.lowest_node_id)
    if vq.rules.tie_breaker is TieBreaker.HIGHEST:
        return vq.db.has_member(vq.highest_node_id)
    nodes = vq.rules.tie_breaker_nodes
    for at, nodeid in enumerate(nodes):
        if nodeid in vq.members:
            # a node listed before it that was here until now may be alive in the other half
            return not any(earlier in vq.previous_members for earlier in nodes[:at])
    return False


def _follows_master(vq: VotequorumState) -> bool:
    master = NodeFlags.QDEVICE_MASTER_WINS | NodeFlags.QDEVICE_CAST_VOTE
    return vq.qdevice_master_wins and any(master in node.flags for node in vq.db.members())
