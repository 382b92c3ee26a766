"""The cluster at one moment, as `corosync-quorumtool -s` shows it, for programs: `await cluster_status()`.

Strategy: the quorum service says who is a member and whether they are quorate; votequorum, asked about all
members at once, has the votes; cmap and cfg have the names. votequorum's ring id, read last, tells whether
all of that speaks of one membership; else everything is read again. (While nodes synchronise, corosync lets
requests wait, so that is rare.) Whatever a daemon does not serve, or an address does not lead to, is left
out. Source: corosync's tools/corosync-quorumtool.c.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import trio

from .cfg import Cfg
from .cmap import Cmap
from .errors import CsError, Exist, InvalidParam, Library, NotExist, TryAgain
from .handle import Handle
from .ipc import Address, sibling
from .ipc.address import KNOWN_SERVICES
from .ipc.handshake import nothing_listens
from .quorum import Quorum
from .types import (
    DispatchFlags,
    InfoFlags,
    NodeInfo,
    NodelistNotification,
    QuorumNodelistNotification,
    QuorumNotification,
    QuorumType,
    QuorumV1Notification,
    RingId,
    TrackFlags,
)
from .votequorum import Votequorum

T = TypeVar("T")
HandleT = TypeVar("HandleT", bound=Handle[Any])

_ATTEMPTS: Final = 50
_ATTEMPT_DELAY: Final = 0.02
"""How often, and at what interval in seconds, to read again while the membership changes."""

_NODELIST: Final = "nodelist.node."
_NODELIST_NODEID: Final = re.compile(r"nodelist\.node\.\d+\.nodeid")


@dataclass(frozen=True, slots=True)
class Member:
    """A member of this node's partition."""

    node_id: int
    name: str
    """From the node list; otherwise what the first address resolves to; empty where neither is known."""
    local: bool
    """Whether this is the node that was asked."""
    info: NodeInfo | None
    """What votequorum knows of it; None without votequorum, or where it knows nothing of the node."""


@dataclass(frozen=True, slots=True)
class Device:
    """The quorum device that some member has registered."""

    name: str
    votes: int
    """What it may contribute."""
    casts_vote: bool
    """Whether its votes count on this node now."""


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """What one node knows of its partition of the cluster, all of it from one membership."""

    quorum_type: QuorumType
    """FREE on a daemon without a quorum provider, which counts as quorate always."""
    provider: str | None
    """Its name, such as "corosync_votequorum"; None without a provider, or where cmap is not to be had."""
    node_id: int
    """The node that was asked; 0 where neither votequorum nor cfg could tell."""
    ring_id: RingId
    quorate: bool
    members: tuple[Member, ...]
    """In corosync's order."""
    info: NodeInfo | None
    """votequorum's figures as this node has them; None without votequorum."""

    @property
    def device(self) -> Device | None:
        """The quorum device, if a member has registered one."""
        infos = [member.info for member in self.members if member.info]
        if self.info is None or not any(InfoFlags.QDEVICE_REGISTERED in info.flags for info in infos):
            return None
        casts_vote = InfoFlags.QDEVICE_CAST_VOTE in self.info.flags
        return Device(self.info.qdevice_name, self.info.qdevice_votes, casts_vote)


async def cluster_status(
    address: Address = None,
    *,
    server_uids: Collection[int] | None = None,
) -> ClusterStatus:
    """Connect, read, disconnect. Arguments and errors are those of `StatusReader.connect` and `read`."""
    async with StatusReader.connect(address, server_uids) as reader:
        return await reader.read()


class StatusReader:
    """Connections to a daemon's services, from which `read` makes a `ClusterStatus` as often as asked."""

    def __init__(self) -> None:
        """Not public: use `connect`."""
        self.names: dict[int, str] = {}
        """Names of the nodes in the node list and of every member seen, also of those that left."""
        self._quorum: Quorum | None = None
        self._votequorum: Votequorum | None = None
        self._cmap: Cmap | None = None
        self._cfg: Cfg | None = None
        self._latest: dict[type, Any] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls,
        address: Address = None,
        server_uids: Collection[int] | None = None,
    ) -> AsyncIterator[StatusReader]:
        """Connect to what `Services` finds at an address; the connections end with the block.

        `server_uids` are the users whose server is believed; see `votequorum_ipc.ipc.connect`. Raises
        `Library` when neither quorum nor votequorum answers, `Access` when this user may not ask, `Security`
        when another user's program answers in corosync's place, `TryAgain` while the daemon starts.
        """
        reader = cls()
        async with Services(address, server_uids) as services:
            reader._quorum, reader._votequorum = await services.quorum_and_votequorum(
                partial(Quorum.initialize, quorum_notify=reader._note, nodelist_notify=reader._note),
                partial(Votequorum.initialize, quorum_notify=reader._note, nodelist_notify=reader._note),
            )
            reader._cmap = await services.open("cmap", Cmap.initialize)
            reader._cfg = await services.open("cfg", Cfg.initialize)
            yield reader

    async def read(self) -> ClusterStatus:
        """The state of now. May be cancelled, and called again.

        Waits while the nodes synchronise. Raises `Library` when the daemon is gone, `TryAgain` when it
        cannot answer, or the membership changed again and again for a second. Members that the node list
        does not name are resolved, as corosync-quorumtool does it: that takes a thread of trio's, and may ask
        a name server.
        """
        for _ in range(_ATTEMPTS):
            ring_id, quorate, members = await self._membership()
            own, *infos = await self._infos(members)
            if self._votequorum is None or (await self._votequorum_now())[0].ring_id == ring_id:
                break
            await trio.sleep(_ATTEMPT_DELAY)
        else:
            raise TryAgain("the membership is changing: try again")
        node_id = await self._node_id(own)
        await self._learn_names(members)
        return ClusterStatus(
            quorum_type=self._quorum.quorum_type if self._quorum else QuorumType.SET,
            provider=await self._provider(),
            node_id=node_id,
            ring_id=ring_id,
            quorate=quorate,
            members=tuple(
                Member(member, self.names.get(member, ""), member == node_id, info)
                for member, info in zip(members, infos, strict=True)
            ),
            info=own,
        )

    # --- who, and how many votes ---

    async def _membership(self) -> tuple[RingId, bool, tuple[int, ...]]:
        if self._quorum is None:
            ours, quorum = await self._votequorum_now()
            return ours.ring_id, quorum.quorate, ours.members
        await self._quorum.trackstart(TrackFlags.CURRENT)
        nodelist = await self._told(self._quorum, QuorumNodelistNotification)
        quorum_v1 = await self._told(self._quorum, QuorumV1Notification)
        if self._quorum.quorum_type is QuorumType.FREE:
            # Only a provider fills in the ring and the members of this notification.
            return nodelist.ring_id, quorum_v1.quorate, nodelist.members
        return quorum_v1.ring_id, quorum_v1.quorate, quorum_v1.members

    async def _votequorum_now(self) -> tuple[NodelistNotification, QuorumNotification]:
        assert self._votequorum is not None
        await self._votequorum.trackstart(flags=TrackFlags.CURRENT)
        nodelist = await self._told(self._votequorum, NodelistNotification)
        return nodelist, await self._told(self._votequorum, QuorumNotification)

    def _note(self, event: Any) -> None:
        self._latest[type(event)] = event

    async def _told(self, handle: Handle[Any], kind: type[T]) -> T:
        """The last event of a kind. All are here before the answer to `trackstart` is; the last one belongs
        to it, and older ones to calls that were cancelled."""
        await handle.dispatch(DispatchFlags.ALL)
        while kind not in self._latest:
            await handle.dispatch(DispatchFlags.ONE)
        event: T = self._latest.pop(kind)
        return event

    async def _infos(self, members: Sequence[int]) -> Sequence[NodeInfo | None]:
        """This node's info, then that of each member."""
        votequorum = self._votequorum
        if votequorum is None:
            return [None] * (1 + len(members))
        return await _at_once([partial(_unless_unknown, votequorum.getinfo, id_) for id_ in (0, *members)])

    async def _node_id(self, own: NodeInfo | None) -> int:
        if own is not None:
            return own.node_id
        return await self._cfg.local_get() if self._cfg else 0

    # --- names ---

    async def _provider(self) -> str | None:
        provider = await self._cmap.get_or_none("quorum.provider") if self._cmap else None
        return provider if isinstance(provider, str) else None

    async def _learn_names(self, members: Sequence[int]) -> None:
        """The names of now; one that can no longer be had is kept."""
        if self._cmap:
            self.names |= await _nodelist_names(self._cmap)
        for nodeid in members:
            if self._cfg and not self.names.get(nodeid):
                self.names[nodeid] = await _resolved(self._cfg, nodeid)


class Services:
    """The services of one daemon, as far as an address leads to them and the daemon has them.

    All of them are looked for at None, at an address with "{service}" in it, and at one that ends with the
    name of a service, whose siblings have their own names there. Any other address is votequorum's, alone.
    An async context manager: handles that were opened end with it.
    """

    def __init__(self, address: Address, server_uids: Collection[int] | None = None) -> None:
        """Connects to nothing yet."""
        self.addresses = _addresses(address)
        self._server_uids = server_uids
        self._missing: list[CsError] = []
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Services:
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._stack.__aexit__(*exc_info)

    async def open(self, service: str, initialize: Callable[..., Awaitable[HandleT]]) -> HandleT | None:
        """A handle, or None where the service is not to be found, or too old for us to talk to."""
        if service not in self.addresses:
            return None
        try:
            handle = await initialize(address=self.addresses[service], server_uids=self._server_uids)
        except (Library, InvalidParam) as error:
            if isinstance(error, Library) and not nothing_listens(error):
                raise  # as where descriptors ran out: the service may well be there
            self._missing.append(error)
            return None
        self._stack.push_async_exit(handle)
        return handle

    async def quorum_and_votequorum(
        self,
        quorum_initialize: Callable[..., Awaitable[Quorum]] = Quorum.initialize,
        votequorum_initialize: Callable[..., Awaitable[Votequorum]] = Votequorum.initialize,
    ) -> tuple[Quorum | None, Votequorum | None]:
        """Both, or the one that there is; raises the first one's error where there is none."""
        quorum = await self.open("quorum", quorum_initialize)
        votequorum = None
        if quorum is None or quorum.quorum_type is QuorumType.SET:
            votequorum = await self.open("votequorum", votequorum_initialize)
        if quorum is None and votequorum is None:
            raise self._missing[0]
        return quorum, votequorum


def _addresses(address: Address) -> dict[str, Address]:
    try:
        return {service: sibling(address, service) for service in KNOWN_SERVICES}
    except InvalidParam:
        return {"votequorum": address}


async def _unless_unknown(ask: Callable[[int], Awaitable[T]], nodeid: int) -> T | None:
    with contextlib.suppress(NotExist):
        return await ask(nodeid)
    return None


async def _at_once(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Make all calls concurrently; their results in order, or the first error of the library."""
    results: dict[int, T] = {}
    errors: list[CsError] = []

    async def make(place: int) -> None:
        try:
            results[place] = await calls[place]()
        except CsError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for place in range(len(calls)):
            nursery.start_soon(make, place)
    if errors:
        raise errors[0]
    return [results[place] for place in range(len(calls))]


async def _nodelist_names(cmap: Cmap) -> dict[int, str]:
    """Node id to name, of all nodes in the node list that have one."""
    keys = [key for key in await cmap.keys(_NODELIST) if _NODELIST_NODEID.fullmatch(key)]
    keys += [key.removesuffix("nodeid") + "name" for key in keys]
    values = await _at_once([partial(cmap.get_or_none, key) for key in keys])
    pairs = zip(values[: len(values) // 2], values[len(values) // 2 :], strict=True)
    return {nodeid: name for nodeid, name in pairs if isinstance(nodeid, int) and isinstance(name, str)}


async def _resolved(cfg: Cfg, nodeid: int) -> str:
    """The name of a node's first address, or the address itself; empty where corosync knows none."""
    try:
        addresses = await cfg.get_node_addrs(nodeid)
        if not addresses:
            return ""
        name, _ = await trio.socket.getnameinfo((str(addresses[0]), 0), 0)
    except (NotExist, Exist):
        return ""
    except OSError:
        return str(addresses[0])
    return name
