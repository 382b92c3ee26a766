"""The operator's configuration, and votequorum's interpretation of it.

`ClusterConfig` holds the settings under corosync.conf's names. `effective_rules` turns it into the `Rules`
that every node follows: it refuses combinations with which corosync does not start, disables the options that
votequorum disables, and computes the device's votes and the expected votes. A node never looks at the
configuration again, only at its `Rules`.

The order of the steps is part of the behaviour (an auto tie breaker that was just disabled no longer
conflicts with a device), so they stand in one list, in votequorum's order. Source: votequorum(5),
corosync.conf(5), and `votequorum_readconfig` of corosync 3.1.7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from ..types import PROCESSOR_COUNT_MAX, TieBreaker

PROVIDER = "corosync_votequorum"
"""The only quorum provider that there is (`quorum.provider`)."""

MAX_UINT32 = 2**32 - 1
"""Node ids, votes and timeouts are uint32 on the wire and in cmap."""

DEFAULT_LAST_MAN_STANDING_WINDOW = 10_000
DEFAULT_QDEVICE_TIMEOUT = 10_000
DEFAULT_QDEVICE_SYNC_TIMEOUT = 30_000
"""Milliseconds, all three (votequorum(5) and VOTEQUORUM_QDEVICE_DEFAULT_* in votequorum.h)."""


class ConfigurationError(ValueError):
    """votequorum refuses to start with this configuration."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One `nodelist.node`. `name` and `addresses` do not affect quorum; a daemon shows them."""

    nodeid: int
    votes: int = 1
    name: str = ""
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """`quorum.device`: whether a quorum device may vote, and with how many votes.

    `votes` None means not set: one less than the number of nodes. `timeout` is how long the device may
    stay silent and `sync_timeout` how long a membership change waits for it, both in milliseconds.
    """

    model: str = "net"
    votes: int | None = None
    timeout: int = DEFAULT_QDEVICE_TIMEOUT
    sync_timeout: int = DEFAULT_QDEVICE_SYNC_TIMEOUT


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """The settings of corosync.conf that concern quorum; the same on every node.

    `expected_votes` None means the sum of the nodes' votes. `wait_for_all` None means not set, so that it
    follows `two_node`. `auto_tie_breaker` is a `TieBreaker`, or the ids of the nodes to ask in turn.
    `last_man_standing_window` is in milliseconds. `provider` "" means none: then there is no votequorum, and
    every node is always quorate.
    """

    nodes: tuple[NodeConfig, ...]
    expected_votes: int | None = None
    two_node: bool = False
    wait_for_all: bool | None = None
    last_man_standing: bool = False
    last_man_standing_window: int = DEFAULT_LAST_MAN_STANDING_WINDOW
    auto_tie_breaker: TieBreaker | tuple[int, ...] = TieBreaker.NONE
    allow_downscale: bool = False
    expected_votes_tracking: bool = False
    device: DeviceConfig | None = None
    cluster_name: str = ""
    provider: str = PROVIDER

    @classmethod
    def of(cls, nodes: int | Iterable[int], **options: Any) -> ClusterConfig:
        """A cluster of that many nodes, or of these node ids, each with one vote."""
        nodeids = range(1, nodes + 1) if isinstance(nodes, int) else nodes
        return cls(nodes=tuple(NodeConfig(nodeid) for nodeid in nodeids), **options)

    @property
    def nodeids(self) -> tuple[int, ...]:
        """The nodes' ids, in the order of the configuration."""
        return tuple(node.nodeid for node in self.nodes)

    def node(self, nodeid: int) -> NodeConfig:
        """The configuration of one node; KeyError if there is no such node."""
        for node in self.nodes:
            if node.nodeid == nodeid:
                return node
        raise KeyError(nodeid)


def configuration(
    nodes: int | Iterable[int], options: Mapping[str, Any] = MappingProxyType({})
) -> ClusterConfig:
    """A configuration as an operator would write it: nodes called node1, node2, ..., each with one vote.

    `nodes` is how many, or their ids; `options` are the other fields of `ClusterConfig`.
    """
    config = ClusterConfig.of(nodes, **{"cluster_name": "simulated", **options})
    named = tuple(replace(node, name=f"node{node.nodeid}") for node in config.nodes)
    return replace(config, nodes=named)


@dataclass(slots=True)
class Rules:
    """The effective rules of a configuration. `warnings` are the adjustments, for the operator to read.

    `expected_votes` is what the configuration asks for; `nodelist_votes` the sum over the nodes (and the
    device, where its votes were worked out). Times are in milliseconds. `tie_breaker_was_set` distinguishes a
    disabled tie breaker from one that was not configured: cmap shows only the type of the former.
    `device_can_operate` is False once a reloaded configuration excludes a device: its calls get ACCESS.
    """

    two_node: bool
    wait_for_all: bool
    last_man_standing: bool
    last_man_standing_window: int
    tie_breaker: TieBreaker
    tie_breaker_nodes: tuple[int, ...]
    allow_downscale: bool
    expected_votes_tracking: bool
    has_device: bool
    device_votes: int | None
    device_timeout: int
    device_sync_timeout: int
    expected_votes: int
    nodelist_votes: int
    node_count: int
    tie_breaker_was_set: bool
    wait_for_all_follows_two_node: bool
    initial_tie_breaker: TieBreaker
    device_can_operate: bool = True
    warnings: list[str] = field(default_factory=list)

    def initial_expected_votes(self, tracked: int) -> int:
        """The expected votes of a node that starts; `tracked` is the highest value it has stored.

        With expected votes tracking, what is stored replaces `quorum.expected_votes` altogether, even
        when nothing is stored yet.
        """
        override = tracked if self.expected_votes_tracking else self.expected_votes
        return override or self.nodelist_votes


def effective_rules(config: ClusterConfig) -> Rules:
    """The effective rules of a configuration; `ConfigurationError` if votequorum refuses to start."""
    check_ranges(config)
    rules = _as_written(config)
    for step in _STEPS if config.provider else ():
        step(rules)
    return rules


def reloaded_rules(before: Rules, config: ClusterConfig, *, device_is_registered: bool) -> Rules:
    """The rules of a running node after its configuration was reloaded.

    Votes, expected votes, two_node and the device change; the other options stay as they were at the start.
    Settings with which corosync would not start only exclude the device here. `config` has passed
    `check_ranges`.
    """
    written = _as_written(config)
    follows = before.wait_for_all_follows_two_node
    rules = replace(
        before,
        two_node=written.two_node,
        wait_for_all=written.two_node if follows else before.wait_for_all,
        tie_breaker=before.initial_tie_breaker,
        has_device=written.has_device,
        device_votes=written.device_votes,
        device_timeout=written.device_timeout if written.has_device else before.device_timeout,
        device_sync_timeout=written.device_sync_timeout if written.has_device else before.device_sync_timeout,
        expected_votes=written.expected_votes,
        nodelist_votes=written.nodelist_votes,
        node_count=written.node_count,
        device_can_operate=before.device_can_operate or written.has_device,
        warnings=[],
    )
    if rules.two_node and rules.has_device and device_is_registered:
        rules.two_node = False
        rules.wait_for_all = False if follows else rules.wait_for_all
    for step in _STEPS:
        try:
            step(rules)
        except ConfigurationError as error:
            rules.device_can_operate = rules.device_can_operate and not rules.has_device
            rules.warnings.append(str(error))
    return rules


def check_ranges(config: ClusterConfig) -> None:
    """Raise `ConfigurationError` for numbers that corosync cannot hold, and for an unknown provider."""
    if config.provider not in ("", PROVIDER):
        raise ConfigurationError(f"quorum.provider is {config.provider!r}; the only one known is {PROVIDER}")
    nodeids = config.nodeids
    if not 1 <= len(nodeids) <= PROCESSOR_COUNT_MAX:
        raise ConfigurationError(f"a cluster has 1 to {PROCESSOR_COUNT_MAX} nodes, not {len(nodeids)}")
    if len(set(nodeids)) != len(nodeids):
        raise ConfigurationError("two nodes have the same node id")
    numbers = {
        "nodeid": (1, nodeids),
        "quorum_votes": (0, [node.votes for node in config.nodes]),
        "expected_votes": (0, [config.expected_votes or 0]),
        "last_man_standing_window": (0, [config.last_man_standing_window]),
    }
    if config.device is not None:
        numbers["device.votes"] = (0, [config.device.votes or 0])
        numbers["device.timeout"] = (1, [config.device.timeout])
        numbers["device.sync_timeout"] = (1, [config.device.sync_timeout])
    for name, (least, values) in numbers.items():
        for value in values:
            if not least <= value <= MAX_UINT32:
                raise ConfigurationError(f"{name} is {least} to {MAX_UINT32}, not {value}")


def _as_written(config: ClusterConfig) -> Rules:
    tie_breaker = config.auto_tie_breaker
    nodes = () if isinstance(tie_breaker, TieBreaker) else tie_breaker
    device = config.device if config.device is not None and config.device.model else None
    times = device or DeviceConfig()
    return Rules(
        two_node=config.two_node,
        wait_for_all=config.two_node if config.wait_for_all is None else config.wait_for_all,
        last_man_standing=config.last_man_standing,
        last_man_standing_window=config.last_man_standing_window,
        tie_breaker=tie_breaker if isinstance(tie_breaker, TieBreaker) else TieBreaker.LIST,
        tie_breaker_nodes=nodes,
        allow_downscale=config.allow_downscale,
        expected_votes_tracking=config.expected_votes_tracking or config.allow_downscale,
        has_device=device is not None,
        device_votes=device.votes if device else 0,
        device_timeout=times.timeout,
        device_sync_timeout=times.sync_timeout,
        expected_votes=config.expected_votes or 0,
        nodelist_votes=sum(node.votes for node in config.nodes),
        node_count=len(config.nodes),
        tie_breaker_was_set=tie_breaker is not TieBreaker.NONE,
        wait_for_all_follows_two_node=config.wait_for_all is None,
        initial_tie_breaker=tie_breaker if isinstance(tie_breaker, TieBreaker) else TieBreaker.LIST,
    )


def _refuse_two_node_with_device(rules: Rules) -> None:
    if rules.two_node and rules.has_device:
        raise ConfigurationError("two_node and a quorum device cannot be configured at the same time")


def _prefer_tie_breaker_to_two_node(rules: Rules) -> None:
    """An implied wait_for_all stays on: votequorum has derived it by now."""
    if rules.two_node and rules.tie_breaker is not TieBreaker.NONE:
        rules.two_node = False
        rules.warnings.append("two_node is not compatible with auto_tie_breaker and has been disabled")


def _tie_breaker_with_odd_votes_needs_wait_for_all(rules: Rules) -> None:
    """Otherwise an isolated half plus one without the tie breaker node would be quorate after a reboot."""
    odd = rules.nodelist_votes % 2 == 1
    if rules.tie_breaker is TieBreaker.NONE or not odd or rules.wait_for_all:
        return
    if rules.last_man_standing:
        raise ConfigurationError(
            "auto_tie_breaker and last_man_standing are not available in an odd sized cluster "
            "without wait_for_all"
        )
    rules.tie_breaker = TieBreaker.NONE
    rules.warnings.append(
        "auto_tie_breaker needs wait_for_all in a cluster with an odd number of votes and has been disabled"
    )


def _refuse_options_that_exclude_a_device(rules: Rules) -> None:
    conflicts = {
        "last_man_standing": rules.last_man_standing,
        "auto_tie_breaker": rules.tie_breaker is not TieBreaker.NONE,
        "allow_downscale": rules.allow_downscale,
    }
    for option, is_set in conflicts.items():
        if rules.has_device and is_set:
            raise ConfigurationError(f"a quorum device is not compatible with {option}")


def _refuse_unknown_device_votes(rules: Rules) -> None:
    if not rules.has_device or rules.device_votes is not None:
        return
    if rules.expected_votes:
        raise ConfigurationError("device.votes must be specified when expected_votes is set")
    if rules.node_count != rules.nodelist_votes:
        raise ConfigurationError("device.votes must be specified when not all nodes have one vote")


def _refuse_device_that_outvotes_the_nodes(rules: Rules) -> None:
    if rules.device_votes and rules.expected_votes and rules.expected_votes - rules.device_votes < 2:
        raise ConfigurationError("device.votes is too high or expected_votes is too low")


def _work_out_device_votes(rules: Rules) -> None:
    """Only computed votes count as expected at once; configured ones count after they have been seen."""
    can_tell = not rules.expected_votes and rules.node_count == rules.nodelist_votes
    if rules.device_votes is None and can_tell:
        rules.device_votes = rules.nodelist_votes - 1
        rules.nodelist_votes += rules.device_votes


_STEPS: tuple[Callable[[Rules], None], ...] = (
    _refuse_two_node_with_device,
    _prefer_tie_breaker_to_two_node,
    _tie_breaker_with_odd_votes_needs_wait_for_all,
    _refuse_options_that_exclude_a_device,
    _refuse_unknown_device_votes,
    _refuse_device_that_outvotes_the_nodes,
    _work_out_device_votes,
)
