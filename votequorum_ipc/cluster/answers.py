"""What a node's votequorum service answers to its clients.

Each request gets one response. A response goes out before the request's multicast returns to this node, so
the events of a change follow the answer. The exception is `QdeviceRegister`, which is answered when its
multicast returns. Source: the `message_handler_req_lib_votequorum_*` functions in exec/votequorum.c of
corosync 3.1.7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..errors import CsErrorCode
from ..types import QDEVICE_MAX_NAME_LEN, InfoFlags, NodeInfo, TrackFlags
from .database import ClusterNode
from .effects import Timer
from .messages import (
    Conn,
    GetInfo,
    NodeFlags,
    QdeviceMasterWins,
    QdevicePoll,
    QdeviceReconfigureMessage,
    QdeviceRegister,
    QdeviceRegMessage,
    QdeviceUnregister,
    QdeviceUpdate,
    ReconfigureMessage,
    ReconfigureParam,
    Request,
    Response,
    SetExpected,
    SetVotes,
    TrackStart,
    TrackStop,
)
from .multicasts import send_nodeinfo
from .state import VotequorumState
from .votes import calculate_quorum, votes_present

_CLUSTER_INFO_FLAGS: Final[tuple[tuple[int, Callable[[VotequorumState], bool]], ...]] = (
    (InfoFlags.TWONODE.value, lambda vq: vq.rules.two_node),
    (InfoFlags.QUORATE.value, lambda vq: vq.quorate),
    (InfoFlags.WAIT_FOR_ALL.value, lambda vq: vq.rules.wait_for_all),
    (InfoFlags.LAST_MAN_STANDING.value, lambda vq: vq.last_man_standing),
    (InfoFlags.AUTO_TIE_BREAKER.value, lambda vq: vq.has_tie_breaker),
    (InfoFlags.ALLOW_DOWNSCALE.value, lambda vq: vq.rules.allow_downscale),
)
"""The flags that getinfo shows whichever node it is asked about. Numbers, as those below: enumerations as
keys of a table would take more time than all the rest of the answer."""

_NODE_INFO_FLAGS: Final = (
    (NodeFlags.QDEVICE_REGISTERED.value, InfoFlags.QDEVICE_REGISTERED.value),
    (NodeFlags.QDEVICE_ALIVE.value, InfoFlags.QDEVICE_ALIVE.value),
    (NodeFlags.QDEVICE_CAST_VOTE.value, InfoFlags.QDEVICE_CAST_VOTE.value),
    (NodeFlags.QDEVICE_MASTER_WINS.value, InfoFlags.QDEVICE_MASTER_WINS.value),
)
"""The flags of a node that getinfo shows; its other flags are this node's and the cluster's."""


def answer(vq: VotequorumState, conn: Conn, message: Request) -> None:
    """Handle one library request; what 3.1.7 does not know is INVALID_PARAM."""
    handler = _HANDLERS.get(type(message))
    error = CsErrorCode.INVALID_PARAM if handler is None else handler(vq, conn, message)
    if error is not None:
        vq.effects.send(conn, Response(message, error))


def _getinfo(vq: VotequorumState, conn: Conn, message: GetInfo) -> CsErrorCode | None:
    node = vq.db.find(message.nodeid) if message.nodeid else vq.db.us
    if node is None:
        return CsErrorCode.NOT_EXIST
    vq.effects.send(conn, Response(message, value=_node_info(vq, node)))
    return None


def _node_info(vq: VotequorumState, node: ClusterNode) -> NodeInfo:
    casts = NodeFlags.QDEVICE_CAST_VOTE in node.flags
    return NodeInfo(
        node_id=node.nodeid,
        node_state=node.state,
        node_votes=node.votes,
        node_expected_votes=node.expected_votes,
        highest_expected=vq.db.highest_expected(),
        total_votes=vq.db.member_votes() + (vq.db.qdevice.votes if casts else 0),
        quorum=vq.quorum,
        flags=_info_flags(vq, node),
        qdevice_votes=vq.db.qdevice.votes,
        qdevice_name=vq.qdevice_name,
    )


def _info_flags(vq: VotequorumState, node: ClusterNode) -> InfoFlags:
    flags = node.flags.value
    value = sum(shown for shown, is_set in _CLUSTER_INFO_FLAGS if is_set(vq))
    value += sum(shown for flag, shown in _NODE_INFO_FLAGS if flags & flag)
    return InfoFlags(value)


def _setexpected(vq: VotequorumState, _conn: Conn, message: SetExpected) -> CsErrorCode:
    wanted, total_votes = message.expected_votes, votes_present(vq)
    quorum = calculate_quorum(vq, allow_decrease=True, expected_votes=wanted, downscale=False)
    if wanted < total_votes or (vq.quorate and quorum > total_votes):
        return CsErrorCode.INVALID_PARAM
    vq.db.set_expected_votes(wanted)
    vq.effects.multicast(ReconfigureMessage(ReconfigureParam.EXPECTED_VOTES, vq.db.us.nodeid, wanted))
    return CsErrorCode.OK


def _setvotes(vq: VotequorumState, _conn: Conn, message: SetVotes) -> CsErrorCode:
    node = vq.db.find(message.nodeid)
    if node is None:
        return CsErrorCode.NAME_NOT_FOUND
    saved = node.votes
    vq.db.change(node, votes=message.votes)
    total_votes = votes_present(vq)
    if not total_votes // 2 <= calculate_quorum(vq, allow_decrease=True) <= total_votes:
        vq.db.change(node, votes=saved)
        return CsErrorCode.INVALID_PARAM
    vq.effects.multicast(ReconfigureMessage(ReconfigureParam.NODE_VOTES, message.nodeid, message.votes))
    return CsErrorCode.OK


def _trackstart(vq: VotequorumState, conn: Conn, message: TrackStart) -> CsErrorCode:
    if message.flags & (TrackFlags.CURRENT | TrackFlags.CHANGES):
        vq.effects.send(conn, vq.nodelist_event(message.context))
        vq.effects.send(conn, vq.quorum_event(message.context))
    if conn in vq.trackers:
        return CsErrorCode.EXIST
    if message.flags & (TrackFlags.CHANGES | TrackFlags.CHANGES_ONLY):
        vq.trackers.add(conn, message.context)
    return CsErrorCode.OK


def _trackstop(vq: VotequorumState, conn: Conn, _message: TrackStop) -> CsErrorCode:
    return CsErrorCode.OK if vq.trackers.remove(conn) else CsErrorCode.NOT_EXIST


def _register(vq: VotequorumState, conn: Conn, message: QdeviceRegister) -> CsErrorCode | None:
    if not _fits(message.name):
        return CsErrorCode.INVALID_PARAM
    if not vq.rules.device_can_operate:
        return CsErrorCode.ACCESS
    if vq.has_flags(NodeFlags.QDEVICE_REGISTERED):
        return CsErrorCode.OK if message.name == vq.qdevice_name else CsErrorCode.EXIST
    if vq.registering is not None:
        return CsErrorCode.TRY_AGAIN
    vq.registering = (conn, message)
    vq.effects.multicast(QdeviceRegMessage(True, message.name))
    return None


def _unregister(vq: VotequorumState, _conn: Conn, message: QdeviceUnregister) -> CsErrorCode:
    error = _check_name(vq, message.name)
    if error is CsErrorCode.OK:
        if vq.effects.cancel(Timer.QDEVICE):
            vq.waiting_for_poll = False
        vq.set_flags(
            NodeFlags.QDEVICE_REGISTERED
            | NodeFlags.QDEVICE_ALIVE
            | NodeFlags.QDEVICE_CAST_VOTE
            | NodeFlags.QDEVICE_MASTER_WINS,
            on=False,
        )
        send_nodeinfo(vq, vq.db.us.nodeid)
        vq.effects.multicast(QdeviceRegMessage(False, message.name))
    return error


def _update(vq: VotequorumState, _conn: Conn, message: QdeviceUpdate) -> CsErrorCode:
    error = _check_name(vq, message.oldname)
    if error is CsErrorCode.OK and not _fits(message.newname):
        return CsErrorCode.INVALID_PARAM
    if error is CsErrorCode.OK:
        vq.effects.multicast(QdeviceReconfigureMessage(message.oldname, message.newname))
    return error


def _poll(vq: VotequorumState, _conn: Conn, message: QdevicePoll) -> CsErrorCode:
    if not vq.rules.device_can_operate:
        return CsErrorCode.ACCESS
    if vq.has_flags(NodeFlags.QDEVICE_REGISTERED) and message.ring_id != vq.ring_id:
        return CsErrorCode.MESSAGE_ERROR
    error = _check_name(vq, message.name)
    if error is CsErrorCode.OK:
        before = vq.db.us.flags
        vq.set_flags(NodeFlags.QDEVICE_ALIVE)
        vq.set_flags(NodeFlags.QDEVICE_CAST_VOTE, message.cast_vote)
        if vq.db.us.flags != before:
            send_nodeinfo(vq, vq.db.us.nodeid)
        vq.effects.arm(Timer.QDEVICE, vq.rules.device_timeout)
        vq.waiting_for_poll = False
    return error


def _master_wins(vq: VotequorumState, _conn: Conn, message: QdeviceMasterWins) -> CsErrorCode:
    if not vq.rules.device_can_operate:
        return CsErrorCode.ACCESS
    error = _check_name(vq, message.name)
    if error is CsErrorCode.OK:
        before = vq.db.us.flags
        vq.set_flags(NodeFlags.QDEVICE_MASTER_WINS, message.allow)
        if vq.db.us.flags != before:
            send_nodeinfo(vq, vq.db.us.nodeid)
        vq.set_master_wins(message.allow)
    return error


def _check_name(vq: VotequorumState, name: str) -> CsErrorCode:
    """Calls about a device need one registered on this node, and its name."""
    if not vq.has_flags(NodeFlags.QDEVICE_REGISTERED):
        return CsErrorCode.NOT_EXIST
    return CsErrorCode.OK if name == vq.qdevice_name else CsErrorCode.INVALID_PARAM


def _fits(name: str) -> bool:
    return len(name.encode("utf-8", "surrogateescape")) < QDEVICE_MAX_NAME_LEN


_HANDLERS: dict[type, Callable[..., CsErrorCode | None]] = {
    GetInfo: _getinfo,
    SetExpected: _setexpected,
    SetVotes: _setvotes,
    TrackStart: _trackstart,
    TrackStop: _trackstop,
    QdeviceRegister: _register,
    QdeviceUnregister: _unregister,
    QdeviceUpdate: _update,
    QdevicePoll: _poll,
    QdeviceMasterWins: _master_wins,
}
