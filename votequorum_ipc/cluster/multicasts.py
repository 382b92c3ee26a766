"""What a node does with each multicast of its partition, its own included.

Every node of a partition gets the same messages in the same order, so their databases agree once everything
is delivered. A node acts on its own messages only when they return to it. Source: the
`message_handler_req_exec_votequorum_*` functions in exec/votequorum.c of corosync 3.1.7.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import CsErrorCode
from ..types import QDEVICE_NODEID, NodeState
from .database import ClusterNode
from .effects import Timer
from .messages import (
    Multicast,
    NodeFlags,
    NodeInfoMessage,
    QdeviceReconfigureMessage,
    QdeviceRegMessage,
    ReconfigureMessage,
    ReconfigureParam,
    Response,
)
from .state import VotequorumState
from .votes import recalculate_quorum


def send_nodeinfo(vq: VotequorumState, nodeid: int) -> None:
    """Tell the partition what we know about ourselves, or about our device (id 0)."""
    node = vq.db.qdevice if nodeid == QDEVICE_NODEID else vq.db.us
    vq.effects.multicast(NodeInfoMessage(node.nodeid, node.votes, node.expected_votes, node.flags))


def deliver(vq: VotequorumState, message: Multicast, sender: int) -> None:
    """Take in one multicast."""
    _HANDLERS[type(message)](vq, message, sender)


def _nodeinfo(vq: VotequorumState, message: NodeInfoMessage, sender: int) -> None:
    if message.nodeid == QDEVICE_NODEID:
        _device_votes(vq, message, sender)
        return
    node = vq.db.find(message.nodeid)
    before = None if node is None else (node.votes, node.expected_votes, node.flags, node.state)
    if node is None:
        node = vq.db.add(message.nodeid)
    node.flags = message.flags
    leaving = NodeFlags.LEAVING in message.flags
    vq.db.change(node, state=NodeState.LEAVING if leaving else NodeState.MEMBER, votes=message.votes)
    learned = _learn_expected_votes(vq, node, message)
    _disable_last_man_standing_if_uneven(vq, node)
    after = (node.votes, node.expected_votes, node.flags, node.state)
    if before != after or node is vq.db.us or NodeFlags.FIRST in node.flags:
        recalculate_quorum(vq, allow_decrease=leaving or learned, by_nodes=leaving)
    # the recalculation may have changed our own flags, so read them again
    if vq.rules.wait_for_all and NodeFlags.QUORATE in node.flags and NodeFlags.WFASTATUS not in node.flags:
        vq.set_wait_for_all_status(False)


def _device_votes(vq: VotequorumState, message: NodeInfoMessage, sender: int) -> None:
    """Device votes only grow, except that a quorate node knows better than one that is not."""
    origin = vq.db.find(sender)
    if origin is None:
        return
    device, before = vq.db.qdevice, vq.db.qdevice.votes
    authority = not vq.quorate and NodeFlags.QUORATE in origin.flags
    vq.db.change(device, votes=message.votes if authority else max(before, message.votes))
    if device.votes != before:
        recalculate_quorum(vq)


def _learn_expected_votes(vq: VotequorumState, node: ClusterNode, message: NodeInfoMessage) -> bool:
    """A quorate node's expected votes count; whether they replaced our own."""
    sender_is_quorate = NodeFlags.QUORATE in message.flags
    learned = sender_is_quorate and not vq.quorate
    if learned:
        vq.db.change(vq.db.us, expected_votes=message.expected_votes)
    trusted = sender_is_quorate or vq.rules.expected_votes_tracking
    vq.db.change(node, expected_votes=message.expected_votes if trusted else vq.db.us.expected_votes)
    return learned


def _disable_last_man_standing_if_uneven(vq: VotequorumState, node: ClusterNode) -> None:
    if node.votes > 1:
        vq.last_man_standing = False
        vq.effects.cancel(Timer.LAST_MAN_STANDING)


def _reconfigure(vq: VotequorumState, message: ReconfigureMessage, _sender: int) -> None:
    _RECONFIGURE[message.param](vq, message)


def _reconfigure_expected_votes(vq: VotequorumState, message: ReconfigureMessage) -> None:
    vq.db.set_expected_votes(message.value)
    vq.notify_expected_votes()
    vq.set_ev_barrier(message.value)
    us = vq.db.us
    if vq.rules.expected_votes_tracking:
        vq.db.change(us, expected_votes=max(us.expected_votes, vq.disk.tracked_expected_votes))
    recalculate_quorum(vq, allow_decrease=True)


def _reconfigure_node_votes(vq: VotequorumState, message: ReconfigureMessage) -> None:
    node = vq.db.find(message.nodeid)
    if node is not None:
        vq.db.change(node, votes=message.value)
        recalculate_quorum(vq, allow_decrease=True)


def _cancel_wait_for_all(vq: VotequorumState, _message: ReconfigureMessage) -> None:
    vq.set_wait_for_all_status(False)
    recalculate_quorum(vq)


_RECONFIGURE: dict[ReconfigureParam, Callable[[VotequorumState, ReconfigureMessage], None]] = {
    ReconfigureParam.EXPECTED_VOTES: _reconfigure_expected_votes,
    ReconfigureParam.NODE_VOTES: _reconfigure_node_votes,
    ReconfigureParam.CANCEL_WAIT_FOR_ALL: _cancel_wait_for_all,
}


def _qdevice_reg(vq: VotequorumState, message: QdeviceRegMessage, sender: int) -> None:
    if not message.register:
        if not any(NodeFlags.QDEVICE_REGISTERED in node.flags for node in vq.db.members()):
            vq.qdevice_name = ""
    elif sender != vq.db.us.nodeid:
        vq.qdevice_name = vq.qdevice_name or message.name
    elif not vq.has_flags(NodeFlags.QDEVICE_REGISTERED):
        _register_our_device(vq, message.name)


def _register_our_device(vq: VotequorumState, name: str) -> None:
    """Our own registration came round, or the name that every node repeats at a membership change."""
    conn, pending = vq.registering or (None, None)
    if conn is None or pending is None:
        return
    vq.qdevice_name = vq.qdevice_name or name
    error = CsErrorCode.OK
    if name == vq.qdevice_name:
        vq.set_flags(NodeFlags.QDEVICE_REGISTERED)
        send_nodeinfo(vq, QDEVICE_NODEID)
        send_nodeinfo(vq, vq.db.us.nodeid)
    else:
        error = CsErrorCode.EXIST
    vq.effects.send(conn, Response(pending, error))
    vq.registering = None


def _qdevice_reconfigure(vq: VotequorumState, message: QdeviceReconfigureMessage, _sender: int) -> None:
    if message.oldname == vq.qdevice_name:
        vq.qdevice_name = message.newname


_HANDLERS: dict[type, Callable[..., None]] = {
    NodeInfoMessage: _nodeinfo,
    ReconfigureMessage: _reconfigure,
    QdeviceRegMessage: _qdevice_reg,
    QdeviceReconfigureMessage: _qdevice_reconfigure,
}
