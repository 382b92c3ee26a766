"""A sample of the stories, the split brains among it, on real corosyncs in network namespaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.cluster import Cluster, cluster
from tests.real.config import Config, Node
from tests.real.waiting import eventually
from votequorum_ipc.check import Reachability, StoryStep, check
from votequorum_ipc.check.events import Network
from votequorum_ipc.check.story import folded
from votequorum_ipc.cluster import ClusterConfig

pytestmark = [pytest.mark.timeout(180)]

CONFIGS = {
    "two_node": (ClusterConfig.of(2, two_node=True), {"two_node": 1}),
}


def quorate(real: Cluster) -> set[int]:
    return {nodeid for nodeid, status in real.statuses().items() if status is not None and status.quorate}


def follow(real: Cluster, step: StoryStep) -> None:
    """Change the real network as the story does, and wait until corosync says what the story says."""
    assert isinstance(step.event, Network)
    real.partition(*step.event.groups)
    real.wait_agreed()
    eventually(
        lambda: quorate(real) == step.quorate,
        otherwise=lambda: f"{step.text}: quorate should be {set(step.quorate)}; {real.describe()}",
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_a_split_brain_that_the_check_finds_is_one(name: str, tmp_path: Path) -> None:
    config, options = CONFIGS[name]
    (verdict,) = [one for one in check(config).verdicts if one.name == "split brain"]
    assert verdict.outcome is Reachability.HAPPENS
    real_config = Config(nodes=tuple(Node(nodeid) for nodeid in config.nodeids), quorum=options)
    with cluster(real_config, tmp_path) as real:
        for step in folded(verdict.stories[0])[1:]:
            follow(real, step)
        assert len([side for side in folded(verdict.stories[0])[-1].sides if side.quorate]) == 2
