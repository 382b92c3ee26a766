"""The check finds everything that corosync's manual warns of, and notices when a rule is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from votequorum_ipc.check import Bounds, DeviceKind, Reachability, Report, Verdict, check
from votequorum_ipc.cluster import ClusterConfig, DeviceConfig, NodeConfig, TieBreaker, multicasts, votes

LOWEST = TieBreaker.LOWEST
DEVICE = DeviceConfig(votes=1)


def verdict(report: Report, name: str) -> Verdict:
    (one,) = [one for one in report.verdicts if one.name == name]
    return one


def outcome(config: ClusterConfig, name: str, device: DeviceKind | None = None) -> Reachability:
    return verdict(check(config, device=device), name).outcome


def events(one: Verdict) -> list[str]:
    return [
        step.text
        for step in one.stories[0]
        if step.text != "all nodes are down" and "starts" not in step.text
    ]


def test_three_plain_nodes_can_reach_nothing_bad() -> None:
    report = check(ClusterConfig.of(3))
    assert report.exit_code == 0
    assert {one.outcome for one in report.verdicts if one.is_bad} == {Reachability.CANNOT_HAPPEN}


def test_two_node_without_fencing_is_a_split_brain_after_one_event() -> None:
    one = verdict(check(ClusterConfig.of(2, two_node=True)), "split brain")
    assert events(one) == ["the network splits: 1 | 2"]


def test_two_node_with_three_nodes_is_reported_as_misplaced() -> None:
    report = check(ClusterConfig.of(3, two_node=True))
    assert any("two_node is meant for two nodes" in sentence for sentence in report.in_words)
    assert verdict(report, "split brain").outcome is Reachability.HAPPENS


def test_a_tie_breaker_with_odd_votes_and_wait_for_all_is_a_split_brain_after_two_events() -> None:
    one = verdict(check(ClusterConfig.of(3, auto_tie_breaker=LOWEST, wait_for_all=True)), "split brain")
    assert len(events(one)) == 2


def test_last_man_standing_can_shrink_to_two_clusters() -> None:
    config = ClusterConfig.of(4, last_man_standing=True)
    one = verdict(check(config, bounds=Bounds(faults=2)), "split brain")
    assert any("window" in event for event in events(one))


def test_one_failure_stops_two_nodes_without_options() -> None:
    assert outcome(ClusterConfig.of(2), "one failure ends it") is Reachability.HAPPENS


@pytest.mark.parametrize(
    ("nodes", "kind", "expected"),
    [
        (2, DeviceKind.FFSPLIT, Reachability.CANNOT_HAPPEN),
        (2, DeviceKind.EXCLUSIVE, Reachability.CANNOT_HAPPEN),
        (2, DeviceKind.CARELESS, Reachability.HAPPENS),
        (3, DeviceKind.EXCLUSIVE, Reachability.HAPPENS),
    ],
)
def test_a_device_is_as_safe_as_its_votes(nodes: int, kind: DeviceKind, expected: Reachability) -> None:
    assert outcome(ClusterConfig.of(nodes, device=DEVICE), "split brain", kind) is expected


def test_expected_votes_beyond_the_nodes_leave_the_cluster_stuck() -> None:
    assert outcome(ClusterConfig.of(3, expected_votes=7), "stuck") is Reachability.HAPPENS


# -- a changed rule is noticed ------------------------------------------------------------------------------

Change = Callable[[pytest.MonkeyPatch], None]


def _calculates(change: Callable[[int, Any], int]) -> Change:
    def apply(patch: pytest.MonkeyPatch) -> None:
        real = votes.calculate_quorum
        patch.setattr(votes, "calculate_quorum", lambda vq, **how: change(real(vq, **how), vq))

    return apply


def _replaces(module: Any, name: str, new: Callable[..., Any]) -> Change:
    return lambda patch: patch.setattr(module, name, new)


def _wraps(module: Any, name: str, wrapper: Callable[..., Any]) -> Change:
    def apply(patch: pytest.MonkeyPatch) -> None:
        real = getattr(module, name)
        patch.setattr(module, name, lambda *args, **how: wrapper(real, *args, **how))

    return apply


def _forgets(real: Callable[..., Any], vq: Any, node: Any) -> None:
    real(vq, node)
    vq.db.set_expected_votes(1)
    vq.quorum = 1


def _everybody_is_here(real: Callable[..., Any], vq: Any, total_votes: int) -> None:
    vq.wait_for_all_status = False
    real(vq, total_votes)


def _never_decides_down(real: Callable[..., Any], vq: Any, total_votes: int) -> None:
    was = vq.quorate
    real(vq, total_votes)
    vq.quorate = vq.quorate or was


MUTATIONS: dict[str, tuple[Change, ClusterConfig, DeviceKind | None]] = {
    "quorum is half": (_calculates(lambda quorum, _: quorum - 1), ClusterConfig.of(3), None),
    "quorum is half, of four": (_calculates(lambda quorum, _: quorum - 1), ClusterConfig.of(4), None),
    "quorum is one more": (_calculates(lambda quorum, _: quorum + 1), ClusterConfig.of(3), None),
    "quorum is all": (
        _calculates(lambda quorum, vq: len(vq.rules.warnings) + vq.rules.node_count),
        ClusterConfig.of(3),
        None,
    ),
    "quorum is never lost": (_wraps(votes, "_decide", _never_decides_down), ClusterConfig.of(3), None),
    "expected votes are forgotten": (
        _wraps(multicasts, "_disable_last_man_standing_if_uneven", _forgets),
        ClusterConfig.of(3),
        None,
    ),
    "the lost are counted": (
        _replaces(votes, "votes_present", lambda vq: vq.rules.node_count),
        ClusterConfig.of(3),
        None,
    ),
    "nobody waits for all": (
        _wraps(votes, "_decide", _everybody_is_here),
        ClusterConfig.of(2, two_node=True),
        None,
    ),
    "waiting never ends": (
        _wraps(votes, "_decide", lambda real, vq, total: setattr(vq, "quorate", False)),
        ClusterConfig.of(3, wait_for_all=True),
        None,
    ),
    "both halves win ties": (
        _replaces(votes, "has_tie_breaker_node", lambda vq: True),
        ClusterConfig.of(4, auto_tie_breaker=LOWEST),
        None,
    ),
    "neither half wins ties": (
        _replaces(votes, "has_tie_breaker_node", lambda vq: False),
        ClusterConfig.of(2, auto_tie_breaker=LOWEST),
        None,
    ),
    "the device votes for everybody": (
        _replaces(votes, "votes_present", lambda vq: vq.db.member_votes() + vq.db.qdevice.votes),
        ClusterConfig.of(2, device=DEVICE),
        DeviceKind.FFSPLIT,
    ),
    "the device votes for nobody": (
        _replaces(votes, "votes_present", lambda vq: vq.db.member_votes()),
        ClusterConfig.of(2, device=DEVICE),
        DeviceKind.FFSPLIT,
    ),
}


BOUNDS = Bounds(faults=2, states=5000)
"""A changed rule may lead to endlessly many states."""


def summary(config: ClusterConfig, device: DeviceKind | None) -> list[object]:
    report = check(config, device=device, bounds=BOUNDS)
    verdicts = [(one.name, one.outcome) for one in report.verdicts]
    return [verdicts, report.cold_start, [str(one) for one in report.fatal_sets]]


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_changed_rule_changes_the_report(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change, config, device = MUTATIONS[name]
    before = summary(config, device)
    change(monkeypatch)
    assert summary(config, device) != before


@pytest.mark.parametrize("nodes", [8, pytest.param(16, marks=pytest.mark.thorough)])
def test_the_nodes_that_a_large_cluster_needs_to_start_are_found_even_if_ids_break_ties(nodes: int) -> None:
    config = ClusterConfig.of(nodes, auto_tie_breaker=LOWEST)
    report = check(config, bounds=Bounds(faults=1, seconds=1))
    assert {len(nodeids) for nodeids in report.cold_start} == {nodes // 2 + 1}
    assert {failure.size for failure in report.fatal_sets} == {nodes // 2, nodes // 2 + 1}


def test_many_uneven_votes_leave_the_cold_start_undecided_instead_of_impossible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("votequorum_ipc.check.failures._SETS", 100)
    nodes = tuple(NodeConfig(at, votes=1 + at % 3) for at in range(1, 10))
    report = check(ClusterConfig((*nodes, NodeConfig(10, votes=9))), bounds=Bounds(faults=1, states=20))
    assert verdict(report, "cold start").outcome is Reachability.UNSETTLED


@pytest.mark.parametrize("options", [{}, {"auto_tie_breaker": LOWEST, "wait_for_all": True}])
def test_an_operator_can_make_two_clusters_of_three_nodes(options: dict[str, Any]) -> None:
    report = check(ClusterConfig.of(3, **options), operator=True, bounds=Bounds(faults=1))
    assert verdict(report, "split brain").outcome is Reachability.HAPPENS
