"""Long random walks, far beyond the depth of a search: what "cannot happen" rules out never happens.

  python -m tests.check.walks [--steps N] [--vqsim-steps N] [--seed S]

A walk does not use the check. It drives the cluster model as a user would, or corosync-vqsim, which runs
corosync's own code. Nodes crash and start, the network regroups, time passes, and any member of a ring may
speak first. `make model-check` runs it; the tests take a few steps.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Collection, Iterable

from votequorum_ipc.cli.vqsim_process import Vqsim, why_unavailable
from votequorum_ipc.cluster import Cluster, ClusterConfig, NodeConfig, TieBreaker

SAFE: dict[str, ClusterConfig] = {
    "two": ClusterConfig.of(2),
    "three": ClusterConfig.of(3),
    "three waiting": ClusterConfig.of(3, wait_for_all=True),
    "four": ClusterConfig.of(4),
    "four waiting": ClusterConfig.of(4, wait_for_all=True),
    "five": ClusterConfig.of(5),
    "uneven": ClusterConfig((NodeConfig(1, votes=2), NodeConfig(2), NodeConfig(3))),
    "a tie breaker of two": ClusterConfig.of(2, auto_tie_breaker=TieBreaker.LOWEST),
}
"""Configurations for which the check says that a split brain cannot happen."""

Groups = list[list[int]]

_PATIENCE = 50
"""How often two quorate sides are checked again: on a busy machine the last reports may be late."""


class SplitBrainError(AssertionError):
    """Something happened that cannot happen."""


def any_groups(chance: random.Random, nodeids: Iterable[int]) -> Groups:
    """Random groups of the nodes; sometimes all nodes are in one."""
    most = chance.choice((1, 1, 2, 2, 3, 4))
    groups: Groups = [[] for _ in range(most)]
    for nodeid in nodeids:
        chance.choice(groups).append(nodeid)
    return [group for group in groups if group]


def must_not_be_two(groups: Collection[Collection[int]], quorate: set[int], story: list[str]) -> None:
    """Raise `SplitBrainError` if nodes in two groups are quorate."""
    if sum(bool(quorate.intersection(group)) for group in groups) > 1:
        raise SplitBrainError("\n".join([*story[-12:], f"{groups}: {sorted(quorate)} are quorate"]))


def walk_in_model(config: ClusterConfig, steps: int, seed: int | str) -> None:
    """`steps` random steps in the model."""
    chance, cluster, story = random.Random(seed), Cluster(config), list[str]()
    for _ in range(steps):
        nodeid = chance.choice(config.nodeids)
        groups = any_groups(chance, config.nodeids)
        for members in map(tuple, map(sorted, groups)):
            cluster.speaks_first[members] = chance.randrange(len(members))
        steps_of: dict[str, Callable[[], object]] = {
            f"{nodeid} crashes": lambda: cluster.kill(nodeid),  # noqa: B023 - called at once
            f"{nodeid} starts": lambda: cluster.up(nodeid),  # noqa: B023
            "all start": lambda: cluster.up(*config.nodeids),
            f"network {groups}": lambda: cluster.partition(*groups),  # noqa: B023
            "time passes": lambda: cluster.advance(chance.choice((0.001, 4.0, 11.0))),
        }
        name, step = chance.choice(list(steps_of.items()))
        step()
        story.append(name)
        quorate = {one for one, node in cluster.nodes.items() if node.quorate}
        must_not_be_two(cluster.partitions(), quorate, story)


def walk_in_vqsim(config: ClusterConfig, steps: int, seed: int | str) -> None:
    """`steps` random steps in corosync-vqsim."""
    chance, story = random.Random(seed), list[str]()
    with Vqsim(config) as vqsim:
        for _ in range(steps):
            nodeid = chance.choice(config.nodeids)
            if nodeid not in vqsim.where:
                vqsim.up(nodeid, chance.randrange(3))
            elif chance.random() < 0.3:
                vqsim.down(nodeid)
            else:
                vqsim.move(chance.randrange(3), nodeid)
            story.append(f"{nodeid}: {dict(vqsim.where)}")
            # its nodes decide once before they have heard the others, and again afterwards
            any(vqsim.read_until(lambda: not _two(vqsim)) for _ in range(_PATIENCE))
            must_not_be_two(_sides(vqsim), _quorate(vqsim), story)


def _two(vqsim: Vqsim) -> bool:
    return sum(bool(_quorate(vqsim).intersection(side)) for side in _sides(vqsim)) > 1


def _sides(vqsim: Vqsim) -> Groups:
    places = set(vqsim.where.values())
    return [[nodeid for nodeid, at in vqsim.where.items() if at == place] for place in sorted(places)]


def _quorate(vqsim: Vqsim) -> set[int]:
    return {nodeid for nodeid, report in vqsim.last.items() if report.quorate and nodeid in vqsim.where}


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--vqsim-steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=20261121)
    arguments = parser.parse_args()
    if reason := why_unavailable():
        print(f"cannot run corosync-vqsim: {reason}", file=sys.stderr)
        return 2
    for name, config in SAFE.items():
        try:
            walk_in_model(config, arguments.steps, arguments.seed)
            walk_in_vqsim(config, arguments.vqsim_steps, arguments.seed)
        except SplitBrainError as error:
            print(f"{name}: a split brain, which cannot happen\n{error}")
            return 1
        print(f"{name}: no split brain")
    print(f"in {arguments.steps} steps of the model and {arguments.vqsim_steps} of vqsim each")
    return 0


if __name__ == "__main__":
    sys.exit(main())
