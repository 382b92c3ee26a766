"""What `monitor` follows: quorum and this node's links, reported as one sequence of notices.

Strategy: one task reads the watcher, another asks for links at an interval. Both hand their notices to one
function, which does not wait. Another task may ask for the current state: the one that reads the watcher then
stops waiting for a change and asks the daemon.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import trio

from ..errors import Access, CsError, InvalidParam, Security
from ..links import LinkWatcher, Statistics
from ..overview import Moment
from ..types import (
    Change,
    ClusterStatus,
    ConfiguredNode,
    Connected,
    Link,
    LinkChanged,
    Lost,
    QuorumState,
    QuorumType,
    QuorumView,
)
from ..watch import watch_quorum
from .change_json import change_json, link_change_json
from .common import printable, utc_now
from .json_values import error_json, moment_json

if TYPE_CHECKING:
    from rich.text import Text

LINK_SECONDS: Final = 2.0
"""The interval in seconds between questions about links, which corosync does not announce."""

_LINK_PATIENCE: Final = 0.5
"""How many seconds the state waits for links."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice: a change, or the state when it is known again."""

    shape: dict[str, Any]
    """The notice as JSON; its key "event" says what it is."""
    text: Callable[[], Text]
    """The line for people."""
    moment: Moment | None = None
    """The whole state, if the notice is about that."""
    time: str = field(default_factory=utc_now)

    @property
    def event(self) -> str:
        """The notice's event."""
        return str(self.shape["event"])

    def line(self) -> dict[str, Any]:
        """A line of JSON."""
        return {"time": self.time, **self.shape}


class Following:
    """Follows a daemon through its restarts, in `run`. Another task may await `now`."""

    def __init__(self, address: str | None, patience: float, take: Callable[[Notice], None]) -> None:
        """`take` is called with every notice, in order."""
        self._address = address
        self._patience = patience
        self._take = take
        self._waiting = trio.CancelScope()
        self._askers: list[trio.Event] = []
        self._view: QuorumView | None = None
        self._names: dict[int, str] = {}
        """Names of nodes, including those that have left."""
        self._nodes: tuple[ConfiguredNode, ...] = ()
        self._links: LinkWatcher | None = None
        """None if the address leads only to votequorum."""
        with contextlib.suppress(InvalidParam):
            self._links = LinkWatcher(address)
        self._link_lock = trio.Lock()

    async def run(self) -> None:
        """Follow until cancelled. Raises `Access` and `Security`, as waiting would not help."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow_quorum)
                if self._links is not None:
                    nursery.start_soon(self._follow_links, self._links)
        finally:
            if self._links is not None:
                with trio.CancelScope(shield=True):
                    await self._links.aclose()

    async def now(self) -> QuorumView:
        """The state, asked for after this call. All changes up to then have been reported."""
        answered = trio.Event()
        self._askers.append(answered)
        self._waiting.cancel()
        await answered.wait()
        assert self._view is not None
        return self._view

    async def _follow_quorum(self) -> None:
        async with watch_quorum(self._address, patience=self._patience, require_provider=False) as watcher:
            while True:
                askers, self._askers = self._askers, []
                if askers:
                    view = await watcher.current()
                else:
                    with trio.CancelScope() as self._waiting:
                        view = await anext(watcher)
                    if self._waiting.cancelled_caught:
                        continue
                if isinstance(view.error, Access | Security):
                    raise view.error
                await self._take_view(view)
                for asker in askers:
                    asker.set()

    async def _take_view(self, view: QuorumView) -> None:
        before, self._view = self._view, view
        known = before is not None and before.status is not None
        self._names |= {member.node_id: member.name or member.address for member in view.members}
        if view.status is not None and view.status.configured:
            self._nodes = view.status.configured
            self._names |= {node.node_id: node.name or node.address for node in self._nodes}
        for change in view.changes:
            if not isinstance(change, Connected):
                self._take(self._changed(change))
        if view.status is not None and not known:
            self._take(_whole_state(await self._moment(view.status)))
        elif view.error is not None and (known or before is None) and not _tells_loss(view):
            self._take(_unknown(view.error))

    async def _moment(self, status: ClusterStatus) -> Moment:
        """The status with the links, if they come at once."""
        told: tuple[tuple[Link, ...] | None, Statistics | None] = None, None
        if self._links is not None:
            with trio.move_on_after(_LINK_PATIENCE):
                async with self._link_lock:
                    told = await self._links.read(status.configured)
        return Moment(status, *told)

    async def _follow_links(self, links: LinkWatcher) -> None:
        while True:
            # The watcher reports whether corosync answers at all.
            with contextlib.suppress(CsError), trio.move_on_after(self._patience):
                async with self._link_lock:
                    changes = await links.changes(self._nodes)
                for change in changes:
                    self._take(self._link_changed(change))
            await trio.sleep(LINK_SECONDS)

    def _changed(self, change: Change) -> Notice:
        def text() -> Text:
            from .change_text import change_text

            return change_text(change, self._names)

        return Notice(change_json(change), text)

    def _link_changed(self, change: LinkChanged) -> Notice:
        def text() -> Text:
            from .change_text import link_change_text

            return link_change_text(change, self._names)

        return Notice(link_change_json(change, self._names), text)


def _tells_loss(view: QuorumView) -> bool:
    return bool(view.changes) and isinstance(view.changes[-1], Lost)


def _whole_state(moment: Moment) -> Notice:
    def text() -> Text:
        from rich.text import Text

        return Text("quorum known: " + ("quorate" if moment.status.quorate else "not quorate"))

    return Notice({"event": "status", **moment_json(moment)}, text, moment)


def _unknown(error: CsError) -> Notice:
    def text() -> Text:
        from rich.text import Text

        return Text(f"quorum unknown: {printable(str(error))}", "bold red")

    return Notice({"event": "unknown", "error": error_json(error)}, text)


def state_now(view: QuorumView | None) -> QuorumState:
    """Whether there is quorum. Without a provider corosync always calls itself quorate and cannot know."""
    if view is None or (view.status is not None and view.status.quorum_type is QuorumType.FREE):
        return QuorumState.UNKNOWN
    return view.state
