"""The quorum service: the model's, spoken in bytes. Source: exec/vsf_quorum.c of corosync 3.1.7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from ... import cluster
from ...types import (
    QuorumNodelistNotification,
    QuorumV0Notification,
    QuorumV1Notification,
)
from ...wire import Layout
from ...wire import quorum as wire
from ..service import Route, routes
from .base import ModelService, Notification, ask, track_flags


class QuorumService(ModelService):
    """The service of one node."""

    name = "quorum"
    kind = cluster.ServiceKind.QUORUM

    routes: ClassVar[dict[int, Route]] = routes(
        ask(wire.GETQUORATE, lambda m: cluster.GetQuorate()),
        ask(wire.TRACKSTART, lambda m: cluster.TrackStart(track_flags(m.track_flags))),
        ask(wire.TRACKSTOP, lambda m: cluster.TrackStop()),
        ask(wire.GETTYPE, lambda m: cluster.GetType()),
        ask(wire.MODEL_GETTYPE, lambda m: cluster.ModelGetType(m.model)),
    )

    def encode_response(self, response: cluster.Response) -> bytes:
        layout, value = _RESPONSES[type(response.request)]
        fields = {value: response.value} if value else {}
        return layout.encode(error=response.error, **fields)

    def encode_event(self, event: Notification) -> bytes:
        return _EVENTS[type(event)](event)


_RESPONSES: Final[dict[type, tuple[Layout, str]]] = {
    cluster.GetQuorate: (wire.GETQUORATE_RESPONSE, "quorate"),
    cluster.TrackStart: (wire.TRACKSTART_RESPONSE, ""),
    cluster.TrackStop: (wire.TRACKSTOP_RESPONSE, ""),
    cluster.GetType: (wire.GETTYPE_RESPONSE, "quorum_type"),
    cluster.ModelGetType: (wire.MODEL_GETTYPE_RESPONSE, "quorum_type"),
}
"""Each request's response, and the field for the answer's value."""


def _v0(event: QuorumV0Notification) -> bytes:
    return wire.NOTIFICATION.encode(
        quorate=int(event.quorate),
        ring_seq=event.ring_seq,
        view_list=event.members,
    )


def _v1_quorum(event: QuorumV1Notification) -> bytes:
    return wire.V1_QUORUM_NOTIFICATION.encode(
        quorate=int(event.quorate),
        ring_id=event.ring_id,
        view_list=event.members,
    )


def _v1_nodelist(event: QuorumNodelistNotification) -> bytes:
    return wire.V1_NODELIST_NOTIFICATION.encode(
        ring_id=event.ring_id,
        member_list=event.members,
        joined_list=event.joined,
        left_list=event.left,
    )


_EVENTS: Final[dict[type, Callable[[Any], bytes]]] = {
    QuorumV0Notification: _v0,
    QuorumV1Notification: _v1_quorum,
    QuorumNodelistNotification: _v1_nodelist,
}
