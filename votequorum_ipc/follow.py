"""Follows one daemon: everything it reports, in order, and its current status on request.

Strategy: three connections, to quorum, votequorum and cmap. The first two announce memberships, quorum and
expected votes; the third announces changes of the node list, from which names come. Announcements wait in the
connections until the next question, when `drain` takes them. corosync announces no change of a node's votes
or of a device's state, so `read` asks for everything and compares it with what was known.

A status must describe one moment, but its answers come one after another and over two connections. So the
first question is asked again at the end, and in between `trackstart` makes votequorum repeat its membership
and quorum, marked with a number that we choose. The status counts if all of this agrees with what was
announced, and nothing was announced meanwhile. Otherwise everything is asked again.

A new membership is announced before its quorum is. In between, nodes synchronise, and corosync's answers mix
the old with the new; so nothing is asked until the quorum of the last membership has been announced.
Sources: corosync's exec/votequorum.c and exec/vsf_quorum.c.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from . import types
from .cmap import Cmap
from .errors import CsError, InvalidParam, Library, MessageError, NotExist, TryAgain
from .handle import Handle
from .ipc import Address, let_servers_end, sibling, wait_for_any
from .ipc.backend import sleep
from .ipc.handshake import nothing_listens
from .margin import margin
from .nodelist import PREFIX, Nodelist
from .quorum import Quorum
from .sockets import KNOWN_SERVICES
from .types import (
    ALL_TRACK_TYPES,
    DEVICE_FLAGS,
    ClusterStatus,
    ConfiguredNode,
    ExpectedVotesNotification,
    InfoFlags,
    KeyChange,
    Margin,
    Member,
    NodeInfo,
    NodelistNotification,
    QuorumNodelistNotification,
    QuorumNotification,
    QuorumType,
    QuorumV1Notification,
    RingId,
    TieBreaker,
    Value,
    parse_tie_breaker,
)
from .votequorum import Votequorum

if TYPE_CHECKING:
    # Imported when the first change is recorded: `cluster_status` records none.
    from .types import Change

HandleT = TypeVar("HandleT", bound=Handle[Any])

_PROVIDER: Final = "quorum.provider"
_TIE_BREAKER: Final = "runtime.votequorum.atb_type"
_TIE_BREAKER_NODE: Final = "quorum.auto_tie_breaker_node"

_ATTEMPTS: Final = 50
_ATTEMPT_DELAY: Final = 0.02
"""How often, and at what interval in seconds, to ask again for answers that did not agree."""


class Follower:
    """The connections to a daemon, and what it has reported. Made by `connect`, ended by `aclose`."""

    def __init__(self, record: Callable[[Change], None]) -> None:
        """Not public: use `connect`."""
        self._record = record
        self._connections = contextlib.AsyncExitStack()
        self._quorum: Quorum | None = None
        self._votequorum: Votequorum | None = None
        self._cmap: Cmap | None = None
        self._dropped: Cmap | None = None
        """A cmap handle whose events could not be decoded; `read` finalizes it."""
        self._missing: CsError | None = None
        self._nodelist = Nodelist()
        self._provider: str | None = None
        self._tie_breaker: TieBreaker | tuple[int, ...] | None = None
        """Which node breaks ties, as votequorum read it when it started; None if cmap does not say."""
        # What was announced.
        self._ring_id = RingId(0, 0)
        self._members: tuple[int, ...] = ()
        self._quorate = False
        self._announced = 0
        self._drains = False
        """Whether `drain` has begun and has not finished."""
        self._synchronising: set[type[Handle[Any]]] = set()
        """The services that have announced a membership but not yet its quorum."""
        self._takers: dict[type, Callable[[Any], None]] = {
            KeyChange: self._take_key,
            QuorumNodelistNotification: self._take_quorum_nodelist,
            QuorumV1Notification: self._take_quorum,
            NodelistNotification: self._take_votequorum_nodelist,
            QuorumNotification: self._take_votequorum_quorum,
            ExpectedVotesNotification: self._take_expected_votes,
        }
        self._numbers = itertools.count(1)
        self._number = 0
        """The context that marks votequorum's last answer to `trackstart`; announcements have 0."""
        self._told_nodelist: NodelistNotification | None = None
        self._told_quorum: QuorumNotification | None = None
        # What was read.
        self.disagreed = False
        """Whether the last `read` got answers that did not agree."""
        self._started = False
        """Whether there is a state to compare with, so that changes can be recorded."""
        self._expected_votes = 0
        self._own: NodeInfo | None = None
        self._infos: dict[int, NodeInfo] = {}
        """For every node ever seen: a node that comes back as it was has not changed."""
        self._margin: tuple[Any, Margin | None] = (None, None)
        """The last margin, and the members' infos from which it was computed."""

    @classmethod
    async def connect(
        cls, address: Address, server_uids: Collection[int] | None, record: Callable[[Change], None]
    ) -> Follower:
        """Connect and ask for announcements. `record` is called with each change, after the first `read`.

        Raises `Library` when nothing answers at `address`, `Access` when this user may not connect,
        `TryAgain` while the daemon starts, and whatever else `votequorum_ipc.ipc.connect` raises.
        """
        follower = cls(record)
        async with contextlib.AsyncExitStack() as connections:
            await follower._connect(_addresses(address), server_uids, connections)
            await follower._track()
            follower._connections = connections.pop_all()
        return follower

    async def _connect(
        self,
        addresses: dict[str, Address],
        server_uids: Collection[int] | None,
        connections: contextlib.AsyncExitStack,
    ) -> None:
        async def open_handle(service: str, initialize: Callable[..., Awaitable[HandleT]]) -> HandleT | None:
            """None if the daemon does not have the service."""
            if service not in addresses:
                return None
            try:
                handle = await initialize(address=addresses[service], server_uids=server_uids)
            except Library as error:
                if not nothing_listens(error):
                    raise
                self._missing = self._missing or error
                return None
            connections.push_async_exit(handle)
            return handle

        self._quorum = await open_handle("quorum", Quorum.initialize)
        if self._quorum is None or self._quorum.quorum_type is QuorumType.SET:
            self._votequorum = await open_handle("votequorum", Votequorum.initialize)
            if self._votequorum is None and self._missing is not None:
                raise self._missing
        self._cmap = await open_handle("cmap", Cmap.initialize)

    async def _track(self) -> None:
        for handle in (self._quorum, self._votequorum):
            if handle is not None:
                await handle.trackstart()
        try:
            if self._cmap is not None:
                await self._cmap.track_add(PREFIX, ALL_TRACK_TYPES)
                self._nodelist.keys = await self._cmap.items(PREFIX)
                found = await self._cmap.get_all([_PROVIDER, _TIE_BREAKER, _TIE_BREAKER_NODE])
                provider = found.get(_PROVIDER)
                self._provider = provider if isinstance(provider, str) else None
                self._tie_breaker = _tie_breaker(found)
        except CsError:
            self._drop_names()
            await self._finalize_dropped()

    def _drop_names(self) -> None:
        """Go on without cmap: names must not decide whether quorum is known, and must not be outdated."""
        self._cmap, self._dropped = None, self._cmap
        self._nodelist.keys = {}

    async def _finalize_dropped(self) -> None:
        """End a connection that is no longer drained, or the daemon would keep events for it."""
        dropped, self._dropped = self._dropped, None
        if dropped is not None:
            await dropped.finalize()

    async def aclose(self) -> None:
        """End the connections."""
        try:
            await let_servers_end([handle.connection for handle in self._handles()])
        finally:
            await self._connections.aclose()

    def _handles(self) -> list[Handle[Any]]:
        return [handle for handle in (self._quorum, self._votequorum, self._cmap) if handle is not None]

    # --- what is announced ---

    async def wait(self, seconds: float = math.inf) -> None:
        """Wait until there is something to `drain`, or a connection has ended; for at most `seconds`."""
        await wait_for_any([handle.connection for handle in self._handles()], seconds)

    def drain(self) -> bool:
        """Take everything that was announced. Returns whether any of it concerns more than names.

        Raises the error of a connection that has ended, after taking everything that was announced before. A
        change in cmap that cannot be decoded costs only the names.
        """
        if self._drains:
            # Last time, a signal handler raised in here, perhaps just after an announcement was taken.
            raise Library("an exception interrupted the reading of announcements: connect again")
        self._drains = True
        before = self._announced
        lost: CsError | None = None
        for handle in self._handles():
            try:
                while (event := handle.next_event_nowait()) is not None:
                    if take := self._takers.get(type(event)):
                        take(event)
            except CsError as error:
                if handle is self._cmap and isinstance(error, MessageError):
                    self._drop_names()
                else:
                    lost = lost or error
        for node_id, name in self._nodelist.renamed():
            self._renamed(node_id, name)
        self._drains = False
        if lost is not None:
            raise lost
        return self._announced > before

    def _take_key(self, event: KeyChange) -> None:
        self._nodelist.change(event.key, event.new)

    def _take_quorum_nodelist(self, event: QuorumNodelistNotification) -> None:
        self._announced += 1
        self._set_members(event.ring_id, event.members, event.joined, event.left)
        if self._votequorum is not None:  # otherwise there is no provider, and no quorum to wait for
            self._synchronising.add(Quorum)

    def _take_quorum(self, event: QuorumV1Notification) -> None:
        self._announced += 1
        self._set_quorate(event.quorate)
        if event.ring_id == self._ring_id:
            self._synchronising.discard(Quorum)

    def _take_votequorum_nodelist(self, event: NodelistNotification) -> None:
        if event.context:
            self._take_answer(event)
            return
        self._announced += 1
        self._synchronising.add(Votequorum)
        if self._quorum is None:
            joined = tuple(node for node in event.members if node not in self._members)
            left = tuple(node for node in self._members if node not in event.members)
            self._set_members(event.ring_id, event.members, joined, left)

    def _take_votequorum_quorum(self, event: QuorumNotification) -> None:
        if event.context:
            self._take_answer(event)
            return
        self._announced += 1
        self._synchronising.discard(Votequorum)
        if self._quorum is None:
            self._set_quorate(event.quorate)

    def _take_expected_votes(self, event: ExpectedVotesNotification) -> None:
        self._announced += 1
        self._set_expected_votes(event.expected_votes)

    def _take_answer(self, event: NodelistNotification | QuorumNotification) -> None:
        if event.context != self._number:
            return  # the answer to a cancelled question
        if isinstance(event, NodelistNotification):
            self._told_nodelist = event
        else:
            self._told_quorum = event

    # --- what is asked ---

    async def read(self) -> ClusterStatus:
        """The current status, asked for after this call began. When it returns, nothing waits to be drained.

        Waits while nodes synchronise. It may be cancelled and called again. Raises `TryAgain` when the daemon
        cannot answer, or when its answers have not agreed for a second. Any other error means that the daemon
        is lost.
        """
        self.disagreed = False
        for _ in range(_ATTEMPTS):
            self.drain()
            await self._finalize_dropped()
            while self._synchronising:
                await self.wait()
                self.drain()
            status = await self._ask()
            self.disagreed = status is None
            if status is not None:
                return status
            await sleep(_ATTEMPT_DELAY)
        raise TryAgain("the daemon's answers did not agree, as the cluster is changing: try again")

    async def _ask(self) -> ClusterStatus | None:
        """Ask for everything once; None if the answers do not describe one moment."""
        members = self._members
        quorate = await self._quorum.getquorate() if self._quorum else None
        if self._votequorum is None:
            agrees = not self.drain() and quorate == self._quorate
            return self._status(None, [None] * len(members)) if agrees else None
        own, infos, again = await self._ask_votequorum(self._votequorum, members)
        if own is None or own != again:
            return None
        # This node is also among the members: in between, it may have changed and changed back.
        if any(info is not None and info.node_id == own.node_id and info != own for info in infos):
            return None
        # If several nodes change, one may have changed after its answer and another before its own.
        if self._others_changed(own, infos) and await self._getinfo_all(self._votequorum, members) != infos:
            return None
        if self.drain() or not self._agree(own, infos, own.quorate if quorate is None else quorate):
            return None
        self._compare(own, infos)
        return self._status(own, infos)

    def _agree(self, own: NodeInfo, infos: Sequence[NodeInfo | None], quorate: bool) -> bool:
        """Whether all announcements and answers describe the same membership and quorum."""
        told_nodelist, told_quorum = self._told_nodelist, self._told_quorum
        if told_nodelist is None or told_quorum is None or told_nodelist.ring_id != self._ring_id:
            return False
        if {*told_nodelist.members} != {*self._members}:
            return False
        if not told_quorum.quorate == own.quorate == self._quorate == quorate:
            return False
        # When a device withdraws its vote, corosync counts the votes at once, but decides about quorum only
        # after its own message about it has gone round the ring. Only these two flags let fewer votes be
        # quorate.
        fewer_suffice = InfoFlags.AUTO_TIE_BREAKER | InfoFlags.QDEVICE_MASTER_WINS
        enough = own.total_votes >= own.quorum or any(info and info.flags & fewer_suffice for info in infos)
        return enough or not own.quorate

    async def _ask_votequorum(
        self, votequorum: Votequorum, members: Sequence[int]
    ) -> tuple[NodeInfo | None, list[NodeInfo | None], NodeInfo | None]:
        """This node's info, each member's (None if votequorum does not know it), and this node's again."""
        self._number = next(self._numbers)
        self._told_nodelist = self._told_quorum = None
        own, *others, again = await self._getinfo_all(votequorum, [0, *members, 0], self._number)
        return own, others, again

    async def _getinfo_all(
        self, votequorum: Votequorum, node_ids: Sequence[int], number: int | None = None
    ) -> list[NodeInfo | None]:
        """The info of each node, None if votequorum does not know it."""
        answers = await votequorum.getinfo_all(node_ids, context=number)
        infos: list[NodeInfo | None] = []
        for answer in answers:
            if isinstance(answer, CsError) and not isinstance(answer, NotExist):
                raise answer
            infos.append(None if isinstance(answer, CsError) else answer)
        return infos

    def _others_changed(self, own: NodeInfo, infos: Sequence[NodeInfo | None]) -> bool:
        """Whether one of several other nodes is new, or has changed in a way that corosync does not
        announce."""
        others = [info for info in infos if info is not None and info.node_id != own.node_id]
        known = [self._infos.get(info.node_id) for info in others]
        # New expected votes that an operator sets reach all nodes at once, and are announced. A node that has
        # just started, or has reloaded its configuration, has its own.
        announced = all(info.node_expected_votes == self._expected_votes for info in others)
        return len(others) > 1 and any(
            before is None
            or _device_and_votes(info) != _device_and_votes(before)
            or not (announced or info.node_expected_votes == before.node_expected_votes)
            for info, before in zip(others, known, strict=True)
        )

    def _status(self, own: NodeInfo | None, infos: Sequence[NodeInfo | None]) -> ClusterStatus:
        self._started = True
        node_id = own.node_id if own else self._nodelist.local_node_id()
        nodes = self._nodelist.nodes
        members = []
        for member, info in zip(self._members, infos, strict=True):
            name, address = nodes.get(member, ("", ""))
            members.append(Member(member, name, member == node_id, info, address))
        return ClusterStatus(
            quorum_type=self._quorum.quorum_type if self._quorum else QuorumType.SET,
            provider=self._provider,
            node_id=node_id,
            ring_id=self._ring_id,
            quorate=self._quorate,
            members=tuple(members),
            info=own,
            configured=tuple(ConfiguredNode(nodeid, *nodes[nodeid]) for nodeid in sorted(nodes)),
            margin=self._margin_of(own, infos),
        )

    def _margin_of(self, own: NodeInfo | None, infos: Sequence[NodeInfo | None]) -> Margin | None:
        """Which further failures the partition survives; computed again only when something has changed."""
        if self._margin[0] != (own, infos):
            self._margin = ((own, infos), self._new_margin(own, infos))
        return self._margin[1]

    def _new_margin(self, own: NodeInfo | None, infos: Sequence[NodeInfo | None]) -> Margin | None:
        known = {info.node_id: info for info in infos if info is not None}
        if own is None or own.node_id not in known or len(known) < len(infos):
            return None
        if InfoFlags.AUTO_TIE_BREAKER not in own.flags:
            return margin(known, own.node_id)
        return None if self._tie_breaker is None else margin(known, own.node_id, self._tie_breaker)

    # --- changes ---

    def _compare(self, own: NodeInfo, infos: Sequence[NodeInfo | None]) -> None:
        """Record changes that were not announced."""
        for info in infos:
            if info is not None:
                self._compare_node(info, self._infos.get(info.node_id))
                self._infos[info.node_id] = info
        self._set_expected_votes(own.node_expected_votes)
        if self._own is None or _figures(own) != _figures(self._own):
            self._change(lambda: types.VotesChanged(own))
        self._own = own

    def _compare_node(self, info: NodeInfo, before: NodeInfo | None) -> None:
        if before is None or info.node_votes != before.node_votes:
            self._change(lambda: types.NodeVotesChanged(info.node_id, info.node_votes))
        flags = info.flags & DEVICE_FLAGS
        if flags != (before.flags & DEVICE_FLAGS if before else InfoFlags(0)):
            self._change(lambda: types.DeviceChanged(info.node_id, info.qdevice_name, flags))

    def _set_members(
        self, ring_id: RingId, members: tuple[int, ...], joined: tuple[int, ...], left: tuple[int, ...]
    ) -> None:
        self._ring_id, self._members = ring_id, members
        self._change(lambda: types.MembershipChanged(ring_id, members, joined, left))

    def _set_quorate(self, quorate: bool) -> None:
        # corosync announces quorum with each membership, whether it changed or not.
        if quorate != self._quorate:
            self._quorate = quorate
            self._change(lambda: types.QuorumChanged(quorate))

    def _set_expected_votes(self, expected_votes: int) -> None:
        if expected_votes != self._expected_votes:
            self._expected_votes = expected_votes
            self._change(lambda: types.ExpectedVotesChanged(expected_votes))

    def _renamed(self, node_id: int, name: str) -> None:
        self._change(lambda: types.NameChanged(node_id, name))

    def _change(self, make: Callable[[], Change]) -> None:
        # Made only if it is recorded: the first status records none, and importing these types takes time.
        if self._started:
            self._record(make())


def _addresses(address: Address) -> dict[str, Address]:
    """The addresses of the services. An address that does not lead to all of them is taken as
    votequorum's."""
    try:
        return {service: sibling(address, service) for service in KNOWN_SERVICES}
    except InvalidParam:
        return {"votequorum": address}


def _tie_breaker(found: Mapping[str, Value]) -> TieBreaker | tuple[int, ...] | None:
    """Which node breaks ties. A reload of corosync.conf may change the list in cmap, but not the list in
    force."""
    try:
        breaker = TieBreaker(int(found[_TIE_BREAKER]))
        if breaker is not TieBreaker.LIST:
            return breaker
        listed = parse_tie_breaker(True, str(found.get(_TIE_BREAKER_NODE, "")))
    except (KeyError, ValueError, OverflowError):  # not a number, infinite, or thousands of digits
        return None
    return None if isinstance(listed, TieBreaker) else listed


def _device_and_votes(info: NodeInfo) -> tuple[int, InfoFlags]:
    """The parts of a node's info that change without an announcement."""
    return info.node_votes, info.flags & DEVICE_FLAGS


def _figures(info: NodeInfo) -> tuple[int, int, int, InfoFlags]:
    flags = info.flags & ~(DEVICE_FLAGS | InfoFlags.QUORATE)
    return info.total_votes, info.highest_expected, info.quorum, flags


async def cluster_status(
    address: Address = None, *, server_uids: Collection[int] | None = None
) -> ClusterStatus:
    """Connect, read the status of the cluster as this node knows it, and disconnect.

    `address` is None for corosync on this machine. An address with "{service}" in it, or one that ends with
    the name of a service, leads to all services of a daemon; any other leads to votequorum alone.
    `server_uids` are the users whose server is trusted; see `votequorum_ipc.ipc.connect`. Names come from the
    node list; no name server is asked. Waits while nodes synchronise, so put a deadline around it.

    Raises `Library` when no daemon is there or it ends meanwhile, `Access` when this user may not connect,
    `Security` when another user's program answers in corosync's place, `TryAgain` when the daemon cannot
    answer.
    """
    follower = await Follower.connect(address, server_uids, lambda _: None)
    try:
        return await follower.read()
    finally:
        await follower.aclose()
