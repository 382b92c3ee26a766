"""A seed becomes a plan: the cluster, the programs, and the faults.

Strategy: every random choice is made here, before anything runs, or by generators whose seeds are chosen
here. So a plan can be read, and a failing one can be shortened by hand.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from votequorum_ipc.cluster import (
    ClusterConfig,
    ConfigurationError,
    DeviceConfig,
    Latency,
    NodeConfig,
    TieBreaker,
    effective_rules,
)


class Fault(enum.StrEnum):
    """The kinds of fault."""

    CUT = "cut"
    HEAL = "heal"
    KILL = "kill"
    START = "start"
    LEAVE = "leave"
    REFORM = "reform"
    HANG = "hang"
    """A node's daemon does nothing for a while, as under SIGSTOP."""
    FLOOD = "flood"
    """Enough changes at once to fill event rings."""
    DROP = "drop"
    """A daemon closes the connection of one client."""
    JUMP = "jump"
    """The clock jumps ahead by some seconds, as for a process that was stopped."""
    EXPECT = "expect"
    """An operator changes the expected votes."""
    VOTES = "votes"
    """An operator changes a node's votes."""
    FLIP = "flip"
    """A device's decision changes."""
    STOP = "stop"
    """A device's program ends, and starts again later."""
    RELOAD = "reload"


class Kind(enum.StrEnum):
    """The kinds of program."""

    FOLLOW = "follow"
    """`async for view in watcher`."""
    SAMPLE = "sample"
    """`await watcher.current()`, from time to time."""
    STATUS = "status"
    """`await cluster_status()`, from time to time."""


@dataclass(frozen=True, slots=True)
class Step:
    """A fault, its time in virtual seconds, and its details."""

    at: float
    fault: Fault
    node: int = 0
    number: float = 0.0
    groups: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A program on a node. `pause` is the time between two queries, in seconds."""

    name: str
    kind: Kind
    node: int
    seed: int
    pause: float
    patience: float
    require_provider: bool
    cancels: float
    """The share of its queries that are cancelled at some checkpoint, 0 to 1."""


@dataclass(frozen=True, slots=True)
class DeviceProgram:
    """A program that runs a quorum device. Its decisions take up to `thinking` seconds, or fail, or hang."""

    node: int
    seed: int
    interval: float
    thinking: float
    failing: float
    """The share of its decisions that raise or hang, 0 to 1."""
    master_wins: bool
    leave_registered: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a history needs.

    `pace` is the longest time that a daemon takes for a request, in seconds. `limits` are the limits of the
    library that this history makes smaller, by name.
    """

    seed: int
    config: ClusterConfig
    transport: Literal["shm", "socket"]
    latency: Latency | None
    programs: tuple[Program, ...]
    devices: tuple[DeviceProgram, ...]
    steps: tuple[Step, ...]
    pace: float
    limits: tuple[tuple[str, int], ...]


_WEIGHTS: Final = {
    Fault.CUT: 10,
    Fault.HEAL: 8,
    Fault.KILL: 6,
    Fault.START: 10,
    Fault.LEAVE: 3,
    Fault.REFORM: 4,
    Fault.HANG: 8,
    Fault.FLOOD: 4,
    Fault.DROP: 5,
    Fault.JUMP: 4,
    Fault.EXPECT: 5,
    Fault.VOTES: 4,
    Fault.FLIP: 8,
    Fault.STOP: 4,
    Fault.RELOAD: 3,
}


def plan(seed: int) -> Plan:
    """The plan of a seed."""
    chance = random.Random(seed)
    config = _config(chance)
    nodeids = config.nodeids
    latency = Latency(0.0005, chance.choice([0.002, 0.02, 0.1]), seed) if chance.random() < 0.5 else None
    return Plan(
        seed=seed,
        config=config,
        transport=chance.choice(["shm", "shm", "socket"]),
        latency=latency,
        programs=tuple(_program(chance, number, nodeids) for number in range(chance.randint(1, 3))),
        devices=_devices(chance, config),
        steps=tuple(_steps(chance, nodeids)),
        pace=chance.choice([0.0, 0.0, 0.001, 0.01]),
        limits=_limits(chance),
    )


def _config(chance: random.Random) -> ClusterConfig:
    while True:
        config = _any_config(chance)
        try:
            effective_rules(config)
        except ConfigurationError:
            continue
        return config


def _any_config(chance: random.Random) -> ClusterConfig:
    count = chance.choice([1, 2, 2, 2, 3, 3, 3, 4])
    nodes = tuple(
        NodeConfig(nodeid, votes=chance.choice([1, 1, 1, 2]) if count > 2 else 1, name=f"node{nodeid}")
        for nodeid in range(1, count + 1)
    )
    options: dict[str, Any] = {}
    if count == 2 and chance.random() < 0.5:
        options["two_node"] = True
    for option in ("wait_for_all", "last_man_standing", "allow_downscale", "expected_votes_tracking"):
        if chance.random() < 0.12:
            options[option] = True
    if chance.random() < 0.12:
        options["auto_tie_breaker"] = chance.choice([TieBreaker.LOWEST, TieBreaker.HIGHEST])
    if options.get("last_man_standing"):
        options["last_man_standing_window"] = chance.choice([500, 3000])
    if chance.random() < 0.4:
        options["device"] = DeviceConfig(
            votes=chance.choice([1, 1, max(count - 1, 1)]),
            timeout=chance.choice([1500, 3000, 10_000]),
            sync_timeout=chance.choice([1000, 1000, 3000, 3000, 3000, 12_000]),
        )
    if chance.random() < 0.06:
        options = {"provider": ""}
    return ClusterConfig(nodes=nodes, **options)


def _program(chance: random.Random, number: int, nodeids: tuple[int, ...]) -> Program:
    kind = chance.choice([Kind.FOLLOW, Kind.FOLLOW, Kind.SAMPLE, Kind.SAMPLE, Kind.STATUS])
    pauses = [0.3, 1.0, 4.0] if kind is Kind.STATUS else [0.02, 0.3, 1.0, 4.0]
    return Program(
        name=f"{kind.value}{number}",
        kind=kind,
        node=chance.choice(nodeids),
        seed=chance.getrandbits(32),
        pause=chance.choice(pauses),
        patience=chance.choice([0.5, 2.0, 5.0, 40.0]),
        require_provider=chance.random() < 0.8,
        cancels=chance.choice([0.0, 0.0, 0.3, 0.7]),
    )


def _devices(chance: random.Random, config: ClusterConfig) -> tuple[DeviceProgram, ...]:
    if config.device is None or not config.provider:
        return ()
    master_wins = chance.random() < 0.3
    return tuple(
        DeviceProgram(
            node=nodeid,
            seed=chance.getrandbits(32),
            interval=chance.choice([1.0, 2.0]),
            thinking=chance.choice([0.0, 0.01, 0.3]),
            failing=chance.choice([0.0, 0.0, 0.2]),
            master_wins=master_wins,
            leave_registered=chance.random() < 0.2,
        )
        for nodeid in config.nodeids
        if chance.random() < 0.7
    )


def _limits(chance: random.Random) -> tuple[tuple[str, int], ...]:
    limits = {"batch": chance.choice([1, 2, 5, 50, 50])}
    if chance.random() < 0.2:
        limits["queued bytes"] = chance.choice([2048, 20_000])
    if chance.random() < 0.2:
        limits["changes"] = chance.choice([3, 20])
    if chance.random() < 0.1:
        limits["event bytes"] = chance.choice([4096, 30_000])
    return tuple(limits.items())


def _steps(chance: random.Random, nodeids: tuple[int, ...]) -> list[Step]:
    faults, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    pace = chance.choice([0.05, 0.3, 1.0])
    steps, at = [], 0.2
    for _ in range(chance.randint(4, 20)):
        # Some faults follow the one before at once.
        at += 0.0 if chance.random() < 0.15 else chance.expovariate(1 / pace)
        fault = chance.choices(faults, weights)[0]
        step = Step(round(at, 6), fault, chance.choice(nodeids))
        steps.append(_DETAILS.get(fault, _plain)(chance, step, nodeids))
    return steps


def _plain(_chance: random.Random, step: Step, _nodeids: tuple[int, ...]) -> Step:
    return step


def _cut(chance: random.Random, step: Step, nodeids: tuple[int, ...]) -> Step:
    groups: tuple[list[int], ...] = ([], [], [])
    for nodeid in nodeids:
        chance.choice(groups[: chance.choice([2, 2, 3])]).append(nodeid)
    return replace(step, groups=tuple(tuple(group) for group in groups if group))


def _seconds(chance: random.Random, step: Step, _nodeids: tuple[int, ...]) -> Step:
    return replace(step, number=round(chance.choice([0.02, 0.5, 3.0, 20.0]) * chance.uniform(0.5, 1.5), 6))


def _count(chance: random.Random, step: Step, _nodeids: tuple[int, ...]) -> Step:
    return replace(step, number=chance.choice([10, 40, 150]))


def _votes(chance: random.Random, step: Step, nodeids: tuple[int, ...]) -> Step:
    return replace(step, number=chance.randint(0, len(nodeids) + 2))


def _reload(chance: random.Random, step: Step, _nodeids: tuple[int, ...]) -> Step:
    return replace(step, number=chance.randint(0, 3))


_DETAILS: Final = {
    Fault.CUT: _cut,
    Fault.HANG: _seconds,
    Fault.JUMP: _seconds,
    Fault.STOP: _seconds,
    Fault.FLOOD: _count,
    Fault.EXPECT: _votes,
    Fault.VOTES: _votes,
    Fault.RELOAD: _reload,
}
