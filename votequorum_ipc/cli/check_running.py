"""The configuration of the corosync that runs here, as a corosync.conf would say it."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final

from ..cmap import Cmap

_NODE: Final = re.compile(r"nodelist\.node\.(\d+)\.(\w+)")


async def running_configuration(address: str | None) -> str:
    """The quorum section and the node list, read from cmap. Raises `CsError` where that fails."""
    async with await Cmap.initialize(address=address) as cmap:
        names = [*await cmap.keys("quorum."), *await cmap.keys("nodelist.node.")]
        values = {name: await cmap.get_or_none(name) for name in names}
    return conf_of({name: value for name, value in values.items() if value is not None})


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
