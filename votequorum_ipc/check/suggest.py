"""Configurations that survive the failures an administrator names, each tested before it is suggested.

Strategy: a table of the configurations that people choose among, from votes alone to a quorum device or more
nodes. A candidate is suggested if the cluster keeps quorum through each failure of the wish, both when nodes
stop and when they only lose their network. The whole check then runs with it. Candidates are ranked by what
is still wrong, then by cost.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Final

from ..cluster import ClusterConfig, DeviceConfig, NodeConfig
from .devices import DeviceKind
from .events import Group
from .failures import Failures
from .report import Checked, Reachability, Report, check
from .search import Bounds, Progress, Stopped

_MORE_NODES: Final = 3
"""How many nodes a suggestion may add."""


class Wish(enum.StrEnum):
    """The failures that a cluster should survive."""

    ANY_NODE = "any-node"
    ANY_2_NODES = "any-2-nodes"
    SITE = "site"


@dataclass(frozen=True)
class Wanted:
    """A wish for a cluster of these nodes. `sites` are groups of nodes that fail together."""

    wish: Wish
    nodeids: Group
    sites: tuple[Group, ...] = ()

    def __post_init__(self) -> None:
        if len(self.nodeids) < 2:
            raise ValueError("a wish needs two nodes or more")
        listed = [nodeid for site in self.sites for nodeid in site]
        if len(set(listed)) < len(listed):
            raise ValueError("a node is at two sites")
        if unknown := sorted(set(listed).difference(self.nodeids)):
            raise ValueError(f"node {unknown[0]} is at a site and not in the cluster")
        if self.wish is Wish.SITE and (len(self.sites) < 2 or set(listed) != set(self.nodeids)):
            raise ValueError("the wish 'site' needs every node at one of two or more sites")

    @property
    def losses(self) -> list[Group]:
        """The sets of nodes whose failure the cluster must survive."""
        if self.wish is Wish.SITE:
            return list(self.sites)
        return list(combinations(self.nodeids, 1 if self.wish is Wish.ANY_NODE else 2))

    def __str__(self) -> str:
        nodes = f"{len(self.nodeids)} nodes"
        if self.wish is Wish.SITE:
            sites = " | ".join(" ".join(map(str, site)) for site in self.sites)
            return f"{nodes} at {len(self.sites)} sites ({sites}), to survive the loss of any one site"
        which = "any one node" if self.wish is Wish.ANY_NODE else "any two nodes at the same moment"
        return f"{nodes}, to survive the loss of {which}"


@dataclass(frozen=True)
class Suggestion:
    """A configuration that has what was wished for.

    `nodeids_to_add` are nodes that the cluster does not have yet. `without_device` is how many nodes may fail
    while the quorum device is down: None without a device, -1 if its failure alone ends quorum.
    """

    name: str
    config: ClusterConfig
    device: DeviceKind | None
    nodeids_to_add: Group
    without_device: int | None
    report: Report
    costs: tuple[str, ...]


@dataclass(frozen=True)
class _Candidate:
    """`price` orders candidates that are equally safe; 1 is about what an option costs, 10 a machine."""

    name: str
    config: ClusterConfig
    price: int
    cost: str
    device: DeviceKind | None = None
    added: Group = ()


def suggestions(
    wanted: Wanted,
    *,
    seconds: float,
    processes: int = 1,
    progress: Callable[[str, Progress], None] | None = None,
) -> list[Suggestion]:
    """The configurations that have what is wanted, the best first; empty if there is none.

    Each search gets `seconds` and `processes`; `progress` is called with the name of the candidate.
    `KeyboardInterrupt` ends the search that runs and leaves the rest out.
    """
    found = []
    for candidate in _candidates(wanted):
        failures = Failures(Checked(candidate.config, candidate.device).successors())
        if not _has(wanted, candidate, failures):
            continue
        report = check(
            candidate.config,
            device=candidate.device,
            bounds=Bounds(seconds=seconds),
            processes=processes,
            progress=None if progress is None else partial(progress, candidate.name),
        )
        found.append((candidate, _suggestion(candidate, failures, report)))
        if report.effort.stopped is Stopped.INTERRUPTED:
            break
    found.sort(key=lambda pair: (*_faults(pair[1].report), pair[0].price))
    return [suggestion for _, suggestion in found]


def _candidates(wanted: Wanted) -> Iterator[_Candidate]:
    nodes = tuple(NodeConfig(nodeid) for nodeid in wanted.nodeids)
    plain = ClusterConfig(nodes)
    count = len(nodes)
    apart = "at another site" if wanted.wish is Wish.SITE else "outside of the cluster"
    machine = f"needs a machine for corosync-qnetd, {apart}"
    yield _Candidate("votes alone", plain, 0, "needs nothing besides the nodes")
    if count == 2:
        cost = "needs fencing that works: two nodes that lose sight of each other both stay quorate"
        yield _Candidate("two_node", replace(plain, two_node=True), 1, cost)
    if count % 2 == 0:
        device = replace(plain, device=DeviceConfig(votes=1))
        yield _Candidate("quorum device, ffsplit", device, 10, machine, DeviceKind.FFSPLIT)
    if count > 2:
        device = replace(plain, device=DeviceConfig(votes=count - 1))
        yield _Candidate("quorum device, lms", device, 12, machine, DeviceKind.LMS)
    yield from _with_more_nodes(wanted, nodes)


def _with_more_nodes(wanted: Wanted, nodes: tuple[NodeConfig, ...]) -> Iterator[_Candidate]:
    """Votes alone, with as few more nodes as it takes."""
    highest = max(wanted.nodeids)
    for more in range(_MORE_NODES + 1):
        added = tuple(range(highest + 1, highest + 1 + more))
        config = ClusterConfig((*nodes, *map(NodeConfig, added)))
        candidate = _Candidate(_more(more), config, 11 * more, _needed(added, wanted), added=added)
        if _has(wanted, candidate, Failures(Checked(config).successors())):
            if more:
                yield candidate
            return


def _more(count: int) -> str:
    return f"votes alone, {count} more node{'' if count == 1 else 's'}"


def _needed(added: Group, wanted: Wanted) -> str:
    noun = "node" if len(added) == 1 else "nodes"
    where = " at another site" if wanted.wish is Wish.SITE else ""
    return f"needs {noun} {' '.join(map(str, added))} in the nodelist as well{where}"


def _has(wanted: Wanted, candidate: _Candidate, failures: Failures) -> bool:
    """Whether a candidate survives each loss, by a crash and by a cut of the network."""
    losses = wanted.losses
    if candidate.added:
        sites = (*wanted.sites, candidate.added) if wanted.sites else ()
        losses = Wanted(wanted.wish, candidate.config.nodeids, sites).losses
    everybody = candidate.config.nodeids
    for lost in losses:
        left = tuple(nodeid for nodeid in everybody if nodeid not in lost)
        if not left or not failures.quorate_in((left,)) or not failures.quorate_in((left, lost)):
            return False
    return True


def _suggestion(candidate: _Candidate, failures: Failures, report: Report) -> Suggestion:
    without = failures.tolerated(device=True) if candidate.device else None
    return Suggestion(
        name=candidate.name,
        config=candidate.config,
        device=candidate.device,
        nodeids_to_add=candidate.added,
        without_device=without,
        report=report,
        costs=tuple(_costs(candidate, without, report)),
    )


def _costs(candidate: _Candidate, without: int | None, report: Report) -> Iterator[str]:
    yield candidate.cost
    if without is not None:
        yield {
            -1: "when the device fails, quorum is lost",
            0: "while the device is down, no node may fail",
            1: "while the device is down, any one node may fail",
        }.get(without, f"while the device is down, any {without} nodes may fail")
    nodes = len(candidate.config.nodes)
    needed = min(map(len, report.cold_start), default=nodes)
    yield f"after a power cut, {needed} of {nodes} nodes must start before there is quorum"


def _faults(report: Report) -> tuple[int, int]:
    """How much is wrong with a candidate, and how much of it is not settled."""
    bad = [verdict for verdict in report.verdicts if verdict.is_bad]
    happens = sum(verdict.outcome is Reachability.HAPPENS for verdict in bad)
    return happens, sum(verdict.outcome is not Reachability.CANNOT_HAPPEN for verdict in bad) - happens


def quorum_section(suggestion: Suggestion) -> str:
    """The quorum section of its corosync.conf, ready to paste. The host of a device is an example."""
    lines = ["quorum {", "    provider: corosync_votequorum"]
    if suggestion.config.two_node:
        lines.append("    two_node: 1")
    device = suggestion.config.device
    if device is not None:
        lines += ["    device {", "        model: net", f"        votes: {device.votes}", "        net {"]
        lines += ["            host: qnetd.example.com", f"            algorithm: {suggestion.device}"]
        lines += ["        }", "    }"]
    return "\n".join([*lines, "}", ""])
