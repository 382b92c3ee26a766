"""The search: its shortcuts lose nothing, and the model alone confirms what it finds or rules out."""

from __future__ import annotations

import multiprocessing
import random
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path

import pytest

from tests.real.waiting import eventually
from votequorum_ipc.check import (
    Bounds,
    DeviceKind,
    Progress,
    Property,
    Reachability,
    Situation,
    Stopped,
    check,
)
from votequorum_ipc.check.events import Event
from votequorum_ipc.check.properties import BUILT_IN, SPLIT_BRAIN
from votequorum_ipc.check.remedies import remedies
from votequorum_ipc.check.report import Checked
from votequorum_ipc.check.search import Search
from votequorum_ipc.check.states import State
from votequorum_ipc.check.story import disagreement, story_of
from votequorum_ipc.cluster import ClusterConfig, DeviceConfig, NodeConfig, TieBreaker

LOWEST = TieBreaker.LOWEST
DEVICE = DeviceConfig(votes=1)

CONFIGS: dict[str, tuple[ClusterConfig, DeviceKind | None]] = {
    "two": (ClusterConfig.of(2), None),
    "two_node": (ClusterConfig.of(2, two_node=True), None),
    "two_node without waiting": (ClusterConfig.of(2, two_node=True, wait_for_all=False), None),
    "three": (ClusterConfig.of(3), None),
    "three waiting": (ClusterConfig.of(3, wait_for_all=True), None),
    "three two_node": (ClusterConfig.of(3, two_node=True), None),
    "last man standing": (ClusterConfig.of(3, last_man_standing=True), None),
    "last man standing, waiting": (ClusterConfig.of(3, last_man_standing=True, wait_for_all=True), None),
    "tie breaker": (ClusterConfig.of(2, auto_tie_breaker=LOWEST), None),
    "tie breaker, odd": (ClusterConfig.of(3, auto_tie_breaker=LOWEST, wait_for_all=True), None),
    "a list breaks ties": (ClusterConfig.of(3, auto_tie_breaker=(2,), wait_for_all=True), None),
    "downscale": (ClusterConfig.of(3, allow_downscale=True), None),
    "uneven": (ClusterConfig((NodeConfig(1, votes=2), NodeConfig(2), NodeConfig(3))), None),
    "ffsplit": (ClusterConfig.of(2, device=DEVICE), DeviceKind.FFSPLIT),
    "exclusive": (ClusterConfig.of(2, device=DEVICE), DeviceKind.EXCLUSIVE),
    "careless": (ClusterConfig.of(2, device=DEVICE), DeviceKind.CARELESS),
    "lms device": (ClusterConfig.of(3, device=DeviceConfig()), DeviceKind.LMS),
}

View = frozenset[tuple[tuple[int, ...], tuple[int, ...]]]
"""The state as administrators see it: members and quorate nodes of each partition."""


@cache
def searched(name: str, *, off: bool = False) -> tuple[Checked, Search]:
    config, device = CONFIGS[name]
    checked = Checked(config, device, off=off)
    search, _ = checked.search([SPLIT_BRAIN], Bounds())
    assert search.stopped is Stopped.COMPLETE
    return checked, search


def views(checked: Checked, search: Search) -> set[View]:
    return {
        frozenset((one.members, one.quorate) for one in checked.partitions.of(state.parts))
        for state in search.states
    }


def renamed(view: View, names: dict[int, int]) -> View:
    def to(nodeids: Iterable[int]) -> tuple[int, ...]:
        return tuple(sorted(names[nodeid] for nodeid in nodeids))

    return frozenset((to(members), to(quorate)) for members, quorate in view)


def renamings(checked: Checked) -> Iterator[dict[int, int]]:
    """The renamings for which the search treats two states as one."""
    nodeids = sorted(checked.config.nodeids)
    symmetry = checked.successors().symmetry
    groups = symmetry.down_alike(nodeids)
    circles = [nodeids[by:] + nodeids[:by] for by in range(len(nodeids))] if symmetry.rotates else []
    for order in permutations(nodeids):
        names = dict(zip(nodeids, order, strict=True))
        if (
            all({names[nodeid] for nodeid in group} == set(group) for group in groups)
            or list(order) in circles
        ):
            yield names


def test_ids_rotate_only_if_no_node_differs() -> None:
    def rotates(config: ClusterConfig, device: DeviceKind | None = None) -> bool:
        return Checked(config, device).successors().symmetry.rotates

    uneven = (NodeConfig(1, votes=2), NodeConfig(2), NodeConfig(3))
    waiting = {"three waiting", "last man standing, waiting", "two_node", "three two_node"}
    others = {"last man standing", "downscale"}
    assert {name for name in CONFIGS if rotates(*CONFIGS[name])} == waiting | others
    assert not rotates(ClusterConfig(uneven, wait_for_all=True))
    assert not rotates(ClusterConfig.of(3, wait_for_all=True, device=DEVICE), DeviceKind.LMS)


LONGEST = {"last man standing, waiting", "lms device"}
"""Without the shortcuts these take as long as all others together."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.thorough] if name in LONGEST else []) for name in CONFIGS],
)
def test_symmetry_and_reduced_states_reach_the_same_as_a_search_without_them(name: str) -> None:
    checked, search = searched(name)
    plain, plain_search = searched(name, off=True)
    reduced = {renamed(view, names) for view in views(checked, search) for names in renamings(checked)}
    assert reduced == views(plain, plain_search)
    assert search.seen <= plain_search.seen


@pytest.mark.parametrize("name", CONFIGS)
def test_nodes_asked_one_by_one_decide_like_all_nodes_of_a_ring_together(name: str) -> None:
    checked, _ = searched(name)
    partitions, chance = checked.partitions, random.Random(name)
    places = [place for one in partitions.all for place in map(partitions.place, one.pieces)]
    nodeids = checked.config.nodeids
    for _ in range(60):
        members = sorted(chance.sample(nodeids, chance.randint(1, len(nodeids))))
        chosen = [chance.choice([place for place in places if place.nodeid == one]) for one in members]
        if all(place.members == tuple(members) for place in chosen):
            continue  # they are a ring already
        votes = None
        if checked.device_kind is not None:
            votes = frozenset(nodeid for nodeid in members if chance.random() < 0.5)
        together = list(partitions.whole_rings(chosen, votes))
        assert list(partitions.rings_one_by_one(chosen, votes)) == together


@pytest.mark.parametrize("walks", [4, pytest.param(15, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("name", CONFIGS)
def test_walks_through_the_search_are_walks_of_the_model(name: str, walks: int) -> None:
    """The model is driven from the start, without snapshots, and must agree at each step."""
    config, device = CONFIGS[name]
    checked = Checked(config, device)
    successors, chance = checked.successors(), random.Random(name)
    for _ in range(walks):
        steps: list[tuple[Event | None, State]] = [(None, State(()))]
        for _ in range(25):
            moves = [move for move in successors.of(steps[-1][1]) if move.after != steps[-1][1]]
            move = chance.choice(moves)
            steps.append((move.event, move.after))
        assert disagreement(config, story_of(checked.partitions, steps)) is None


def test_a_story_that_the_model_contradicts_is_noticed() -> None:
    one = next(one for one in check(ClusterConfig.of(2, two_node=True)).verdicts if one.stories)
    *before, last = one.stories[0]
    wrong = replace(last, sides=tuple(replace(side, quorate=()) for side in last.sides))
    assert disagreement(CONFIGS["two_node"][0], (*before, last)) is None
    assert disagreement(CONFIGS["two_node"][0], (*before, wrong)) == f"{last.text}: quorate should be []"


@pytest.mark.parametrize("name", CONFIGS)
def test_long_walks_reach_nothing_that_the_search_has_not_seen(name: str) -> None:
    _, search = searched(name)
    successors, chance = search.successors, random.Random(name)
    identity = successors.symmetry.identity
    known = set(map(identity, search.states))
    state = State(())
    for _ in range(1000):
        state = chance.choice([move.after for move in successors.of(state)])
        assert identity(state) in known
        if search.is_end(state):
            state = State(())


# -- several processes --------------------------------------------------------------------------------------

SHARED: dict[str, tuple[ClusterConfig, DeviceKind | None, Bounds]] = {
    "all states": (*CONFIGS["last man standing, waiting"], Bounds()),
    "interchangeable nodes": (ClusterConfig.of(4), None, Bounds()),
    "a device": (*CONFIGS["lms device"], Bounds()),
    "few faults": (*CONFIGS["last man standing, waiting"], Bounds(faults=3)),
    "few states": (ClusterConfig.of(4, auto_tie_breaker=LOWEST), None, Bounds(states=300)),
}


@pytest.mark.parametrize("name", SHARED)
def test_two_processes_see_the_states_of_one_in_the_same_order(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("votequorum_ipc.check.search._WORTH_SHARING", 2)
    config, device, bounds = SHARED[name]

    def seen(processes: int) -> list[object]:
        checked = Checked(config, device, processes=processes)
        search, faults = checked.search(BUILT_IN, bounds)
        found = {name: (one.detail, one.cost, one.at) for name, one in search.found.items()}
        numbers = search.changes, search.depth, search.expanded, search.ends, search.stopped, faults
        described = checked.partitions.description
        return [found, numbers, [tuple(map(described, state.parts)) for state in search.states]]

    assert seen(2) == seen(1)


def test_processes_are_gone_when_a_search_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("votequorum_ipc.check.search._WORTH_SHARING", 2)
    monkeypatch.setattr("votequorum_ipc.check.search._REPORT_EVERY", 0)
    workers: list[object] = []

    def interrupt(progress: Progress) -> None:
        workers.extend(multiprocessing.active_children())
        if workers:
            raise KeyboardInterrupt

    report = check(ClusterConfig.of(3, wait_for_all=True), processes=2, progress=interrupt)
    assert (report.effort.stopped, len(workers)) == (Stopped.INTERRUPTED, 2)
    assert multiprocessing.active_children() == []


def test_processes_end_when_the_search_is_killed() -> None:
    program = """
import multiprocessing, os, signal
from votequorum_ipc.check import check, search
from votequorum_ipc.cluster import ClusterConfig
search._WORTH_SHARING, search._REPORT_EVERY = 2, 0
def kill(progress):
    if workers := multiprocessing.active_children():
        print(*(worker.pid for worker in workers), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
check(ClusterConfig.of(3, wait_for_all=True), processes=2, progress=kill)
"""
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    pids = list(map(int, killed.stdout.split()))
    assert (killed.returncode, len(pids)) == (-signal.SIGKILL, 2)
    # The output ends when the workers, which share it, close it. The kernel takes a moment to remove the
    # processes.
    eventually(lambda: not any(map(is_running, pids)), otherwise="the workers have ended")


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def test_remedies_are_the_same_with_two_processes() -> None:
    config = ClusterConfig.of(3, auto_tie_breaker=LOWEST, wait_for_all=True)
    names = ["split brain", "flapping"]
    alone, shared = (remedies(config, None, names, seconds=60, processes=count) for count in (1, 2))
    assert alone == shared
    assert alone["split brain"] != []


def test_a_bound_on_faults_excludes_what_takes_more_faults() -> None:
    config = ClusterConfig.of(3, auto_tie_breaker=LOWEST, wait_for_all=True)
    outcomes = [
        next(one for one in check(config, bounds=Bounds(faults=faults)).verdicts if one.name == "split brain")
        for faults in (1, 2)
    ]
    assert [one.outcome for one in outcomes] == [Reachability.NOT_WITHIN, Reachability.HAPPENS]


def test_a_search_that_hits_its_bound_settles_nothing_and_says_so() -> None:
    report = check(ClusterConfig.of(4, last_man_standing=True), bounds=Bounds(states=50, faults=4))
    assert report.effort.stopped is Stopped.STATES
    assert any(one.outcome is Reachability.UNSETTLED for one in report.verdicts)


def test_an_interrupted_search_keeps_its_findings() -> None:
    def interrupt(_progress: object) -> None:
        raise KeyboardInterrupt

    config = ClusterConfig.of(4, last_man_standing=True, auto_tie_breaker=LOWEST, wait_for_all=True)
    report = check(config, progress=interrupt)
    assert report.effort.stopped is Stopped.INTERRUPTED
    assert report.effort.states > 1


def test_a_custom_property_is_found_with_its_story() -> None:
    def lonely(situation: Situation) -> str | None:
        alone = [one for one in situation.partitions if one.quorate and len(one.members) == 1]
        return f"node {alone[0].members[0]} works alone" if alone else None

    config = ClusterConfig.of(2, two_node=True)
    report = check(config, properties=[Property("lonely", "a node works alone", lonely)])
    (verdict,) = [one for one in report.verdicts if one.name == "lonely"]
    assert verdict.outcome is Reachability.HAPPENS
    assert len(verdict.stories[0][-1].quorate) == 1
