"""The cmap keys of a node: the content of corosync.conf, with corosync's names and types.

Only settings that differ from corosync's defaults have keys, just as corosync has keys only for what its file
says. Sources: cmap_keys(7); the types are `main_config_parser_cb`'s in exec/coroparse.c of corosync 3.1.7.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from ... import cluster
from ...cluster.config import DEFAULT_LAST_MAN_STANDING_WINDOW, MAX_UINT32
from ...types import Value, ValueType
from ...wire.cmap import NUMBERS, encode_value

_LOOPBACK: Final = ipaddress.IPv4Address("127.0.0.0")
_LOOPBACK_NODES: Final = 1 << 24


class Key(NamedTuple):
    """A value as cmap stores it."""

    type: ValueType
    raw: bytes

    @classmethod
    def of(cls, type_: ValueType, value: Value) -> Key:
        return cls(type_, encode_value(type_, value))


CmapKeys = dict[str, Key]


def addresses(node: cluster.NodeConfig) -> tuple[str, ...]:
    """A node's addresses, one for each link; one made from its id if the configuration has none."""
    return node.addresses or (str(_LOOPBACK + node.nodeid % _LOOPBACK_NODES),)


def configured(config: cluster.ClusterConfig, nodeid: int, transport: str) -> CmapKeys:
    """The keys of a node's configuration."""
    rows: tuple[_Row, ...] = (
        ("totem.", ValueType.STRING, {"cluster_name": config.cluster_name or None, "transport": "knet"}),
        ("totem.", ValueType.UINT32, {"version": 2}),
        ("system.", ValueType.STRING, {"qb_ipc_type": transport}),
        ("nodelist.", ValueType.UINT32, {"local_node_pos": config.nodeids.index(nodeid)}),
        *_quorum(config),
        *_device(config.device),
        *(row for at, node in enumerate(config.nodes) for row in _node(at, node)),
    )
    return {
        prefix + name: Key.of(type_, value)
        for prefix, type_, values in rows
        for name, value in values.items()
        if value is not None
    }


_Values = dict[str, str | int | None]
_Row = tuple[str, ValueType, _Values]
"""A prefix of keys, their type, and the rest of their names with their values."""


def _quorum(config: cluster.ClusterConfig) -> tuple[_Row, ...]:
    tie_breaker = config.auto_tie_breaker
    flags: _Values = {
        "two_node": config.two_node or None,
        "wait_for_all": config.wait_for_all,
        "last_man_standing": config.last_man_standing or None,
        "auto_tie_breaker": tie_breaker is not cluster.TieBreaker.NONE or None,
        "allow_downscale": config.allow_downscale or None,
        "expected_votes_tracking": config.expected_votes_tracking or None,
    }
    numbers: _Values = {
        "expected_votes": config.expected_votes,
        "last_man_standing_window": _unless(
            config.last_man_standing_window, DEFAULT_LAST_MAN_STANDING_WINDOW
        ),
    }
    texts: _Values = {
        "provider": config.provider or None,
        "auto_tie_breaker_node": _tie_breaker_node(tie_breaker),
    }
    return (
        ("quorum.", ValueType.UINT8, flags),
        ("quorum.", ValueType.UINT32, numbers),
        ("quorum.", ValueType.STRING, texts),
    )


def _tie_breaker_node(tie_breaker: cluster.TieBreaker | tuple[int, ...]) -> str | None:
    if not isinstance(tie_breaker, cluster.TieBreaker):
        return " ".join(map(str, tie_breaker))
    return "highest" if tie_breaker is cluster.TieBreaker.HIGHEST else None


def _device(device: cluster.DeviceConfig | None) -> tuple[_Row, ...]:
    if device is None:
        return ()
    usual = cluster.DeviceConfig()
    numbers: _Values = {
        "votes": device.votes,
        "timeout": _unless(device.timeout, usual.timeout),
        "sync_timeout": _unless(device.sync_timeout, usual.sync_timeout),
    }
    return (
        ("quorum.device.", ValueType.STRING, {"model": device.model}),
        ("quorum.device.", ValueType.UINT32, numbers),
    )


def _node(at: int, node: cluster.NodeConfig) -> tuple[_Row, ...]:
    prefix = f"nodelist.node.{at}."
    texts: _Values = {f"ring{link}_addr": address for link, address in enumerate(addresses(node))}
    texts["name"] = node.name or None
    return (
        (prefix, ValueType.STRING, texts),
        (prefix, ValueType.UINT32, {"nodeid": node.nodeid, "quorum_votes": _unless(node.votes, 1)}),
    )


def _unless(value: int, usual: int) -> int | None:
    return None if value == usual else value


class Members:
    """The keys below `runtime.members.`: which nodes have ever been members, how often they joined, and
    whether they are members now (`member_object_joined` and `member_object_left` in exec/main.c)."""

    def __init__(self, config: cluster.ClusterConfig) -> None:
        self.read(config)
        self._joins: dict[int, int] = {}
        self._present: frozenset[int] = frozenset()

    def read(self, config: cluster.ClusterConfig) -> None:
        """Record a configuration, the first or a changed one."""
        self._addresses = {node.nodeid: addresses(node) for node in config.nodes}

    def update(self, present: frozenset[int]) -> None:
        """Record the current membership."""
        for nodeid in present - self._present:
            self._joins[nodeid] = self._joins.get(nodeid, 0) + 1
        self._present = present

    def keys(self) -> CmapKeys:
        """The current keys."""
        keys: CmapKeys = {}
        for nodeid, joins in self._joins.items():
            prefix = f"runtime.members.{nodeid}."
            links = (f"r({link}) ip({address}) " for link, address in enumerate(self._addresses[nodeid]))
            status = "joined" if nodeid in self._present else "left"
            keys[prefix + "config_version"] = Key.of(ValueType.UINT64, 0)
            keys[prefix + "ip"] = Key.of(ValueType.STRING, "".join(links))
            keys[prefix + "join_count"] = Key.of(ValueType.UINT32, joins)
            keys[prefix + "status"] = Key.of(ValueType.STRING, status)
        return keys


def runtime(values: dict[str, cluster.RuntimeValue]) -> CmapKeys:
    """The keys that votequorum has set while it runs."""
    return {
        name: Key.of(type_, value & (0xFF if type_ is ValueType.UINT8 else MAX_UINT32))
        for name, (type_, value) in values.items()
    }


def rewritten(config: cluster.ClusterConfig, keys: Callable[[str], Key | None]) -> cluster.ClusterConfig:
    """A configuration as one node reads it from its keys: `quorum.` from the keys, the rest unchanged.

    A key of another type than corosync's counts as missing (`votequorum_readconfig`).
    """

    def number(name: str, type_: ValueType) -> int | None:
        key = keys(name)
        return int(NUMBERS[type_].unpack(key.raw)[0]) if key and key.type is type_ else None

    def setting(name: str, usual: int) -> int:
        value = number(f"quorum.device.{name}", ValueType.UINT32)
        return usual if value is None else value

    model = keys("quorum.device.model")
    device = None
    if model is not None and model.type is ValueType.STRING and model.raw != b"\0":
        usual = cluster.DeviceConfig()
        device = cluster.DeviceConfig(
            model=model.raw[:-1].decode("utf-8", "surrogateescape"),
            votes=number("quorum.device.votes", ValueType.UINT32),
            timeout=setting("timeout", usual.timeout),
            sync_timeout=setting("sync_timeout", usual.sync_timeout),
        )
    return replace(
        config,
        expected_votes=number("quorum.expected_votes", ValueType.UINT32),
        two_node=bool(number("quorum.two_node", ValueType.UINT8)),
        device=device,
    )
