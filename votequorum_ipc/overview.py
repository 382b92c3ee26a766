"""What an operator wants to know of a node, as one value: quorum, links, statistics, each service separately.

Strategy: an `Observer` holds one connection to each service and asks them in turn, quorum first. Each service
has its share of the time. If one fails or does not answer, only its part is missing: the `Overview` has the
error instead. A connection that failed is made again at the next question. One that was only slow is kept,
because a cancelled call leaves it usable.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, TypeVar

from .cfg import Cfg
from .cmap import Cmap
from .errors import CsError, InvalidParam, Timeout
from .follow import Follower
from .ipc import sibling
from .ipc.backend import current_time, move_on_after
from .links import LinkWatcher, Reconnecting, Statistics, read_links, read_statistics
from .types import (
    ClusterStatus,
    ConfiguredNode,
    Link,
)

if TYPE_CHECKING:
    from .types import QuorumView

T = TypeVar("T")

SOURCES: Final = ("quorum", "cfg", "stats")
"""What can fail on its own: quorum (with votequorum and the node list), cfg, and cmap's statistics."""

ANSWER_SECONDS: Final = 5.0
"""How long a question may take by default, in seconds."""

_SHARES: Final = {"quorum": 0.5, "cfg": 0.5, "stats": 0.7}
"""Which part of the remaining time each service may take."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What one node knew, asked service by service within moments. Each part is None if unknown."""

    view: QuorumView
    links: tuple[Link, ...] | None
    """This node's links to every other configured node; None if cfg gave no answer."""
    statistics: Statistics | None
    errors: dict[str, CsError]
    """The error of each of `SOURCES` that failed."""
    seconds: dict[str, float]
    """How long each of `SOURCES` took, in seconds."""

    @property
    def status(self) -> ClusterStatus | None:
        """Quorum, votes and members; None while unknown."""
        return self.view.status


class Observer:
    """Polls a node's services; an async context manager. Only one task may ask at a time."""

    def __init__(
        self,
        address: str | os.PathLike[str] | None = None,
        *,
        seconds: float = ANSWER_SECONDS,
        server_uids: Collection[int] | None = None,
    ) -> None:
        """`seconds` is how long all services together may take; `address` leads to all of them.

        Raises `InvalidParam` for an address that leads to only one service.
        """
        from .watch import watch_quorum  # `status` does without names

        cfg, cmap = sibling(address, "cfg"), sibling(address, "cmap")
        self._seconds = seconds
        self._watcher = watch_quorum(
            address,
            patience=seconds * _SHARES["quorum"],
            server_uids=server_uids,
        )
        self._cfg = Reconnecting(lambda: Cfg.initialize(address=cfg, server_uids=server_uids))
        self._stats = Reconnecting(
            lambda: Cmap.initialize(map="stats", address=cmap, server_uids=server_uids)
        )
        self._configured: tuple[ConfiguredNode, ...] = ()
        """The node list as last known: links are read even while quorum is unknown."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the connections."""
        async with contextlib.AsyncExitStack() as stack:
            for part in (self._watcher, self._cfg, self._stats):
                stack.push_async_callback(part.aclose)

    async def read(self, view: QuorumView | None = None) -> Overview:
        """Ask every service, for at most `seconds` in all. A service's failure is recorded in the overview,
        never raised.

        With a `view` from the caller's own watcher, quorum is not asked for again.
        """
        asking = _Asking(current_time() + self._seconds)
        if view is None:
            view = await self._watcher.current()
        asking.done("quorum", view.error)
        if view.status is not None and view.status.configured:
            self._configured = view.status.configured
        nodes = self._configured
        links = await asking.ask("cfg", lambda: self._cfg.ask(lambda cfg: read_links(cfg, nodes)))
        read = await asking.ask(
            "stats", lambda: self._stats.ask(lambda stats: read_statistics(stats, links or ()))
        )
        statistics = None
        if read is not None:
            statistics, counted = read
            links = None if links is None else counted
        return Overview(view, links, statistics, asking.errors, asking.seconds)


class _Asking:
    """One question to all services: its remaining time, and its results."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._since = current_time()
        self.errors: dict[str, CsError] = {}
        self.seconds: dict[str, float] = {}

    def done(self, service: str, error: CsError | None) -> None:
        now = current_time()
        self.seconds[service], self._since = now - self._since, now
        if error is not None:
            self.errors[service] = error

    async def ask(self, service: str, question: Callable[[], Awaitable[T]]) -> T | None:
        """A service's answer; None, with its error noted, if no answer comes in time."""
        share = max(self._deadline - current_time(), 0) * _SHARES[service]
        error: CsError = Timeout(f"{service} has not answered for {share:.1f} s")
        with move_on_after(share):
            try:
                answer = await question()
            except CsError as failure:
                error = failure
            else:
                self.done(service, None)
                return answer
        self.done(service, error)
        return None


@dataclass(frozen=True, slots=True)
class Moment:
    """What one node knew at one moment; the membership did not change while it was read."""

    status: ClusterStatus
    links: tuple[Link, ...] | None
    """This node's links to every other configured node; None if they are unknown."""
    statistics: Statistics | None


async def read_moment(
    address: str | os.PathLike[str] | None = None,
    *,
    link_seconds: float = 2.0,
    server_uids: Collection[int] | None = None,
) -> Moment:
    """Connect, read the status and the links, and disconnect.

    Arguments and errors are those of `cluster_status`. Links never delay the status for long: they are None
    if they do not come within `link_seconds`, or if `address` leads only to votequorum.
    """
    links: LinkWatcher | None = None
    with contextlib.suppress(InvalidParam):
        links = LinkWatcher(address, server_uids=server_uids)
    follower = await Follower.connect(address, server_uids, lambda _: None)
    try:
        for _ in range(_MOMENT_ATTEMPTS):
            status = await follower.read()
            told: tuple[tuple[Link, ...] | None, Statistics | None] = None, None
            if links is not None:
                with move_on_after(link_seconds):
                    told = await links.read(status.configured)
            if not follower.drain():
                return Moment(status, *told)
        return Moment(await follower.read(), None, None)
    finally:
        try:
            await follower.aclose()
        finally:
            if links is not None:
                await links.aclose()


_MOMENT_ATTEMPTS: Final = 5
"""How often to read status and links until the membership stays the same in between."""
