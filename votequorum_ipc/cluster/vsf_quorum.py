"""The `quorum` service of one node: whether this is the primary component, and who is in it.

It decides nothing. votequorum reports its decision (`set_quorum`), and each membership change reports who
joined and who left. Model 0 of the protocol has one event for both, model 1 has one for each. Source:
exec/vsf_quorum.c of corosync 3.1.7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import CsErrorCode
from ..types import (
    QuorumEvent,
    QuorumNodelistNotification,
    QuorumType,
    QuorumV0Notification,
    QuorumV1Notification,
    RingId,
    TrackFlags,
)
from .effects import Effects, Trackers
from .messages import (
    Conn,
    GetQuorate,
    GetType,
    ModelGetType,
    Request,
    Response,
    TrackStart,
    TrackStop,
)

NO_RING = RingId(0, 0)
"""The ring id before a node's first membership."""


@dataclass(slots=True)
class VsfQuorum:
    """One node's quorum service."""

    effects: Effects
    quorate: bool = False
    quorum_type: QuorumType = QuorumType.SET
    """FREE where no provider decides: every node is quorate."""
    ring_id: RingId = NO_RING
    view: tuple[int, ...] = ()
    sync_ring_id: RingId = NO_RING
    sync_members: tuple[int, ...] = ()
    joined: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    activated_members: tuple[int, ...] = ()
    trackers: Trackers = field(default_factory=Trackers)
    models: dict[Conn, int] = field(default_factory=dict)

    def set_quorum(self, members: tuple[int, ...], quorate: bool, ring_id: RingId) -> None:
        """votequorum has decided; notify the trackers, whether or not anything has changed."""
        self.view, self.quorate, self.ring_id = members, quorate, ring_id
        self.trackers.notify(self.effects, lambda conn, _: self._quorum_event(conn))

    def sync_init(self, came_along: frozenset[int], members: tuple[int, ...], ring_id: RingId) -> None:
        """A membership change begins. `came_along` are the nodes that share the previous ring with us.

        A node that left and is back by now both left and joined.
        """
        self.sync_members, self.sync_ring_id = members, ring_id
        stayed = came_along & set(members)
        self.left = tuple(nodeid for nodeid in self.activated_members if nodeid not in stayed)
        old = set(self.activated_members) - set(self.left)
        self.joined = tuple(nodeid for nodeid in members if nodeid not in old)

    def sync_activate(self) -> None:
        """All nodes have synchronised this service: the membership is final."""
        self.activated_members = self.sync_members
        self.trackers.notify(self.effects, lambda conn, _: self._nodelist_event(conn, self.joined, self.left))

    def request(self, conn: Conn, request: Request) -> None:
        """Answer a library request; what this service does not know is INVALID_PARAM."""
        handler = _HANDLERS.get(type(request), VsfQuorum._unknown)
        handler(self, conn, request)

    def disconnect(self, conn: Conn) -> None:
        """Forget a connection."""
        self.trackers.remove(conn)
        self.models.pop(conn, None)

    def _quorum_event(self, conn: Conn) -> QuorumEvent:
        if self.models.get(conn, 0) == 0:
            return QuorumV0Notification(self.quorate, self.ring_id.seq, self.view)
        return QuorumV1Notification(self.ring_id, self.quorate, self.view)

    def _nodelist_event(
        self, conn: Conn, joined: tuple[int, ...], left: tuple[int, ...]
    ) -> QuorumNodelistNotification | None:
        if self.models.get(conn, 0) == 0:
            return None
        return QuorumNodelistNotification(self.sync_ring_id, self.sync_members, joined, left)

    def _getquorate(self, conn: Conn, request: Request) -> None:
        self.effects.send(conn, Response(request, value=self.quorate))

    def _gettype(self, conn: Conn, request: Request) -> None:
        self.effects.send(conn, Response(request, value=self.quorum_type))

    def _model_gettype(self, conn: Conn, request: ModelGetType) -> None:
        known = request.model in (0, 1)
        if known:
            self.models[conn] = request.model
        error = CsErrorCode.OK if known else CsErrorCode.INVALID_PARAM
        self.effects.send(conn, Response(request, error, self.quorum_type))

    def _trackstart(self, conn: Conn, request: TrackStart) -> None:
        if request.flags & (TrackFlags.CURRENT | TrackFlags.CHANGES):
            nodelist = self._nodelist_event(conn, (), ())
            if nodelist is not None:
                self.effects.send(conn, nodelist)
            self.effects.send(conn, self._quorum_event(conn))
        error = CsErrorCode.OK
        if conn in self.trackers:
            error = CsErrorCode.EXIST
        elif request.flags & (TrackFlags.CHANGES | TrackFlags.CHANGES_ONLY):
            self.trackers.add(conn)
        self.effects.send(conn, Response(request, error))

    def _trackstop(self, conn: Conn, request: Request) -> None:
        """OK even when not tracking: corosync 3.1.7 computes NOT_EXIST and then overwrites it."""
        self.trackers.remove(conn)
        self.effects.send(conn, Response(request))

    def _unknown(self, conn: Conn, request: Request) -> None:
        self.effects.send(conn, Response(request, CsErrorCode.INVALID_PARAM))


_HANDLERS: dict[type, Callable[..., None]] = {
    GetQuorate: VsfQuorum._getquorate,
    TrackStart: VsfQuorum._trackstart,
    TrackStop: VsfQuorum._trackstop,
    GetType: VsfQuorum._gettype,
    ModelGetType: VsfQuorum._model_gettype,
}
