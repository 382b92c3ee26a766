"""The model against real clusters of three nodes with wait_for_all, as recorded by `on_real`.

`on_real.json` has 28 scenarios in which vqsim and the model disagree. It was recorded on corosync 3.1.7 with
`python -m tests.cluster.on_real --record tests/cluster/on_real.json`.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import StartCluster
from tests.real.config import Config, Node
from tests.real.waiting import eventually
from votequorum_ipc.cluster.cluster import usually_speaks_first

from .observed import Following, Ring, in_order, rings_in
from .on_real import Played, Said, config_of, from_json, groups_of, move, said_by_model, take
from .scenarios import Step, Up

RECORDED = [from_json(each) for each in json.loads(Path(__file__).with_name("on_real.json").read_text())]

Change = Callable[[Ring], Ring]


def as_observed(ring: Ring) -> Ring:
    return ring


def unheard(ring: Ring) -> Ring:
    """Leave the order of a ring's members to the model."""
    return ring._replace(speakers=())


def lowest_first(ring: Ring) -> Ring:
    return ring._replace(speakers=ring.members)


def follow(played: Played, change: Change = as_observed, *, on_the_way: bool = True) -> list[Said]:
    """The model's reports after each step, with another order, or without the intermediate rings."""
    model = Following(config_of(played.options))
    where: dict[int, int] = {}
    said = []
    for step, rings in zip(played.steps, played.rings, strict=True):
        move(where, step)
        wanted = [ring for ring in rings if on_the_way or lasts(ring, where, step)]
        take(model, step, [change(ring) for ring in wanted])
        said.append(said_by_model(model))
    return said


def lasts(ring: Ring, where: dict[int, int], step: Step) -> bool:
    """Whether a step ends in this ring; a node that starts is always alone first."""
    return ring.members in groups_of(where) or (isinstance(step, Up) and ring.members == (step.nodeid,))


def quorate(said: list[Said]) -> list[set[int]]:
    return [{nodeid for nodeid, words in each.items() if words[0]} for each in said]


@pytest.mark.parametrize("played", RECORDED)
def test_the_model_reports_what_real_nodes_reported(played: Played) -> None:
    assert follow(played) == played.said


def test_nodes_speak_in_the_models_order() -> None:
    for played in RECORDED:
        assert follow(played, unheard) == played.said


def test_in_five_scenarios_the_first_speaker_decides() -> None:
    other = [played for played in RECORDED if quorate(follow(played, lowest_first)) != quorate(played.said)]
    assert len(other) == 5


def test_in_three_scenarios_an_intermediate_ring_decides() -> None:
    other = [
        played for played in RECORDED if quorate(follow(played, on_the_way=False)) != quorate(played.said)
    ]
    assert len(other) == 3


def usual(members: tuple[int, ...]) -> tuple[int, ...]:
    """The order that the model takes by itself."""
    first = usually_speaks_first(members)
    return members[first:] + members[:first]


def test_members_of_recorded_rings_speak_in_the_usual_order() -> None:
    rings = {ring for played in RECORDED for step in played.rings for ring in step}
    assert {len(ring.members) for ring in rings} == {1, 2, 3}
    assert [ring for ring in rings if ring.speakers != usual(ring.members)] == []


@pytest.mark.thorough
def test_members_of_a_ring_of_five_speak_in_the_usual_order(start_cluster: StartCluster) -> None:
    """Not in `make test`: rings that form on a busy machine may begin elsewhere."""
    nodeids = (1, 2, 3, 4, 5)
    real = start_cluster(Config(nodes=tuple(map(Node, nodeids)), debug=True))

    def heard() -> list[tuple[int, ...]]:
        """The order of the last ring, from each node's log."""
        last = (ring for node in real for ring in [*rings_in(node.log_text())][-1:])
        return [ring.speakers for ring in last if ring.members == nodeids]

    orders = eventually(lambda: (found := heard())[4:] and found, otherwise=real.describe)
    # A node that is late to begin may have missed the first messages of others.
    [(order, _)] = collections.Counter(orders).most_common(1)
    assert order == usual(nodeids)


LOG = """\
notice  [QUORUM] Sync members[2]: 1 2
notice  [QUORUM] Sync joined[1]: 1
notice  [TOTEM ] A new membership (1.12) was formed. Members joined: 1
debug   [VOTEQ ] got nodeinfo message from cluster node 1
debug   [VOTEQ ] Sending nodelist callback. ring_id = 1.12
debug   [VOTEQ ] got nodeinfo message from cluster node 2
debug   [VOTEQ ] got nodeinfo message from cluster node 2
debug   [VOTEQ ] got nodeinfo message from cluster node 1
notice  [QUORUM] Members[2]: 1 2
notice  [QUORUM] Sync members[1]: 2
notice  [QUORUM] Sync members[3]: 1 2 3
debug   [VOTEQ ] Sending nodelist callback. ring_id = 1.1e
debug   [VOTEQ ] got nodeinfo message from cluster node 1
"""


def test_a_log_has_the_completed_rings_and_who_spoke_first() -> None:
    (ring,) = rings_in(LOG)
    assert ring == Ring(0x12, (1, 2), (2, 1))


def test_rings_of_several_nodes_are_sorted_and_listed_once() -> None:
    later = LOG + "notice  [QUORUM] Members[3]: 1 2 3\n"
    assert in_order([later, LOG]) == [Ring(0x12, (1, 2), (2, 1)), Ring(0x1E, (1, 2, 3), (1,))]
