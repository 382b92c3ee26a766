"""A daemon's log, read as the events it must have sent, and the comparison with a tracker's history.

corosync logs "Members[...]" right before it sends a quorum notification. It logs the contents of a node list
as "Sync members", "Sync joined" and "Sync left", before "A new membership" with its ring. It sends the list
early in the following synchronisation. So if that synchronisation completed, the list was sent; if another
membership interrupted it, the list may have been sent. The log therefore gives the list of events for each
corosync that ran. A history must be a contiguous piece of it, from the state at its beginning to its end.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LINE = re.compile(rb"^(\w{3} \d\d \d\d:\d\d:\d\d)\.(\d{3}) \w+ +\[(QUORUM|TOTEM |MAIN  )\] (.*)$")
_STARTED = "Corosync Cluster Engine"
_RING = re.compile(r"A new membership \((\w+\.\w+)\) was formed")
_LIST = re.compile(r"(Members|Sync members|Sync joined|Sync left)\[\d+\]:([ \d]*)")
_PRIMARY = "This node is within the primary component"
_NOT_PRIMARY = "This node is within the non-primary component"
_COMPLETED = "Completed service synchronization"

MARGIN = 0.25
"""Seconds by which the log's clock and the end of a history may differ."""


class _Unknown:
    """Equal to anything."""

    def __eq__(self, _: object) -> bool:
        return True

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return "unknown"


UNKNOWN = _Unknown()


@dataclass
class Logged:
    """An event derived from the log."""

    at: float
    event: list[Any]
    certain: bool


@dataclass
class Run:
    """One corosync's events."""

    quorum: list[Logged] = field(default_factory=list)
    nodelists: list[Logged] = field(default_factory=list)
    syncs: list[list[float]] = field(default_factory=list)
    """Start and end of each time when nodes synchronised; consecutive ones are merged."""
    ring: str = "0.0"
    primary: bool = False
    turned: int = 0
    """The number of quorum events up to the last change of `primary`; 0 before the first change."""
    sync: dict[str, list[int]] = field(default_factory=dict)

    def read(self, at: float, text: str) -> None:
        if found := _RING.search(text):
            self.ring = found[1]
            lists = [self.sync.get(name, []) for name in ("Sync members", "Sync joined", "Sync left")]
            self.nodelists.append(Logged(at, ["nodelist", self.ring, *lists], certain=False))
        elif found := _LIST.match(text):
            self._read_list(at, found[1], sorted(int(node) for node in found[2].split()))
        elif text.startswith((_PRIMARY, _NOT_PRIMARY)):
            self._read_turn(primary=text.startswith(_PRIMARY))
        elif text.startswith(_COMPLETED):
            self.nodelists[-1].certain = True
            self.syncs[-1][1] = at

    def _read_turn(self, *, primary: bool) -> None:
        # corosync logs only changes (`quorum_api_set_quorum`). The same line has been seen twice; then the
        # log lacks the opposite one, and says nothing about the memberships between the two.
        if primary == self.primary and self.turned:
            for logged in self.quorum[self.turned :]:
                logged.event[2] = UNKNOWN
        self.primary = primary
        self.turned = len(self.quorum) + 1

    def _read_list(self, at: float, name: str, nodes: list[int]) -> None:
        if name == "Members":
            self.quorum.append(Logged(at, ["quorum", self.ring, self.primary, nodes], certain=True))
            return
        if name == "Sync members":
            self.sync.clear()
            if not self.syncs or at > self.syncs[-1][1] + MARGIN:
                self.syncs.append([at, math.inf])
            self.syncs[-1][1] = math.inf
        self.sync[name] = nodes

    def synchronises(self, since: float, until: float) -> bool:
        """Whether one synchronisation covers this time."""
        return any(begin - MARGIN <= since and until <= end + MARGIN for begin, end in self.syncs)


class Log:
    """A node's log file, to which several corosyncs have written, one after another."""

    def __init__(self, path: Path) -> None:
        self.runs: list[Run] = []
        self._path = path
        self._offset = 0

    def update(self) -> None:
        """Read the new lines."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        complete = new[: new.rfind(b"\n") + 1]
        self._offset += len(complete)
        for line in complete.splitlines():
            if found := _LINE.match(line):
                self._read(_seconds(found[1], found[2]), found[4].decode())

    def _read(self, at: float, text: str) -> None:
        if _STARTED in text and "starting up" in text:
            self.runs.append(Run())
        elif self.runs:
            self.runs[-1].read(at, text)


def _seconds(text: bytes, milliseconds: bytes) -> float:
    """A log's time, which has no year, as seconds since the epoch."""
    year = time.localtime().tm_year
    return (
        time.mktime(time.strptime(f"{year} {text.decode()}", "%Y %b %d %H:%M:%S")) + int(milliseconds) / 1000
    )


def gap(
    history: Sequence[list[Any]],
    logged: Sequence[Logged],
    until: float,
    *,
    lost: bool,
    told_early: bool = False,
) -> str | None:
    """Why a history, which starts with the current state, is not a piece of the log; None if it is.

    With `told_early`, that state may belong to an event still to come: corosync knows a ring when its quorum
    service starts to synchronise (`quorum_sync_init`), and announces it when all nodes have done so
    (`quorum_sync_activate`). On a busy machine a tracker may start between the two.

    If the history ended because the daemon was `lost`, the daemon may have died between writing the log and
    sending the event, or before the log was written out.
    """
    first, rest = history[0], history[1:]
    reasons = []
    for start in range(len(logged), -1, -1):
        coming = told_early and start < len(logged) and logged[start].event[1] == first[1]
        if start and logged[start - 1].event[1] != first[1] and not coming:
            continue
        reason = _gap_from(start, rest, logged, until, lost)
        if reason is None:
            return None
        reasons.append(reason)
    return f"{history} is nowhere in the log: {reasons[:3]}"


def _gap_from(
    start: int, rest: Sequence[list[Any]], logged: Sequence[Logged], until: float, lost: bool
) -> str | None:
    place = start
    for event in rest:
        while place < len(logged) and logged[place].event != event:
            if logged[place].certain:
                return f"from {start}: {event} instead of {logged[place].event}"
            place += 1
        if place == len(logged) and not lost:
            return f"from {start}: {event} was not logged"
        place += 1
    missing = [one.event for one in logged[place:] if one.certain and one.at < until - MARGIN]
    return f"from {start}: {missing} are missing at the end" if len(missing) > int(lost) else None
