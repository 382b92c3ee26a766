"""Scenarios with wait_for_all in which vqsim and the model part, played on real clusters of three nodes.

    python -m tests.cluster.on_real [--scenarios N] [--replayed N] [--seed S]

vqsim has no barrier: a node may decide on a new ring before it has heard the others, and with wait_for_all
that shows in the end. Real nodes wait. So each scenario in which vqsim ends otherwise than the model is
played on real daemons, whose networks are cut and healed in the same way. A run agrees with the model if some
choice of what corosync leaves open explains every step: which member of a new ring speaks first, and whether
a node that changes sides is alone in between. Exits with 1 if one does not agree.

The first 20 of seed 499 all agreed, with and without a tie breaker; corosync 3.1.7. Each takes half a minute.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.real.cluster import Cluster as RealCluster
from tests.real.cluster import cluster
from tests.real.config import Config, Node
from tests.real.waiting import DeadlineError, eventually
from votequorum_ipc.cli.vqsim import Vqsim
from votequorum_ipc.cluster import Cluster, ClusterConfig, TieBreaker

from .differential import View, model_views, vqsim_views
from .scenarios import Down, Scenario, Split, Step, Up

OPTIONS: tuple[tuple[dict[str, object], dict[str, str | int]], ...] = (
    ({}, {}),
    ({"auto_tie_breaker": TieBreaker.LOWEST}, {"auto_tie_breaker": 1}),
    ({"two_node": True}, {"two_node": 1}),
)
"""What goes with wait_for_all, in the model's words and in corosync's."""

NODES = (1, 2, 3)
_TRIED = 40
"""What corosync leaves open is chosen so often for each step."""

_KEPT = 30
"""States of the model that explain a run so far, at most."""


def draw(chance: random.Random) -> tuple[Scenario, dict[str, str | int]]:
    """Three nodes start together, then they change sides, crash and start."""
    options, written = chance.choice(OPTIONS)
    config = ClusterConfig.of(NODES, wait_for_all=True, **options)
    steps: list[Step] = [Up(nodeid, 0) for nodeid in NODES]
    up = set(NODES)
    for _ in range(6):
        nodeid = chance.choice(NODES)
        if nodeid not in up:
            steps.append(Up(nodeid, chance.randrange(3)))
            up.add(nodeid)
        elif chance.random() < 0.2 and len(up) > 1:
            steps.append(Down(nodeid))
            up.remove(nodeid)
        else:
            steps.append(Split((nodeid,), chance.randrange(3)))
    return Scenario(config, tuple(steps)), {"wait_for_all": 1, **written}


def groups_of(where: dict[int, int]) -> list[tuple[int, ...]]:
    """The nodes by the side that they are on; those that are down are alone."""
    sides: dict[int, list[int]] = {}
    for nodeid in NODES:
        sides.setdefault(where.get(nodeid, -nodeid), []).append(nodeid)
    return sorted(map(tuple, sides.values()))


def move(where: dict[int, int], step: Step) -> None:
    """Where the nodes that are up are after a step."""
    match step:
        case Up(nodeid, partition):
            where[nodeid] = partition
        case Down(nodeid):
            del where[nodeid]
        case Split(nodeids, partition):
            where.update(dict.fromkeys(nodeids, partition))


@dataclass
class Explanation:
    """The states in which the model may be, after what real nodes have said so far."""

    chance: random.Random
    states: list[Cluster]
    where: dict[int, int] = field(default_factory=dict)
    after: list[Cluster] = field(default_factory=list)

    def take(self, step: Step) -> None:
        """Work out what a step may come to."""
        before, self.where = self.where, dict(self.where)
        move(self.where, step)
        self.after = [self._one_way(state, step, before) for state in self.states for _ in range(_TRIED)]

    def explains(self, quorate: set[int]) -> bool:
        """Whether one of the ways ends with these nodes quorate; the others are forgotten then."""
        agreeing = [state for state in self.after if _quorate(state) == quorate]
        if agreeing:
            distinct = {
                repr(
                    [(nodeid, node.votequorum.db, node.quorum) for nodeid, node in state.nodes.items()]
                ): state
                for state in agreeing
            }
            self.states = list(distinct.values())[:_KEPT]
        return bool(agreeing)

    def _one_way(self, state: Cluster, step: Step, before: dict[int, int]) -> Cluster:
        cluster = copy.deepcopy(state)
        for members in ((1, 2), (1, 3), (2, 3), (1, 2, 3)):
            cluster.speaks_first[members] = self.chance.randrange(len(members))
        if isinstance(step, Down):
            cluster.kill(step.nodeid)
        if isinstance(step, Split) and self.chance.random() < 0.5:
            alone = dict(before) | {nodeid: -nodeid for nodeid in step.nodeids}
            cluster.partition(*groups_of(alone))
        cluster.partition(*groups_of(self.where))
        if isinstance(step, Up):
            cluster.up(step.nodeid)
        return cluster


def _quorate(state: Cluster) -> set[int]:
    return {nodeid for nodeid, node in state.nodes.items() if node.quorate}


def play(real: RealCluster, scenario: Scenario) -> str | None:
    """Play a scenario on a real cluster whose nodes are down; what the model cannot explain, or None."""
    explanation = Explanation(random.Random(0), [Cluster(scenario.config)])
    for number, step in enumerate(scenario.steps, 1):
        explanation.take(step)
        if isinstance(step, Down):
            real[step.nodeid].kill()
        real.partition(*groups_of(explanation.where))
        if isinstance(step, Up):
            real[step.nodeid].start()
            real[step.nodeid].wait_ready()
        real.wait_agreed()
        says = _Steady(real)
        try:
            eventually(partial(says.explained, explanation), within=8, otherwise=real.describe)
        except DeadlineError:
            return f"step {number}, {step}: {sorted(_really_quorate(real))} are quorate"
    return None


@dataclass
class _Steady:
    """What real nodes say, once they have said it twice."""

    real: RealCluster
    last: set[int] | None = None

    def explained(self, explanation: Explanation) -> bool:
        before, self.last = self.last, _really_quorate(self.real)
        return before == self.last and explanation.explains(self.last)


def _really_quorate(real: RealCluster) -> set[int]:
    return {nodeid for nodeid, status in real.statuses().items() if status and status.quorate}


def part(scenario: Scenario) -> bool:
    """Whether vqsim says otherwise than the model at some step."""
    expected: list[View] = model_views(scenario)
    with Vqsim(scenario.config) as vqsim:
        return vqsim_views(scenario, vqsim, expected) != expected


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scenarios", type=int, default=500)
    parser.add_argument("--replayed", type=int, default=28)
    parser.add_argument("--seed", type=int, default=499)
    arguments = parser.parse_args()
    chance, results = random.Random(arguments.seed), Counter[str]()
    for number in range(arguments.scenarios):
        scenario, options = draw(chance)
        results["drawn"] += 1
        if not part(scenario):
            continue
        results["vqsim and the model part"] += 1
        with tempfile.TemporaryDirectory() as directory:
            config = Config(nodes=tuple(map(Node, NODES)), quorum=options)
            with cluster(config, Path(directory)) as real:
                real.discard()
                real.partition(*((nodeid,) for nodeid in NODES))
                why = play(real, scenario)
        results["real corosyncs agree with the model" if why is None else "they do not"] += 1
        print(f"{number}: {scenario.config.auto_tie_breaker.name}: {why or 'agrees'}", flush=True)  # type: ignore[union-attr]
        if why is not None:
            print(scenario, flush=True)
        if results["vqsim and the model part"] == arguments.replayed:
            break
    print(dict(results), flush=True)
    return int(results["they do not"] > 0)


if __name__ == "__main__":
    sys.exit(main())
