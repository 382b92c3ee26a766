"""Cluster configurations, and events in a cluster, for the model and for the embedded daemon.

Strategy: a configuration is drawn with any combination of options, and kept if corosync would start with it.
Events are calls of the model's own functions, by name, with nodes of that configuration. An event that is
impossible at its moment does nothing, so any part of a sequence is a valid sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from ..cluster import (
    Cluster,
    ClusterConfig,
    ConfigurationError,
    DeviceConfig,
    NodeConfig,
    TieBreaker,
    effective_rules,
)


@dataclass(frozen=True)
class Happening:
    """Something that happens to a cluster: a function of `votequorum_ipc.cluster.Cluster`, and its
    arguments.
    """

    name: str
    """"up", "kill", "leave", "reform", "partition", "heal" or "advance"."""
    arguments: tuple[Any, ...] = ()

    def happen(self, cluster: Any) -> Any:
        """Apply it to a `Cluster`, or to a similar object such as `testing.SimulatedCluster`.

        An impossible event, such as a new ring for a node that is down, does nothing.
        """
        model: Cluster = getattr(cluster, "model", cluster)
        if self.name == "reform" and any(nodeid not in model.nodes for nodeid in self.arguments):
            return []
        return getattr(cluster, self.name)(*self.arguments)


def starts(config: ClusterConfig) -> bool:
    """Whether corosync would start with this configuration."""
    try:
        effective_rules(config)
    except ConfigurationError:
        return False
    return True


def devices() -> st.SearchStrategy[DeviceConfig]:
    """Quorum devices."""
    return st.builds(DeviceConfig, votes=st.none() | st.integers(0, 4))


def cluster_configs(most_nodes: int = 6) -> st.SearchStrategy[ClusterConfig]:
    """Configurations that corosync starts with."""
    nodes = st.lists(st.integers(1, 9), min_size=1, max_size=most_nodes, unique=True).flatmap(
        lambda nodeids: st.tuples(*[st.builds(NodeConfig, st.just(n), st.integers(0, 3)) for n in nodeids])
    )
    booleans = st.just(False) | st.booleans()
    return st.builds(
        ClusterConfig,
        nodes,
        expected_votes=st.none() | st.integers(1, 12),
        two_node=booleans,
        wait_for_all=st.none() | st.booleans(),
        last_man_standing=booleans,
        auto_tie_breaker=st.just(TieBreaker.NONE) | st.sampled_from([TieBreaker.LOWEST, TieBreaker.HIGHEST]),
        allow_downscale=booleans,
        expected_votes_tracking=booleans,
        device=st.none() | devices(),
    ).filter(starts)


def happenings(config: ClusterConfig, most: int = 20) -> st.SearchStrategy[tuple[Happening, ...]]:
    """Events in a cluster with this configuration."""
    node = st.sampled_from(config.nodeids)
    on_a_node = st.builds(
        lambda name, nodeid: Happening(name, (nodeid,)),
        st.sampled_from(["up", "up", "kill", "leave", "reform"]),
        node,
    )
    cut = st.sets(node).map(lambda group: Happening("partition", (tuple(sorted(group)),)))
    time = st.sampled_from([0.5, 5.0, 10.0, 30.0]).map(lambda seconds: Happening("advance", (seconds,)))
    return st.lists(st.one_of(on_a_node, cut, st.just(Happening("heal")), time), max_size=most).map(tuple)
