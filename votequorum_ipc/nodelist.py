"""The node list of corosync's configuration, as cmap has it: which node has which name and address.

Strategy: the keys are kept as they are reported, and the table of nodes is made from them when it is needed.
A reload of corosync.conf that removes a node moves the later ones up by one place, so a name's key may then
belong to another node. Source: cmap_keys(7).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .types import Value

PREFIX: Final = "nodelist."

_NODEID: Final = re.compile(r"(nodelist\.node\.\d+\.)nodeid")


class Nodelist:
    """The node list as far as it is known."""

    def __init__(self) -> None:
        self._keys: dict[str, Value] = {}
        self._changed = False
        self.nodes: dict[int, tuple[str, str]] = {}
        """Each node's name and first address by node id, empty if it has none."""

    @property
    def keys(self) -> dict[str, Value]:
        """All keys below `PREFIX`."""
        return self._keys

    @keys.setter
    def keys(self, keys: dict[str, Value]) -> None:
        self._keys = keys
        self.nodes = self._table()

    def change(self, key: str, value: Value | None) -> None:
        """Record a key's new value; None if the key was deleted."""
        self._changed = True
        if value is None:
            self._keys.pop(key, None)
        else:
            self._keys[key] = value

    def renamed(self) -> Iterator[tuple[int, str]]:
        """Bring `nodes` up to date; yields each node whose name has changed, and the new name."""
        if self._changed:
            self._changed = False
            before, self.nodes = self.nodes, self._table()
            for node_id, (name, _) in self.nodes.items():
                if name != before.get(node_id, ("", ""))[0]:
                    yield node_id, name

    def local_node_id(self) -> int:
        """The id of this node; 0 if the node list does not say."""
        position = self._keys.get("nodelist.local_node_pos")
        node_id = self._keys.get(f"nodelist.node.{position}.nodeid") if isinstance(position, int) else None
        return node_id if isinstance(node_id, int) else 0

    def _table(self) -> dict[int, tuple[str, str]]:
        nodes = {}
        for key, node_id in self._keys.items():
            match = _NODEID.fullmatch(key)
            if match and isinstance(node_id, int):
                nodes[node_id] = (self._text(match[1] + "name"), self._text(match[1] + "ring0_addr"))
        return nodes

    def _text(self, key: str) -> str:
        value = self._keys.get(key)
        return value if isinstance(value, str) else ""
