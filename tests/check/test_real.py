"""A sample of the stories, all split brains, on real corosyncs in network namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.real.cluster import Cluster, cluster
from tests.real.config import Config, Device, Node
from tests.real.waiting import eventually
from votequorum_ipc.blocking import Votequorum
from votequorum_ipc.check import Bounds, DeviceKind, StoryStep, check
from votequorum_ipc.check.events import Network, Start, Votes, Window
from votequorum_ipc.check.story import depends_on_who_speaks_first, folded
from votequorum_ipc.cluster import ClusterConfig, DeviceConfig, TieBreaker
from votequorum_ipc.types import RingId

pytestmark = [pytest.mark.timeout(180)]

WINDOW = 3000
"""Milliseconds of a last_man_standing window: enough to cut the network and to notice it."""

DEVICE = "device"


@dataclass(frozen=True)
class Case:
    """A configuration, the same for a real cluster, and the votes of its device."""

    config: ClusterConfig
    quorum: dict[str, str | int] = field(default_factory=dict)
    device: DeviceKind | None = None
    faults: int | None = None


CASES = {
    "two_node": Case(ClusterConfig.of(2, two_node=True), {"two_node": 1}),
    "last_man_standing": Case(
        ClusterConfig.of(4, last_man_standing=True, last_man_standing_window=WINDOW),
        {"last_man_standing": 1, "last_man_standing_window": WINDOW},
        faults=2,
    ),
    "auto_tie_breaker": Case(
        ClusterConfig.of(4, auto_tie_breaker=TieBreaker.LOWEST), {"auto_tie_breaker": 1}, faults=2
    ),
    "a careless device": Case(ClusterConfig.of(2, device=DeviceConfig(votes=1)), device=DeviceKind.CARELESS),
}


@dataclass
class Stage:
    """A real cluster that plays a story."""

    real: Cluster
    devices: ExitStack
    sides_only: bool = False
    """Compare which sides are quorate, but not which of their nodes."""
    handles: dict[int, Votequorum] = field(default_factory=dict)

    def follow(self, step: StoryStep) -> None:
        """Carry out a step on the real cluster, and wait until corosync agrees with the story."""
        match step.event:
            case Network(groups):
                self.real.partition(*groups)
                self.real.wait_agreed()
            case Start(nodeid):
                self.real[nodeid].start()
                self.real[nodeid].wait_ready()
                self.real.wait_agreed()
            case Window():
                self._wait_for_windows(step)
            case Votes(nodeids):
                for nodeid in nodeids:
                    self._vote(nodeid)
        eventually(
            lambda: self._is_as_told(step),
            otherwise=lambda: f"{step.text}: quorate should be {set(step.quorate)}; {self.real.describe()}",
        )

    def _is_as_told(self, step: StoryStep) -> bool:
        quorate = self.quorate()
        sides = all(bool(quorate.intersection(side.members)) == bool(side.quorate) for side in step.sides)
        return sides if self.sides_only else quorate == step.quorate

    def quorate(self) -> set[int]:
        """The real nodes that are quorate."""
        return {nodeid for nodeid, one in self.real.statuses().items() if one is not None and one.quorate}

    def _wait_for_windows(self, step: StoryStep) -> None:
        """After a window in a quorate partition, its nodes expect only the votes that are present."""
        for side in step.sides:
            for nodeid in side.quorate:
                eventually(
                    lambda: self._expected(nodeid) == len(side.members),  # noqa: B023 - called here
                    otherwise=self.real.describe,
                )

    def _expected(self, nodeid: int) -> object:
        status = self.real[nodeid].status()
        return status and status.info["highest_expected"]

    def _vote(self, nodeid: int) -> None:
        if nodeid not in self.handles:
            with self.real[nodeid].namespace():
                self.handles[nodeid] = self.devices.enter_context(Votequorum.initialize())
            self.handles[nodeid].qdevice_register(DEVICE)
        status = self.real[nodeid].status()
        assert status is not None
        self.handles[nodeid].qdevice_poll(DEVICE, True, RingId(*status.ring_id))


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def stage(case: Case, tmp_path: Path) -> Iterator[Stage]:
    device = Device(votes=1) if case.device else None
    nodes = tuple(Node(nodeid) for nodeid in case.config.nodeids)
    with (
        cluster(Config(nodes=nodes, quorum=case.quorum, device=device), tmp_path) as real,
        ExitStack() as stack,
    ):
        yield Stage(real, stack)


def moves(before: StoryStep, after: StoryStep) -> bool:
    """Whether a node leaves some nodes and joins others in one step."""
    old, new = ([set(side.members) for side in step.sides] for step in (before, after))
    split = any(sum(bool(side & group) for group in new) > 1 for side in old)
    return split and any(sum(bool(side & group) for side in old) > 1 for group in new)


def test_a_split_brain_that_the_check_finds_is_real(case: Case, stage: Stage) -> None:
    report = check(case.config, device=case.device, bounds=Bounds(faults=case.faults))
    (verdict,) = [one for one in report.verdicts if one.name == "split brain"]
    first, *steps = folded(verdict.stories[0])
    # corosync decides who speaks first in a ring, and whether a moving node is alone on the way
    stage.sides_only = depends_on_who_speaks_first(case.config, verdict.stories[0]) or any(
        map(moves, (first, *steps), steps)
    )
    if not first.sides:
        stage.real.discard()
        stage.real.partition(*((nodeid,) for nodeid in case.config.nodeids))
    for step in steps:
        stage.follow(step)
    assert len([side for side in steps[-1].sides if side.quorate]) == 2
