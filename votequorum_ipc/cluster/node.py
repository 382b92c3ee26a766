"""One corosync process: its two services, its clients, its start and end, and its part in membership changes.

A `NodeModel` is driven by its `Cluster`, one input at a time, and leaves what comes of it in `effects`. A
membership change goes through the steps of corosync's sync engine, each step on all nodes before the next:

    sync_init           both services learn the members; the lost ones are marked dead
    activate_quorum     the quorum service reports the new node list
    sync_process        votequorum sends what it knows of itself; its trackers get the node list
    (barrier)           the nodes' messages are delivered; a live quorum device holds all nodes here
                        until it polls with the new ring id, or its sync timeout passes
    activate_votequorum quorum is worked out and reported, changed or not

Source: exec/sync.c, and the sync callbacks in exec/votequorum.c, of corosync 3.1.7.
"""

from __future__ import annotations

from ..types import QDEVICE_NODEID, NodeState, QuorumType, RingId
from . import answers, multicasts
from .config import ClusterConfig, effective_rules, reloaded_rules
from .database import ClusterNode, NodeDatabase
from .effects import Clock, Effects, RuntimeValue, Timer
from .messages import (
    Conn,
    Multicast,
    NodeFlags,
    QdeviceRegMessage,
    ReconfigureMessage,
    ReconfigureParam,
    Request,
    ServiceKind,
)
from .multicasts import send_nodeinfo
from .state import Disk, VotequorumState
from .votes import recalculate_quorum
from .vsf_quorum import VsfQuorum


class NodeModel:
    """One node that is up. Reads are free; only the `Cluster` writes."""

    def __init__(self, nodeid: int, config: ClusterConfig, disk: Disk, clock: Clock) -> None:
        self.nodeid = nodeid
        self.conns: dict[Conn, None] = {}
        self.effects = Effects(clock)
        self._decides = bool(config.provider)
        """Whether there is a votequorum; else the quorum service is alone, and always quorate."""
        kind = QuorumType.SET if self._decides else QuorumType.FREE
        self.quorum = VsfQuorum(self.effects, quorate=not self._decides, quorum_type=kind)
        self._postponed: list[tuple[Conn, Request]] = []
        rules = effective_rules(config)
        us = ClusterNode(nodeid, NodeState.MEMBER, config.node(nodeid).votes, flags=NodeFlags.FIRST)
        us.expected_votes = rules.initial_expected_votes(disk.tracked_expected_votes)
        self.votequorum = VotequorumState(
            rules=rules,
            db=NodeDatabase(us),
            effects=self.effects,
            disk=disk,
            set_quorum=self.quorum.set_quorum,
            last_man_standing=rules.last_man_standing,
        )
        self.votequorum.db.change(self.votequorum.db.qdevice, votes=rules.device_votes or 0)
        if self._decides:
            self._start()

    @property
    def quorate(self) -> bool:
        """What the quorum service says."""
        return self.quorum.quorate

    @property
    def members(self) -> tuple[int, ...]:
        """The nodes of the last membership, sorted."""
        return self.votequorum.members

    @property
    def ring_id(self) -> RingId:
        """The last membership's ring id."""
        return self.votequorum.ring_id

    @property
    def runtime(self) -> dict[str, RuntimeValue]:
        """cmap's `runtime.votequorum.` keys, as votequorum has set them so far."""
        return dict(self.effects.runtime)

    @property
    def waits_for_device(self) -> bool:
        """Whether a quorum device of this node holds the membership change back."""
        return self.votequorum.waiting_for_poll and self.votequorum.has_flags(NodeFlags.QDEVICE_REGISTERED)

    def _start(self) -> None:
        vq, publish = self.votequorum, self.effects
        publish.publish32("this_node_id", self.nodeid)
        if vq.rules.has_device:
            publish.publish8("qdevice_can_operate", 1)
        if vq.rules.tie_breaker_was_set:
            publish.publish32("atb_type", vq.rules.tie_breaker)
        if vq.rules.expected_votes_tracking:
            vq.track_expected_votes(vq.disk.tracked_expected_votes)
        vq.set_ev_barrier(vq.db.us.expected_votes)
        publish.publish8("two_node", vq.rules.two_node)
        if vq.rules.wait_for_all:
            vq.set_wait_for_all_status(True)
        recalculate_quorum(vq)
        send_nodeinfo(vq, self.nodeid)

    def deliver(self, message: Multicast, sender: int) -> None:
        """A multicast of the partition arrives."""
        multicasts.deliver(self.votequorum, message, sender)

    def request(self, conn: Conn, message: Request) -> None:
        """A client asks. While the cluster synchronises only votequorum answers; quorum's clients wait."""
        if conn.service is ServiceKind.VOTEQUORUM:
            answers.answer(self.votequorum, conn, message)
        elif self.votequorum.sync_in_progress:
            self._postponed.append((conn, message))
        else:
            self.quorum.request(conn, message)

    def disconnect(self, conn: Conn) -> None:
        """A client is gone. A device that it registered stays, and goes silent."""
        del self.conns[conn]
        self._postponed = [(waiting, message) for waiting, message in self._postponed if waiting != conn]
        self.quorum.disconnect(conn)
        self.votequorum.trackers.remove(conn)

    def announce_leaving(self) -> None:
        """A clean shutdown, which the others hear of with allow_downscale only."""
        if self._decides and self.votequorum.rules.allow_downscale:
            self.votequorum.set_flags(NodeFlags.LEAVING)
            send_nodeinfo(self.votequorum, self.nodeid)

    def reload(self, config: ClusterConfig) -> None:
        """The configuration has been read again (`votequorum_refresh_config`). See `reloaded_rules`."""
        if not self._decides:
            return
        vq, us = self.votequorum, self.votequorum.db.us
        registered = vq.has_flags(NodeFlags.QDEVICE_REGISTERED)
        rules = vq.rules = reloaded_rules(vq.rules, config, device_is_registered=registered)
        before = us.votes, us.expected_votes
        expected_votes = rules.initial_expected_votes(vq.disk.tracked_expected_votes)
        vq.db.change(us, votes=config.node(self.nodeid).votes, expected_votes=expected_votes)
        if rules.device_votes is not None:
            vq.db.change(vq.db.qdevice, votes=rules.device_votes)
        self._publish_rules()
        vq.set_ev_barrier(us.expected_votes)
        if rules.wait_for_all_follows_two_node and not rules.wait_for_all and vq.wait_for_all_status:
            vq.set_wait_for_all_status(False)
        send_nodeinfo(vq, self.nodeid)
        send_nodeinfo(vq, QDEVICE_NODEID)
        params = ReconfigureParam.NODE_VOTES, ReconfigureParam.EXPECTED_VOTES
        for param, old, new in zip(params, before, (us.votes, us.expected_votes), strict=True):
            if new != old:
                self.effects.multicast(ReconfigureMessage(param, self.nodeid, new))

    def _publish_rules(self) -> None:
        rules = self.votequorum.rules
        if rules.has_device or not rules.device_can_operate:
            self.effects.publish8("qdevice_can_operate", rules.device_can_operate)
        self.effects.publish8("two_node", rules.two_node)
        self.effects.publish32("atb_type", rules.tie_breaker)

    def cancel_wait_for_all(self) -> None:
        """The operator has set cmap's `quorum.cancel_wait_for_all`."""
        if self._decides:
            self.effects.multicast(ReconfigureMessage(ReconfigureParam.CANCEL_WAIT_FOR_ALL, self.nodeid, 0))

    def sync_init(self, came_along: frozenset[int], members: tuple[int, ...], ring_id: RingId) -> None:
        """A new ring has formed. `came_along` are the nodes that share the previous ring with this one."""
        self.quorum.sync_init(came_along, members, ring_id)
        vq = self.votequorum
        vq.sync_in_progress = True
        if not self._decides:
            vq.previous_members, vq.members, vq.ring_id = vq.members, members, ring_id
            return
        vq.waiting_for_poll = False
        if len(members) > 1:
            vq.set_flags(NodeFlags.FIRST, on=False)
        left = set(vq.members).difference(members)
        for nodeid in left:
            node = vq.db.find(nodeid)
            if node is not None:
                vq.db.change(node, state=NodeState.DEAD)
        self._arm_last_man_standing(len(members), bool(left))
        vq.previous_members, vq.members, vq.ring_id = vq.members, members, ring_id
        if vq.has_flags(NodeFlags.QDEVICE_REGISTERED | NodeFlags.QDEVICE_ALIVE):
            self.effects.arm(Timer.QDEVICE, vq.rules.device_sync_timeout)
            vq.waiting_for_poll = True

    def _arm_last_man_standing(self, present: int, some_left: bool) -> None:
        vq = self.votequorum
        lowest_is_here = vq.has_tie_breaker and vq.db.has_member(vq.lowest_node_id)
        shrank = present >= vq.quorum and some_left
        if vq.last_man_standing and (shrank or (present <= vq.quorum and lowest_is_here)):
            self.effects.arm(Timer.LAST_MAN_STANDING, vq.rules.last_man_standing_window)

    def activate_quorum(self) -> None:
        """All nodes have got as far as the quorum service."""
        self.quorum.sync_activate()

    def sync_process(self) -> None:
        """Tell the others what we know, and our trackers who is here."""
        if not self._decides:
            return
        vq = self.votequorum
        send_nodeinfo(vq, self.nodeid)
        send_nodeinfo(vq, QDEVICE_NODEID)
        if vq.qdevice_name:
            vq.effects.multicast(QdeviceRegMessage(True, vq.qdevice_name))
        vq.notify_nodelist()

    def activate_votequorum(self) -> None:
        """All nodes have told: decide, report, and let the quorum service's clients in again."""
        vq = self.votequorum
        if self._decides:
            recalculate_quorum(vq)
            vq.notify_quorum()
        vq.sync_in_progress = False
        postponed, self._postponed = self._postponed, []
        for conn, message in postponed:
            self.quorum.request(conn, message)

    def fire(self, timer: Timer) -> None:
        """A timer has gone off."""
        self.effects.cancel(timer)
        vq = self.votequorum
        if timer is Timer.LAST_MAN_STANDING:
            if vq.quorate:
                recalculate_quorum(vq, allow_decrease=True, by_nodes=True)
            return
        vq.set_flags(NodeFlags.QDEVICE_ALIVE | NodeFlags.QDEVICE_CAST_VOTE, on=False)
        send_nodeinfo(vq, self.nodeid)
        vq.waiting_for_poll = False
