"""A verdict claims only what was searched."""

from __future__ import annotations

from typing import Any

import pytest

from votequorum_ipc.check import Bounds, Reachability, Report, Verdict, check
from votequorum_ipc.check.nodes import MemberState
from votequorum_ipc.check.partitions import Partitions
from votequorum_ipc.check.properties import BUILT_IN
from votequorum_ipc.check.report import Checked
from votequorum_ipc.check.report_json import report_json
from votequorum_ipc.cluster import ClusterConfig, DeviceConfig


def verdict(report: Report, name: str) -> Verdict:
    (one,) = [one for one in report.verdicts if one.name == name]
    return one


def test_each_member_of_a_large_ring_is_tried_as_first_speaker() -> None:
    partitions = Partitions(ClusterConfig.of(12))
    places = [MemberState(nodeid, (nodeid,), 0) for nodeid in range(1, 13)]
    partitions.started(1)
    assert len(list(partitions.rings_one_by_one(places, None))) == 12


@pytest.mark.parametrize(
    ("nodes", "options", "faults", "left_out"),
    [
        (6, {}, None, []),
        (7, {}, 2, ["network changes"]),
        (7, {}, 3, ["network changes", "more than 2 nodes"]),
        (7, {"wait_for_all": True}, 2, ["network changes", "states that differ"]),
        (3, {"last_man_standing": True}, None, []),
        (4, {"last_man_standing": True}, None, ["states that differ"]),
        (5, {"last_man_standing": True}, None, ["last_man_standing windows", "states that differ"]),
        (4, {"last_man_standing": True, "wait_for_all": True}, None, []),
        (4, {"device": DeviceConfig(votes=1)}, None, []),
        (5, {"device": DeviceConfig(votes=1)}, None, ["states that differ"]),
    ],
)
def test_what_a_search_leaves_out_is_listed(
    nodes: int, options: dict[str, Any], faults: int | None, left_out: list[str]
) -> None:
    told = Checked(ClusterConfig.of(nodes, **options)).successors().not_looked_at(faults)
    assert [line.startswith(start) for line, start in zip(told, left_out, strict=True)] == [True] * len(told)


def test_a_search_that_left_something_out_never_says_cannot_happen() -> None:
    report = check(ClusterConfig.of(7), bounds=Bounds(faults=1))
    split = verdict(report, "split brain")
    assert split.outcome is Reachability.NOT_WITHIN
    shown = {one["name"]: one["not_looked_at"] for one in report_json(report, {})["verdicts"]}
    assert shown["split brain"] == list(split.not_looked_at) != []


def test_if_a_split_brain_is_reachable_the_other_verdicts_say_that_they_stop_there() -> None:
    stuck = verdict(check(ClusterConfig.of(2, two_node=True)), "stuck")
    assert (stuck.outcome, stuck.not_looked_at) == (Reachability.NOT_WITHIN, ("what follows a split brain",))


def test_untried_orders_leave_memory_undecided() -> None:
    report = check(ClusterConfig.of(9), bounds=Bounds(faults=1, states=20))
    assert verdict(report, "memory").outcome is Reachability.NOT_WITHIN


def test_four_nodes_are_also_split_into_more_than_two_parts() -> None:
    """Two-way splits alone do not find this story."""
    search, _ = Checked(ClusterConfig.of(4, wait_for_all=True)).search(BUILT_IN, Bounds())
    assert "flapping" in search.found


def test_the_story_of_wait_for_all_says_that_the_order_of_speaking_matters() -> None:
    flapping = verdict(check(ClusterConfig.of(3, wait_for_all=True)), "flapping")
    assert flapping.outcome is Reachability.HAPPENS
    assert "speaks first" in flapping.text
