"""A status in sentences: why there is no quorum, and what in the configuration looks wrong.

Strategy: pure functions of a `ClusterStatus`, so every command uses the same words. They follow votequorum's
own decision (`are_we_quorate` in exec/votequorum.c): first wait_for_all, then the votes, then the tie breaker
and the device, which can make up for missing votes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from .types import ClusterStatus, ConfiguredNode, InfoFlags, Link, NodeInfo, QuorumType

CONFIGURED_FLAGS: Final = (
    InfoFlags.TWONODE
    | InfoFlags.WAIT_FOR_ALL
    | InfoFlags.LAST_MAN_STANDING
    | InfoFlags.AUTO_TIE_BREAKER
    | InfoFlags.ALLOW_DOWNSCALE
)
"""Flags that come from the configuration. Nodes with the same configuration have the same flags."""


def why_not_quorate(status: ClusterStatus) -> str:
    """Why this node's partition has no quorum, in one sentence; empty if it has quorum.

    For example "2 of 5 votes are present; 3 are needed; node 3, 4, 5 are missing". If the daemon has no
    quorum provider, the sentence says so.
    """
    if status.quorum_type is QuorumType.FREE:
        return "no quorum provider is configured, so corosync cannot tell"
    if status.quorate or status.info is None:
        return ""
    reasons = [*_votes(status.info), *_missing(status.missing), *_device(status.info)]
    return "; ".join(reasons)


def node_label(node_id: int, name: str) -> str:
    """A node's name in a sentence."""
    return name or f"node {node_id}"


def nodes_label(nodes: Iterable[ConfiguredNode]) -> str:
    """Several nodes in a sentence."""
    return ", ".join(node_label(node.node_id, node.name) for node in nodes)


def _votes(info: NodeInfo) -> Iterator[str]:
    present, expected, needed = info.total_votes, info.node_expected_votes, info.quorum
    if InfoFlags.WAIT_FOR_ALL in info.flags:
        yield (
            f"wait_for_all: {present} of {expected} votes {_are(present)} present, and all of them must be "
            "present at once before there is quorum"
        )
    elif present < needed:
        yield f"{present} of {expected} votes {_are(present)} present; {needed} {_are(needed)} needed"
    if InfoFlags.AUTO_TIE_BREAKER in info.flags and 2 * present == expected:
        yield "this half does not have the node that breaks ties"


def _missing(nodes: tuple[ConfiguredNode, ...]) -> Iterator[str]:
    if nodes:
        yield f"{nodes_label(nodes)} {_are(len(nodes))} missing"


def _device(info: NodeInfo) -> Iterator[str]:
    if not info.qdevice_votes or InfoFlags.QDEVICE_CAST_VOTE in info.flags:
        return
    if InfoFlags.QDEVICE_REGISTERED not in info.flags:
        yield "the quorum device does not run on this node"
    elif InfoFlags.QDEVICE_ALIVE not in info.flags:
        yield "the quorum device on this node does not answer in time"
    else:
        yield "the quorum device is alive and votes no"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


# --- what looks wrong between nodes ---


def connectivity_remarks(status: ClusterStatus, links: Iterable[Link]) -> list[str]:
    """Sentences about disagreements between this node's links and its membership.

    A node knows only its own links. If two other nodes do not hear each other, one of them appears here as
    connected but not a member.
    """
    members = {member.node_id for member in status.members}
    connected: dict[int, bool] = {}
    for link in links:
        connected[link.node_id] = connected.get(link.node_id, False) or link.status.connected
    names = {node.node_id: node.name for node in status.configured}
    remarks = []
    for node_id, hears in connected.items():
        node = node_label(node_id, names.get(node_id, ""))
        if hears and node_id not in members:
            remarks.append(
                f"{node} is connected, but not a member: it is joining, or it and another member do not hear "
                "each other (see votequorum-ipc links there)"
            )
        elif not hears and node_id in members:
            remarks.append(f"no link to {node} is connected, though it is a member: it is about to be lost")
    return remarks


# --- what looks wrong in the configuration ---


def configuration_warnings(status: ClusterStatus) -> dict[str, str]:
    """What looks wrong in the configuration of a running cluster: short names, each with a sentence.

    Empty if nothing does. `WARNINGS` has all names that can appear. A cluster may be in such a state on
    purpose for a while, for example while its configuration is changed node by node.
    """
    found = {name: test(status) for name, test in WARNINGS.items()}
    return {name: sentence for name, sentence in found.items() if sentence}


def _expected_votes_differ(status: ClusterStatus) -> str:
    return _differ(
        "expected votes", {node: info.node_expected_votes for node, info in _infos(status).items()}
    )


def _options_differ(status: ClusterStatus) -> str:
    flags = {node: int(info.flags & CONFIGURED_FLAGS) for node, info in _infos(status).items()}
    return _differ("quorum options", flags, show=lambda flags: InfoFlags(flags).name or "none")


def _device_not_everywhere(status: ClusterStatus) -> str:
    infos = _infos(status)
    without = [node for node, info in infos.items() if InfoFlags.QDEVICE_REGISTERED not in info.flags]
    if not without or len(without) == len(infos):
        return ""
    return f"the quorum device does not run on {_these(without)}, but on other members"


def _unlisted_member(status: ClusterStatus) -> str:
    if not status.configured:
        return ""
    known = {node.node_id for node in status.configured}
    unlisted = [member.node_id for member in status.members if member.node_id not in known]
    return f"{_these(unlisted)} is a member, but not in this node's node list" if unlisted else ""


def _two_node_with_more(status: ClusterStatus) -> str:
    if status.info is None or InfoFlags.TWONODE not in status.info.flags or len(status.configured) <= 2:
        return ""
    return f"two_node is set, but the node list has {len(status.configured)} nodes"


WARNINGS: Final[Mapping[str, Callable[[ClusterStatus], str]]] = {
    "expected_votes_differ": _expected_votes_differ,
    "options_differ": _options_differ,
    "device_not_everywhere": _device_not_everywhere,
    "unlisted_member": _unlisted_member,
    "two_node_with_more": _two_node_with_more,
}
"""Each warning's short name and the function that looks for it, which returns a sentence or an empty text."""


def _infos(status: ClusterStatus) -> dict[int, NodeInfo]:
    return {member.node_id: member.info for member in status.members if member.info is not None}


def _differ(what: str, values: Mapping[int, int], show: Callable[[int], str] = str) -> str:
    if len(set(values.values())) <= 1:
        return ""
    told = ", ".join(f"{show(value)} on node {node}" for node, value in values.items())
    return f"the members' {what} differ: {told}"


def _these(nodes: Iterable[int]) -> str:
    return "node " + ", ".join(map(str, nodes))
