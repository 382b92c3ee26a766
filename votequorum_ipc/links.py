"""This node's links to other nodes, what corosync has counted on them, and how they change.

Strategy: links come from cfg, their statistics from cmap. Keys are asked for by name, because listing names
would take one request for each. corosync does not announce changes of a link, so `LinkWatcher` asks and
compares. A link that went down and came back in between is noticed by its count.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from .cfg import Cfg
from .cmap import Cmap, Value
from .errors import CsError, FailedOperation, NotExist, NotSupported, TryAgain
from .handle import Handle
from .ipc import sibling
from .types import (
    ConfiguredNode,
    Link,
    LinkChanged,
    LinkStatistics,
    NodeStatus,
    SchedulingMiss,
    TotemStatistics,
)

HandleT = TypeVar("HandleT", bound=Handle[Any])
T = TypeVar("T")

_SCHEDULING_MISSES: Final = 10
"""The number that corosync keeps."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """corosync's statistics."""

    totem: TotemStatistics | None
    """None if the daemon has none, as the embedded daemon."""
    scheduling_misses: tuple[SchedulingMiss, ...]
    """The latest ones, newest first."""


class Reconnecting(Generic[HandleT]):
    """A connection that is made when it is needed, and made again after a failure."""

    def __init__(self, connect: Callable[[], Awaitable[HandleT]]) -> None:
        self._connect = connect
        self._handle: HandleT | None = None

    async def ask(self, question: Callable[[HandleT], Awaitable[T]]) -> T:
        try:
            if self._handle is None:
                self._handle = await self._connect()
            return await question(self._handle)
        except (TryAgain, FailedOperation, NotSupported):
            raise
        except CsError:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            await handle.connection.aclose()


async def read_links(cfg: Cfg, nodes: Sequence[ConfiguredNode]) -> tuple[Link, ...]:
    """The links to every other node. Raises `CsError` if no node's links can be read."""
    if not nodes:
        raise NotExist("the node list is unknown, so the links are unknown too")
    own = await cfg.local_get()
    links: list[Link] = []
    refused: CsError | None = None
    others = [node.node_id for node in nodes if node.node_id != own]
    for status in await cfg.node_status_get_all(others):
        if isinstance(status, FailedOperation):  # it is no longer in the daemon's configuration
            refused = status
        elif isinstance(status, CsError):
            raise status
        else:
            links += _of_node(status)
    if refused is not None and not links:
        raise refused
    return tuple(links)


def _of_node(status: NodeStatus) -> Iterable[Link]:
    for number, link in enumerate(status.link_status):
        if link.enabled:
            yield Link(status.nodeid, number, link, None)


async def read_statistics(stats: Cmap, links: Sequence[Link]) -> tuple[Statistics, tuple[Link, ...]]:
    """What corosync has counted, and the links with what it has counted on each."""
    prefixes = [f"stats.knet.node{link.node_id}.link{link.number}." for link in links]
    misses = [f"stats.schedmiss.{number}." for number in range(_SCHEDULING_MISSES)]
    keys = [prefix + field for prefix in prefixes for field in LinkStatistics._fields]
    keys += ["stats.srp." + field for field in TotemStatistics._fields]
    keys += [misses[0] + field for field in SchedulingMiss._fields]
    found = await stats.get_all(keys)
    if misses[0] + "timestamp" in found:
        found |= await stats.get_all(
            [miss + field for miss in misses[1:] for field in SchedulingMiss._fields]
        )
    missed = [_fields(found, miss, SchedulingMiss) for miss in misses]
    totem = _fields(found, "stats.srp.", TotemStatistics)
    with_statistics = tuple(
        replace(link, statistics=_fields(found, prefix, LinkStatistics))
        for link, prefix in zip(links, prefixes, strict=True)
    )
    return Statistics(totem, tuple(miss for miss in missed if miss is not None)), with_statistics


FieldsT = TypeVar("FieldsT", LinkStatistics, TotemStatistics, SchedulingMiss)


def _fields(found: dict[str, Value], prefix: str, kind: type[FieldsT]) -> FieldsT | None:
    """The values of the keys that begin with `prefix`; None if one is missing or is not a finite number."""
    values: list[Any] = [found.get(prefix + field) for field in kind._fields]
    finite = all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    return kind(*values) if finite else None


# --- changes ---


class LinkWatcher:
    """Polls this node's links and reports what has changed."""

    def __init__(
        self,
        address: str | os.PathLike[str] | None = None,
        *,
        server_uids: Collection[int] | None = None,
    ) -> None:
        """`address` leads to all services. Raises `InvalidParam` for one that leads only to votequorum."""
        cfg, cmap = sibling(address, "cfg"), sibling(address, "cmap")
        self._cfg = Reconnecting(lambda: Cfg.initialize(address=cfg, server_uids=server_uids))
        self._stats = Reconnecting(
            lambda: Cmap.initialize(map="stats", address=cmap, server_uids=server_uids)
        )
        self._before: tuple[Link, ...] = ()

    async def read(
        self, nodes: Sequence[ConfiguredNode]
    ) -> tuple[tuple[Link, ...] | None, Statistics | None]:
        """The links to the nodes of the node list, and their statistics; None if corosync does not report
        them.

        It reports links only with the transport knet.
        """
        links: tuple[Link, ...] | None = None
        statistics: Statistics | None = None
        with contextlib.suppress(CsError):
            links = await self._ask(nodes)
            if not links and len(nodes) > 1:
                links = None
        with contextlib.suppress(CsError):
            statistics, counted = await self._stats.ask(lambda stats: read_statistics(stats, links or ()))
            links = None if links is None else counted
        return links, statistics

    async def changes(self, nodes: Sequence[ConfiguredNode]) -> list[LinkChanged]:
        """What has changed since the last call; at the first call, the links that are not connected.

        `nodes` are those of the node list. Raises `CsError` if the daemon does not answer; the next call then
        compares with the last answer. After a restart the daemon's counts begin at 0 and its links begin
        down.
        """
        links = await self._ask(nodes)
        _, links = await self._stats.ask(lambda stats: read_statistics(stats, links))
        before, self._before = self._before, links
        return link_changes(before, links)

    async def _ask(self, nodes: Sequence[ConfiguredNode]) -> tuple[Link, ...]:
        return await self._cfg.ask(lambda cfg: read_links(cfg, nodes))

    async def aclose(self) -> None:
        """End the connections."""
        async with contextlib.AsyncExitStack() as stack:  # close both, even if cancelled
            stack.push_async_callback(self._stats.aclose)
            stack.push_async_callback(self._cfg.aclose)


def link_changes(before: Iterable[Link], now: Iterable[Link]) -> list[LinkChanged]:
    """What has changed between two answers; a new link is reported if it is not connected."""
    known = {(link.node_id, link.number): link for link in before}
    return [
        LinkChanged(link.node_id, link.number, link.status.connected, times)
        for link in now
        if (times := _times_down(known.get((link.node_id, link.number)), link)) is not None
    ]


def _times_down(before: Link | None, now: Link) -> int | None:
    """How often a link went down between two answers; None if there is nothing to report."""
    if before is None:
        return None if now.status.connected else 0
    counts = [link.statistics.down_count if link.statistics else 0 for link in (before, now)]
    times = max(counts[1] - counts[0], 0)
    if before.status.connected == now.status.connected and not times:
        return None
    return max(times, int(before.status.connected and not now.status.connected))
