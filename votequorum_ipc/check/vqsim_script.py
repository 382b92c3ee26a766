"""A story as input for corosync-vqsim, which runs corosync's own votequorum code for simulated nodes.

Strategy: vqsim has numbered partitions. Nodes that crash at the same moment are put into a partition of
their own first, so that the others lose them at once. A window is real time there, so `for_vqsim` shortens
it. vqsim's device stops to poll when its node gets a new ring; it is switched off and on again for each node
that is voted for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from ..cluster import ClusterConfig
from .events import Crash, PowerCut, Start, Window
from .story import Side, Story, StoryStep

WINDOW: Final = 600
DEVICE_TIMEOUT: Final = 300
DEVICE_SYNC_TIMEOUT: Final = 400
"""Milliseconds: long beside a step, short to wait for."""


@dataclass(frozen=True, slots=True)
class VqsimCommand:
    """One word of vqsim and what it is about; `wait` is ours: let time pass."""

    word: str
    partition: int = 0
    nodeids: tuple[int, ...] = ()

    def __str__(self) -> str:
        nodeids = ",".join(map(str, self.nodeids))
        match self.word:
            case "up" | "split":
                return f"{self.word} {self.partition}:{nodeids}"
            case "wait":
                return "# let the last_man_standing window pass"
            case _:
                return f"{self.word} {nodeids}"


VqsimCommands = tuple[VqsimCommand, ...]


def for_vqsim(config: ClusterConfig) -> ClusterConfig:
    """The configuration with times that one can wait for."""
    device = config.device and replace(
        config.device, timeout=DEVICE_TIMEOUT, sync_timeout=DEVICE_SYNC_TIMEOUT
    )
    return replace(config, last_man_standing_window=WINDOW, device=device)


def commands(story: Story) -> list[tuple[StoryStep, VqsimCommands]]:
    """What to type for each step."""
    translation = _Translation()
    return [(step, tuple(translation.of(step))) for step in story]


class _Translation:
    """Where vqsim has its nodes, and which of them have a device that is on."""

    def __init__(self) -> None:
        self._where: dict[int, int] = {}
        self._on: set[int] = set()

    def of(self, step: StoryStep) -> Iterator[VqsimCommand]:
        if step.event is None:
            yield from self._begin(step)
        else:
            yield from self._event(step)
        yield from self._devices({nodeid for side in step.sides for nodeid in side.voted_for})

    def _begin(self, step: StoryStep) -> Iterator[VqsimCommand]:
        for nodeid in sorted(nodeid for side in step.sides for nodeid in side.members):
            yield self._up(nodeid, 0)

    def _event(self, step: StoryStep) -> Iterator[VqsimCommand]:
        match step.event:
            case Crash(nodeids):
                yield from self._down(nodeids)
            case PowerCut():
                yield from self._down(tuple(self._where))
            case Start(nodeid, others):
                yield self._up(nodeid, self._where[others[0]] if others else self._fresh())
            case Window():
                yield VqsimCommand("wait")
            case _:
                yield from self._network(step.sides)

    def _down(self, nodeids: tuple[int, ...]) -> Iterator[VqsimCommand]:
        if 1 < len(nodeids) < len(self._where):
            yield self._move(nodeids, self._fresh())
        for nodeid in nodeids:
            del self._where[nodeid]
            self._on.discard(nodeid)
            yield VqsimCommand("down", 0, (nodeid,))

    def _network(self, sides: tuple[Side, ...]) -> Iterator[VqsimCommand]:
        """Move nodes with the fewest commands, as vqsim forms new rings after each."""
        fresh = self._fresh()
        offered = [
            [*{self._where[nodeid] for nodeid in side.members}, fresh + at] for at, side in enumerate(sides)
        ]
        targets = min(
            (chosen for chosen in product(*offered) if len(set(chosen)) == len(chosen)),
            key=lambda chosen: sum(map(bool, map(self._moving, sides, chosen))),
        )
        for side, target in zip(sides, targets, strict=True):
            if moving := self._moving(side, target):
                yield self._move(moving, target)

    def _moving(self, side: Side, target: int) -> tuple[int, ...]:
        return tuple(nodeid for nodeid in side.members if self._where[nodeid] != target)

    def _devices(self, voted_for: set[int]) -> Iterator[VqsimCommand]:
        for nodeid in sorted(self._on):
            yield VqsimCommand("qdevice off", 0, (nodeid,))
        for nodeid in sorted(voted_for):
            yield VqsimCommand("qdevice on", 0, (nodeid,))
        self._on = set(voted_for)

    def _up(self, nodeid: int, partition: int) -> VqsimCommand:
        self._where[nodeid] = partition
        return VqsimCommand("up", partition, (nodeid,))

    def _move(self, nodeids: tuple[int, ...], partition: int) -> VqsimCommand:
        self._where.update(dict.fromkeys(nodeids, partition))
        return VqsimCommand("split", partition, nodeids)

    def _fresh(self) -> int:
        """The first of the partitions that no node is in or behind. vqsim has 16."""
        return 1 + max(self._where.values(), default=-1)
