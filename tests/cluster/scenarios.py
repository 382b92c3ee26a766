"""Scenarios: a configuration, then the events of its nodes, in the words of corosync-vqsim.

Strategies draw each step from what is possible after the steps before it, so that no step is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations

from hypothesis import strategies as st

from votequorum_ipc.cluster import ClusterConfig, DeviceConfig, NodeConfig, TieBreaker

PARTITIONS = 3
WINDOW = 600
"""Milliseconds of last_man_standing_window: long beside a step without a wait, but short to wait for.
"""
DEVICE_TIMEOUT = 300
DEVICE_SYNC_TIMEOUT = 400
"""Milliseconds. vqsim polls twice in a timeout, so that a membership change outlasts at least one poll."""


@dataclass(frozen=True)
class Up:
    nodeid: int
    partition: int


@dataclass(frozen=True)
class Down:
    nodeid: int


@dataclass(frozen=True)
class Split:
    nodeids: tuple[int, ...]
    partition: int


@dataclass(frozen=True)
class Join:
    target: int
    source: int


@dataclass(frozen=True)
class Qdevice:
    nodeid: int
    on: bool


@dataclass(frozen=True)
class Wait:
    """Wait longer than the last_man_standing window."""


Step = Up | Down | Split | Join | Qdevice | Wait


@dataclass(frozen=True)
class Scenario:
    config: ClusterConfig
    steps: tuple[Step, ...]


@st.composite
def nodes(draw: st.DrawFn) -> tuple[NodeConfig, ...]:
    """One to six nodes, mostly several, and mostly with one vote each."""
    count = draw(st.sampled_from([1, 2, 3, 3, 4, 4, 4, 5, 5, 6]))
    nodeids = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count, unique=True))
    votes = draw(st.sampled_from([(1,), (1,), (1,), (0, 1, 2, 3)]))
    return tuple(NodeConfig(nodeid, votes=draw(st.sampled_from(votes))) for nodeid in sorted(nodeids))


@st.composite
def configs(draw: st.DrawFn, *, device: bool | None = None, timed: bool | None = None) -> ClusterConfig:
    """Any configuration, including refused ones; `device` and `timed` require or exclude a device and LMS."""
    members = draw(nodes())
    has_device = draw(st.booleans()) if device is None else device
    return ClusterConfig(
        nodes=members,
        expected_votes=draw(st.sampled_from([None, None, None, *range(1, 9)])),
        two_node=draw(st.sampled_from([False, True] if len(members) <= 3 else [False] * 5 + [True])),
        wait_for_all=draw(st.sampled_from([None, None, True, False])),
        last_man_standing=draw(st.booleans()) if timed is None else timed,
        last_man_standing_window=WINDOW,
        auto_tie_breaker=draw(_tie_breakers(tuple(node.nodeid for node in members))),
        allow_downscale=draw(st.sampled_from([False, False, True])),
        expected_votes_tracking=draw(st.sampled_from([False, False, True])),
        device=draw(_devices) if has_device else None,
    )


@st.composite
def _tie_breakers(draw: st.DrawFn, nodeids: tuple[int, ...]) -> TieBreaker | tuple[int, ...]:
    kind: TieBreaker = draw(st.sampled_from([TieBreaker.NONE, TieBreaker.NONE, *TieBreaker]))
    if kind is not TieBreaker.LIST:
        return kind
    order: list[int] = draw(st.permutations(nodeids))
    return tuple(order[: draw(st.integers(1, len(nodeids)))])


_devices = st.builds(
    DeviceConfig,
    votes=st.none() | st.integers(0, 4),
    timeout=st.just(DEVICE_TIMEOUT),
    sync_timeout=st.just(DEVICE_SYNC_TIMEOUT),
)


@st.composite
def scenarios(draw: st.DrawFn, *, device: bool = False, timed: bool = False, longest: int = 12) -> Scenario:
    """An accepted configuration, and steps that are possible one after the other.

    Most begin with all nodes up. With `timed`, a `Wait` follows half of the losses.
    """
    config = draw(configs(device=device, timed=timed).map(_make_acceptable))
    world = World()
    steps: list[Step] = []
    if draw(st.sampled_from([True, True, False])):
        steps += [Up(nodeid, 0) for nodeid in config.nodeids]
        world.apply_all(steps)
    for _ in range(draw(st.integers(3, longest))):
        step = draw(_next_step(config, world))
        follow_up: list[Step] = [Wait()] if timed and not isinstance(step, Up) and draw(st.booleans()) else []
        world.apply_all([step])
        steps += [step, *follow_up]
    return Scenario(config, tuple(steps))


def _make_acceptable(config: ClusterConfig) -> ClusterConfig:
    """Remove what votequorum would refuse, or disable at once, so that the rest is tested."""
    if config.device is not None:
        config = _make_acceptable_to_a_device(config, config.device)
    if config.last_man_standing:
        config = replace(config, nodes=tuple(NodeConfig(nodeid) for nodeid in config.nodeids))
    odd = sum(node.votes for node in config.nodes) % 2
    if config.auto_tie_breaker is not TieBreaker.NONE and odd:
        config = replace(config, wait_for_all=True)
    return config


def _make_acceptable_to_a_device(config: ClusterConfig, device: DeviceConfig) -> ClusterConfig:
    if any(node.votes != 1 for node in config.nodes):
        device = replace(device, votes=device.votes or 0)
    expected = config.expected_votes or 0
    keep = device.votes is not None and expected - device.votes >= 2
    return replace(
        config,
        two_node=False,
        auto_tie_breaker=TieBreaker.NONE,
        allow_downscale=False,
        device=device,
        expected_votes=expected if keep else None,
    )


@dataclass
class World:
    """Where nodes are, and how many rings each partition has had.

    vqsim counts rings by partition. A node that moved to a partition with the same count would keep its ring
    id, and its device would never notice the move; `can_move` excludes this.
    """

    where: dict[int, int] = field(default_factory=dict)
    rings: list[int] = field(default_factory=lambda: [0] * PARTITIONS)

    def apply_all(self, steps: Sequence[Step]) -> None:
        """Apply steps."""
        for step in steps:
            self._apply(step)

    def _apply(self, step: Step) -> None:
        match step:
            case Up(nodeid, partition):
                self.where[nodeid] = partition
                self.rings[partition] += 1
            case Down(nodeid):
                self.rings[self.where.pop(nodeid)] += 1
            case Split(nodeids, partition):
                self._move(dict.fromkeys(nodeids, partition))
            case Join(target, source):
                self._move({nodeid: target for nodeid, at in self.where.items() if at == source})
            case _:
                pass

    def _move(self, moved: dict[int, int]) -> None:
        self.where.update(moved)
        self.rings = [count + 1 for count in self.rings]

    def can_move(self, source: int, target: int) -> bool:
        """Whether nodes can move from one partition to the other and notice it."""
        return self.rings[source] != self.rings[target] + 1


def _next_step(config: ClusterConfig, world: World) -> st.SearchStrategy[Step]:
    """Starting is twice as likely as other steps, so that there is something to break."""
    down = sorted(set(config.nodeids) - world.where.keys())
    running = sorted(world.where)
    choices: list[st.SearchStrategy[Step]] = []
    if down:
        choices += 2 * [st.builds(Up, st.sampled_from(down), st.sampled_from([0, 0, 0, 1, 2]))]
    if running:
        choices += [st.builds(Down, st.sampled_from(running)), _splits(world)]
    pairs = [Join(a, b) for a, b in permutations(set(world.where.values()), 2) if world.can_move(b, a)]
    if pairs:
        choices += 2 * [st.sampled_from(pairs)]
    if running and config.device is not None:
        choices += 4 * [st.builds(Qdevice, st.sampled_from(running), st.sampled_from([True, True, False]))]
    return st.one_of(choices)


@st.composite
def _splits(draw: st.DrawFn, world: World) -> Split:
    running = sorted(world.where)
    chosen = [nodeid for nodeid in running if draw(st.booleans())]
    nodeids = chosen or [draw(st.sampled_from(running))]
    sources = {world.where[nodeid] for nodeid in nodeids}
    targets = [to for to in range(PARTITIONS) if all(world.can_move(source, to) for source in sources)]
    if not targets:
        return Split((nodeids[0],), world.where[nodeids[0]])
    return Split(tuple(nodeids), draw(st.sampled_from(targets)))
