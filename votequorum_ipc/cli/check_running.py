"""The running cluster, for `check --running`: its configuration from cmap, and its status.

Strategy: cmap's keys are written as a corosync.conf and read like a file, so that both have the same rules.
Changes made at run time are not in cmap but in the status; differences are reported.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from ..cluster import ClusterConfig
from ..cmap import Cmap
from ..follow import cluster_status
from ..ipc import sibling
from ..types import ClusterStatus

_NODE: Final = re.compile(r"nodelist\.node\.(\d+)\.(\w+)")


async def running_cluster(address: str | None) -> tuple[str, ClusterStatus]:
    """The quorum section and the node list as a corosync.conf, and the status. Raises `CsError`."""
    async with await Cmap.initialize(address=sibling(address, "cmap")) as cmap:
        names = [*await cmap.keys("quorum."), *await cmap.keys("nodelist.node.")]
        values = await cmap.get_all(names)
    return conf_of(dict(values)), await cluster_status(address)


def conf_of(values: dict[str, object]) -> str:
    """The text of a corosync.conf with these cmap keys."""
    nodes: dict[int, list[str]] = defaultdict(list)
    lines = []
    for name, value in values.items():
        if found := _NODE.fullmatch(name):
            nodes[int(found[1])].append(f"{found[2]}: {value}")
        elif name.startswith("quorum."):
            *sections, key = name.split(".")
            opening = [f"{section} {{" for section in sections]
            lines += [*opening, f"{key}: {value}", *["}"] * len(sections)]
    lines.append("nodelist {")
    for _, keys in sorted(nodes.items()):
        lines += ["node {", *keys, "}"]
    return "\n".join([*lines, "}", ""])


def changed_since(config: ClusterConfig, status: ClusterStatus) -> Iterator[str]:
    """How the running cluster differs from its configuration. The check is of the configuration."""
    votes = {node.nodeid: node.votes for node in config.nodes}
    for member in status.members:
        if member.info is not None and member.info.node_votes != votes.get(member.node_id):
            yield (
                f"node {member.node_id} has {member.info.node_votes} votes now, and "
                f"{votes.get(member.node_id, 'none')} in the configuration, which is what is checked"
            )


def state_in_words(status: ClusterStatus) -> Iterator[str]:
    """The current state of the cluster in words."""
    members = " ".join(str(member.node_id) for member in status.members)
    yield f"{'Quorate' if status.quorate else 'Not quorate'}; members {members}."
    if status.margin is not None and status.margin.quorate:
        yield f"This partition {status.margin}."
