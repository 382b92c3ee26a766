"""Scenarios: a configuration, then what happens to its nodes, in the words of corosync-vqsim.

Strategies draw each step from what is possible after the steps before it, so that no step is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import permutations

from hypothesis import strategies as st

from votequorum_ipc.cluster.config import (
    ClusterConfig,
    ConfigurationError,
    DeviceConfig,
    NodeConfig,
    TieBreaker,
    effective_rules,
)

PARTITIONS = 3
WINDOW = 600
"""Milliseconds of last_man_standing_window: long beside a step without a wait, short to wait for."""
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
    """Longer than the last man standing window."""


Step = Up | Down | Split | Join | Qdevice | Wait


@dataclass(frozen=True)
class Scenario:
    config: ClusterConfig
    steps: tuple[Step, ...]


@st.composite
def nodes(draw: st.DrawFn) -> tuple[NodeConfig, ...]:
    """One to six nodes; mostly of one vote each."""
    count = draw(st.integers(1, 6))
    nodeids = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count, unique=True))
    votes = draw(st.sampled_from([(1,), (1,), (1,), (0, 1, 2, 3)]))
    return tuple(NodeConfig(nodeid, votes=draw(st.sampled_from(votes))) for nodeid in sorted(nodeids))


@st.composite
def configs(draw: st.DrawFn, *, device: bool | None = None, timed: bool | None = None) -> ClusterConfig:
    """Any configuration, refused ones included; `device` and `timed` say yes or no to a device and to LMS."""
    members = draw(nodes())
    ids = tuple(node.nodeid for node in members)
    breakers = st.sampled_from([TieBreaker.NONE, TieBreaker.NONE, TieBreaker.LOWEST, TieBreaker.HIGHEST])
    listed = st.permutations(ids).flatmap(
        lambda order: st.integers(1, len(order)).map(lambda size: tuple(order[:size]))
    )
    has_device = draw(st.booleans()) if device is None else device
    return ClusterConfig(
        nodes=members,
        expected_votes=draw(st.none() | st.none() | st.integers(1, 8)),
        two_node=draw(st.booleans()) if len(members) <= 3 else draw(st.sampled_from([False] * 4 + [True])),
        wait_for_all=draw(st.sampled_from([None, None, True, False])),
        last_man_standing=draw(st.booleans()) if timed is None else timed,
        last_man_standing_window=WINDOW,
        auto_tie_breaker=draw(breakers | listed),
        allow_downscale=draw(st.sampled_from([False, False, True])),
        expected_votes_tracking=draw(st.sampled_from([False, False, True])),
        device=draw(_devices) if has_device else None,
    )


_devices = st.builds(
    DeviceConfig,
    votes=st.none() | st.integers(0, 4),
    timeout=st.just(DEVICE_TIMEOUT),
    sync_timeout=st.just(DEVICE_SYNC_TIMEOUT),
)


def is_accepted(config: ClusterConfig) -> bool:
    """Whether votequorum starts with it."""
    try:
        effective_rules(config)
    except ConfigurationError:
        return False
    return True


@st.composite
def scenarios(draw: st.DrawFn, *, device: bool = False, timed: bool = False, longest: int = 12) -> Scenario:
    """An accepted configuration, and steps that are possible one after the other."""
    config = draw(configs(device=device, timed=timed))
    if device:
        config = replace(
            config,
            two_node=False,
            auto_tie_breaker=TieBreaker.NONE,
            allow_downscale=False,
            last_man_standing=False,
        )
    if not is_accepted(config):
        config = draw(configs(device=device, timed=timed).filter(is_accepted))
    world = World()
    steps: list[Step] = [Up(nodeid, 0) for nodeid in config.nodeids] if draw(st.booleans()) else []
    for step in steps:
        world.apply(step)
    for _ in range(draw(st.integers(3, longest))):
        step = draw(_next_step(config, world, waits=timed))
        world.apply(step)
        steps.append(step)
    return Scenario(config, tuple(steps))


@dataclass
class World:
    """Where nodes are, and how many rings each partition has had.

    vqsim counts rings by partition. A node that moved to one with the same count would keep its ring id, and
    its device would never notice that it moved; `can_move` says whether that is so.
    """

    where: dict[int, int] = field(default_factory=dict)
    rings: list[int] = field(default_factory=lambda: [0] * PARTITIONS)

    def apply(self, step: Step) -> None:
        """Let a step happen."""
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
        """Whether nodes can move from one partition to the other and notice."""
        return self.rings[source] != self.rings[target] + 1


def _next_step(config: ClusterConfig, world: World, *, waits: bool) -> st.SearchStrategy[Step]:
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
    if running and waits:
        choices += 2 * [st.just(Wait())]
    return st.one_of(choices)


@st.composite
def _splits(draw: st.DrawFn, world: World) -> Split:
    nodeids = draw(st.lists(st.sampled_from(sorted(world.where)), min_size=1, unique=True))
    sources = {world.where[nodeid] for nodeid in nodeids}
    targets = [to for to in range(PARTITIONS) if all(world.can_move(source, to) for source in sources)]
    if not targets:
        return Split((nodeids[0],), world.where[nodeids[0]])
    return Split(tuple(sorted(nodeids)), draw(st.sampled_from(targets)))
