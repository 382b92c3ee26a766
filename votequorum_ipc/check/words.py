"""A configuration's effective rules in words: what is in force, what votequorum ignores, and why.

Every sentence is derived from the nodes' effective `Rules`, not from the file, so an option that votequorum
switches off is not described as if it were on.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..cluster import ClusterConfig, Rules, TieBreaker, effective_rules
from .devices import DeviceKind


def rules_in_words(config: ClusterConfig) -> list[str]:
    """The rules in force, a sentence each. Raises `ConfigurationError` where corosync would not start."""
    rules = effective_rules(config)
    return [*_votes(config, rules), *_options(config, rules)]


def _votes(config: ClusterConfig, rules: Rules) -> Iterator[str]:
    votes = [node.votes for node in config.nodes]
    if len(set(votes)) == 1:
        yield f"{_count(len(votes), 'node')}, {_count(votes[0], 'vote')} each."
    else:
        each = ", ".join(f"node {node.nodeid}: {node.votes}" for node in config.nodes)
        yield f"{_count(len(votes), 'node')} with uneven votes ({each})."
    if rules.has_device:
        device = _count(rules.device_votes or 0, "vote")
        yield f"A quorum device with {device}, counted on the nodes that it votes for."
    expected = max(rules.initial_expected_votes(0), sum(votes))
    counted = rules.nodelist_votes > sum(votes) or not rules.device_votes
    yield f"Expected votes {expected}: quorum is {expected // 2 + 1} votes."
    if not counted:
        total = sum(votes) + (rules.device_votes or 0)
        yield (
            "device.votes is set, so a node expects these votes only after it has seen them: then expected "
            f"votes are {total} and quorum is {total // 2 + 1}."
        )


def _options(config: ClusterConfig, rules: Rules) -> Iterator[str]:
    if rules.two_node:
        yield (
            "two_node: while at most two nodes are present, one vote is quorum. Each of two nodes that lose "
            "sight of each other stays quorate: fencing must decide, and this check does not look at fencing."
        )
        if len(config.nodes) > 2:
            yield (
                f"WARNING: two_node is meant for two nodes, and this cluster has {len(config.nodes)}. "
                "votequorum accepts it in silence, and every partition of one or two nodes is quorate."
            )
    if rules.wait_for_all:
        why = " (two_node implies it)" if config.wait_for_all is None else ""
        yield f"wait_for_all{why}: after a start, nodes are not quorate before all nodes were up at once."
    elif config.two_node and config.wait_for_all is False:
        yield "WARNING: wait_for_all is off: each node that starts alone is quorate at once."
    if rules.last_man_standing:
        yield (
            f"last_man_standing: {rules.last_man_standing_window / 1000:g} s after nodes are lost, the ones "
            "left are all that is expected, so a cluster can shrink step by step."
        )
    if rules.tie_breaker is not TieBreaker.NONE:
        yield f"auto_tie_breaker: of two equal halves, {_tie_breaker(rules)} stays quorate."
    if rules.allow_downscale:
        yield "allow_downscale: a node that is shut down cleanly takes its vote along."
    if rules.expected_votes_tracking:
        yield (
            "expected_votes_tracking: the most votes ever expected count. corosync 3.1.7 does not manage to "
            "store them, so a node that restarts has forgotten them; that is what is checked here."
        )


def _tie_breaker(rules: Rules) -> str:
    if rules.tie_breaker is TieBreaker.LIST:
        return f"the one with the first node of the list {' '.join(map(str, rules.tie_breaker_nodes))}"
    return f"the one with the {rules.tie_breaker.name.lower()} node id"


def switched_off(config: ClusterConfig) -> list[str]:
    """What votequorum switches off or ignores, and why."""
    rules = effective_rules(config)
    ignored = list(rules.warnings)
    if rules.expected_votes_tracking and config.expected_votes:
        ignored.append("expected_votes is ignored: expected_votes_tracking replaces it")
    if config.allow_downscale and not config.expected_votes_tracking:
        ignored.append("allow_downscale turns expected_votes_tracking on")
    total = sum(node.votes for node in config.nodes)
    if config.expected_votes and config.expected_votes < total and not rules.expected_votes_tracking:
        ignored.append(
            f"expected_votes {config.expected_votes} is less than the {total} votes of the node list: it "
            "counts only until nodes with more votes have been seen"
        )
    if rules.last_man_standing and any(node.votes > 1 for node in config.nodes):
        ignored.append("last_man_standing is switched off while it runs, as a node has more than one vote")
    return ignored


def and_others(alike: int) -> str:
    """What to add to a set of nodes that stands for `alike` sets, itself included."""
    return "" if alike < 2 else f" (same for {_count(alike - 1, 'other')})"


def device_in_words(kind: DeviceKind | None) -> list[str]:
    """How the check takes a quorum device to vote; nothing without one."""
    if kind is None:
        return []
    return [f"The check assumes a device that votes as {kind} does; --device assumes another."]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
