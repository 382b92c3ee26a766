"""The votequorum service: the model's, spoken in bytes. Source: exec/votequorum.c of corosync 3.1.7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from ... import cluster
from ...cluster.config import MAX_UINT32
from ...errors import CsErrorCode
from ...types import (
    ExpectedVotesNotification,
    InfoFlags,
    NodeInfo,
    NodelistNotification,
    NodeState,
    QuorumNotification,
)
from ...wire import votequorum as wire
from ..service import Route, routes
from .base import ModelService, Notification, ask, track_flags

_NO_INFO: Final = NodeInfo(0, NodeState(0), 0, 0, 0, 0, 0, InfoFlags(0), 0, "")


class VotequorumService(ModelService):
    """The service of one node."""

    name = "votequorum"
    kind = cluster.ServiceKind.VOTEQUORUM
    waits_for_sync = False

    routes: ClassVar[dict[int, Route]] = routes(
        ask(wire.GETINFO, lambda m: cluster.GetInfo(m.nodeid)),
        ask(wire.SETEXPECTED, lambda m: cluster.SetExpected(m.expected_votes)),
        ask(wire.SETVOTES, lambda m: cluster.SetVotes(m.nodeid, m.votes)),
        ask(wire.TRACKSTART, lambda m: cluster.TrackStart(track_flags(m.track_flags), m.context)),
        ask(wire.TRACKSTOP, lambda m: cluster.TrackStop()),
        ask(wire.QDEVICE_REGISTER, lambda m: cluster.QdeviceRegister(m.name)),
        ask(wire.QDEVICE_UNREGISTER, lambda m: cluster.QdeviceUnregister(m.name)),
        ask(wire.QDEVICE_UPDATE, lambda m: cluster.QdeviceUpdate(m.oldname, m.newname)),
        ask(wire.QDEVICE_POLL, lambda m: cluster.QdevicePoll(m.name, bool(m.cast_vote), m.ring_id)),
        ask(wire.QDEVICE_MASTER_WINS, lambda m: cluster.QdeviceMasterWins(m.name, bool(m.allow))),
    )

    def encode_response(self, response: cluster.Response) -> bytes:
        if isinstance(response.request, cluster.GetInfo):
            info = response.value if isinstance(response.value, NodeInfo) else _NO_INFO
            return _getinfo(info, response.error)
        return wire.STATUS_RESPONSE.encode(error=response.error)

    def encode_event(self, event: Notification) -> bytes:
        return _EVENTS[type(event)](event)


def _getinfo(info: NodeInfo, error: CsErrorCode) -> bytes:
    # votequorum counts in uint32 and lets it wrap; the model's numbers do not.
    return wire.GETINFO_RESPONSE.encode(
        error=error,
        nodeid=info.node_id,
        state=info.node_state,
        votes=info.node_votes,
        expected_votes=info.node_expected_votes & MAX_UINT32,
        highest_expected=info.highest_expected & MAX_UINT32,
        total_votes=info.total_votes & MAX_UINT32,
        quorum=info.quorum & MAX_UINT32,
        flags=info.flags,
        qdevice_votes=info.qdevice_votes & MAX_UINT32,
        qdevice_name=info.qdevice_name,
    )


def _quorum(event: QuorumNotification) -> bytes:
    return wire.QUORUM_NOTIFICATION.encode(
        quorate=int(event.quorate),
        context=event.context,
        node_list=event.nodes,
    )


def _expected_votes(event: ExpectedVotesNotification) -> bytes:
    return wire.EXPECTEDVOTES_NOTIFICATION.encode(
        context=event.context,
        expected_votes=event.expected_votes & MAX_UINT32,
    )


def _nodelist(event: NodelistNotification) -> bytes:
    return wire.NODELIST_NOTIFICATION.encode(
        context=event.context,
        ring_id=event.ring_id,
        node_list=event.members,
    )


_EVENTS: Final[dict[type, Callable[[Any], bytes]]] = {
    QuorumNotification: _quorum,
    ExpectedVotesNotification: _expected_votes,
    NodelistNotification: _nodelist,
}
