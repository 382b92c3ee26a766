"""Quorum arithmetic, and the options that change it."""

from __future__ import annotations

import pytest

from votequorum_ipc.cluster import Cluster, ClusterConfig, NodeConfig, SetExpected, TieBreaker
from votequorum_ipc.errors import CsErrorCode
from votequorum_ipc.types import InfoFlags, NodeState

from .bench import cluster_of, error, info, quorate, started


@pytest.mark.parametrize(
    ("nodes", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4), (8, 5), (9, 5)]
)
def test_quorum_is_more_than_half_of_the_expected_votes(nodes: int, quorum: int) -> None:
    assert info(cluster_of(nodes), 1).quorum == quorum


def test_the_majority_of_a_split_is_quorate_and_the_rest_is_not() -> None:
    cluster = cluster_of(5)
    cluster.partition({1, 2}, {3, 4, 5})
    assert quorate(cluster) == {3, 4, 5}


def test_neither_half_of_a_split_is_quorate() -> None:
    cluster = cluster_of(4)
    cluster.partition({1, 2}, {3, 4})
    assert quorate(cluster) == set()


def test_nodes_count_by_their_votes() -> None:
    cluster = started(ClusterConfig((NodeConfig(1, votes=3), NodeConfig(2), NodeConfig(3))))
    cluster.partition({1}, {2, 3})
    assert quorate(cluster) == {1}


def test_a_healed_network_makes_all_quorate_again() -> None:
    cluster = cluster_of(3)
    cluster.partition({1}, {2}, {3})
    cluster.heal()
    assert quorate(cluster) == {1, 2, 3}


def test_nodes_become_quorate_when_a_majority_has_started() -> None:
    cluster = Cluster(ClusterConfig.of(3))
    cluster.up(1)
    assert quorate(cluster) == set()
    cluster.up(2)
    assert quorate(cluster) == {1, 2}


def test_expected_votes_grow_with_the_votes_that_are_seen() -> None:
    cluster = cluster_of(5, expected_votes=2)
    assert (info(cluster, 1).highest_expected, info(cluster, 1).quorum) == (5, 3)


def test_quorum_does_not_fall_with_the_nodes() -> None:
    cluster = cluster_of(5)
    cluster.kill(4, 5)
    assert (info(cluster, 1).quorum, info(cluster, 1).total_votes) == (3, 3)


def test_a_node_that_joins_a_quorate_cluster_takes_over_its_expected_votes() -> None:
    cluster = cluster_of(5, expected_votes=2)
    cluster.kill(5)
    cluster.up(5)
    assert info(cluster, 5).node_expected_votes == 5


def test_a_lost_node_is_remembered_as_dead() -> None:
    cluster = cluster_of(3)
    cluster.kill(3)
    assert info(cluster, 1, of=3).node_state is NodeState.DEAD


# -- two_node --------------------------------------------------------------------------------------------


def test_with_two_node_both_nodes_stay_quorate_alone() -> None:
    cluster = cluster_of(2, two_node=True)
    cluster.partition({1}, {2})
    assert quorate(cluster) == {1, 2}


def test_with_two_node_a_node_that_starts_alone_waits_for_the_other() -> None:
    cluster = Cluster(ClusterConfig.of(2, two_node=True))
    cluster.up(1)
    assert quorate(cluster) == set()


def test_with_two_node_and_wait_for_all_off_a_node_starts_quorate_alone() -> None:
    cluster = Cluster(ClusterConfig.of(2, two_node=True, wait_for_all=False))
    cluster.up(1)
    assert quorate(cluster) == {1}


def test_with_more_than_two_nodes_two_node_counts_normally() -> None:
    cluster = cluster_of(3, two_node=True)
    assert info(cluster, 1).quorum == 2


# -- wait_for_all ----------------------------------------------------------------------------------------


def test_with_wait_for_all_a_majority_is_not_quorate_before_all_were_here() -> None:
    cluster = Cluster(ClusterConfig.of(3, wait_for_all=True))
    cluster.up(1, 2)
    assert quorate(cluster) == set()


def test_with_wait_for_all_a_majority_stays_quorate_after_all_were_here() -> None:
    cluster = cluster_of(3, wait_for_all=True)
    cluster.kill(3)
    assert quorate(cluster) == {1, 2}


def test_a_minority_that_lost_quorum_waits_for_all_again() -> None:
    cluster = cluster_of(5, wait_for_all=True)
    cluster.partition({1, 2}, {3, 4, 5})
    cluster.kill(5)
    cluster.heal()
    assert quorate(cluster) == set()


def test_a_node_that_joins_a_quorate_partition_need_not_wait() -> None:
    cluster = cluster_of(3, wait_for_all=True)
    cluster.kill(3)
    cluster.kill(2)
    cluster.up(2, 3)
    assert quorate(cluster) == {1, 2, 3}


def test_the_operator_can_cancel_waiting_for_the_whole_partition() -> None:
    cluster = Cluster(ClusterConfig.of(3, wait_for_all=True))
    cluster.up(1, 2)
    cluster.cancel_wait_for_all(2)
    assert quorate(cluster) == {1, 2}


# -- last_man_standing -----------------------------------------------------------------------------------


def test_after_the_window_only_the_survivors_votes_are_expected() -> None:
    cluster = cluster_of(8, last_man_standing=True)
    cluster.kill(6, 7, 8)
    cluster.advance(10)
    assert (info(cluster, 1).node_expected_votes, info(cluster, 1).quorum) == (5, 3)


def test_before_the_window_has_passed_nothing_changes() -> None:
    cluster = cluster_of(8, last_man_standing=True)
    cluster.kill(6, 7, 8)
    cluster.advance(9.999)
    assert info(cluster, 1).quorum == 5


def test_nodes_can_fail_one_after_the_other_down_to_two() -> None:
    cluster = cluster_of(8, last_man_standing=True)
    for lost in ((6, 7, 8), (4, 5), (3,)):
        cluster.kill(*lost)
        cluster.advance(10)
    assert (quorate(cluster), info(cluster, 1).quorum) == ({1, 2}, 2)
    cluster.kill(2)
    assert quorate(cluster) == set()


def test_with_a_tie_breaker_even_the_last_man_stands() -> None:
    cluster = cluster_of(4, last_man_standing=True, auto_tie_breaker=TieBreaker.LOWEST)
    for lost in (4, 3, 2):
        cluster.kill(lost)
        cluster.advance(10)
    assert (quorate(cluster), info(cluster, 1).quorum) == ({1}, 1)


def test_a_further_loss_restarts_the_window() -> None:
    cluster = cluster_of(8, last_man_standing=True)
    cluster.kill(8)
    cluster.advance(6)
    cluster.kill(7)
    assert cluster.next_deadline() == 16


def test_nodes_that_are_lost_without_quorum_do_not_count_as_gone() -> None:
    cluster = cluster_of(8, last_man_standing=True)
    cluster.kill(4, 5, 6, 7, 8)
    assert cluster.next_deadline() is None


def test_the_window_is_configurable() -> None:
    cluster = cluster_of(3, last_man_standing=True, last_man_standing_window=2500)
    cluster.kill(3)
    assert cluster.next_deadline() == 2.5


def test_uneven_votes_disable_last_man_standing() -> None:
    nodes = (NodeConfig(1), NodeConfig(2), NodeConfig(3, votes=2))
    cluster = started(ClusterConfig(nodes, last_man_standing=True))
    assert InfoFlags.LAST_MAN_STANDING not in info(cluster, 1).flags
    cluster.kill(2)
    assert cluster.next_deadline() is None


# -- auto_tie_breaker ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tie_breaker", "winners"),
    [
        (TieBreaker.NONE, set()),
        (TieBreaker.LOWEST, {1, 4}),
        (TieBreaker.HIGHEST, {1, 4}),
        ((3, 1), {2, 3}),
        ((4,), {1, 4}),
    ],
)
def test_of_two_halves_the_one_with_the_tie_breaker_stays_quorate(
    tie_breaker: TieBreaker | tuple[int, ...], winners: set[int]
) -> None:
    cluster = cluster_of(4, auto_tie_breaker=tie_breaker)
    cluster.partition({1, 4}, {2, 3})
    assert quorate(cluster) == winners


def test_lowest_and_highest_break_a_tie_for_different_halves() -> None:
    for tie_breaker, winners in ((TieBreaker.LOWEST, {1, 2}), (TieBreaker.HIGHEST, {3, 4})):
        cluster = cluster_of(4, auto_tie_breaker=tie_breaker)
        cluster.partition({1, 2}, {3, 4})
        assert quorate(cluster) == winners


def test_a_later_node_of_the_list_breaks_no_tie_while_an_earlier_one_may_be_in_the_other_half() -> None:
    cluster = cluster_of(4, auto_tie_breaker=(1, 3))
    cluster.partition({1, 2}, {3, 4})
    assert quorate(cluster) == {1, 2}


def test_a_later_node_of_the_list_breaks_the_tie_if_the_earlier_one_was_down_before() -> None:
    cluster = cluster_of(4, auto_tie_breaker=(1, 3))
    cluster.kill(1)
    cluster.partition({2}, {3, 4})
    assert quorate(cluster) == {3, 4}


def test_the_smaller_side_of_an_odd_split_is_not_quorate_even_with_the_tie_breaker() -> None:
    cluster = cluster_of(5, auto_tie_breaker=TieBreaker.LOWEST, wait_for_all=True)
    cluster.partition({1, 2}, {3, 4, 5})
    assert quorate(cluster) == {3, 4, 5}


def test_less_than_half_is_not_quorate_even_with_the_tie_breaker() -> None:
    cluster = cluster_of(4, auto_tie_breaker=TieBreaker.LOWEST)
    cluster.partition({1}, {2, 3, 4})
    assert quorate(cluster) == {2, 3, 4}


def test_a_half_that_starts_alone_is_not_quorate_by_its_tie_breaker() -> None:
    cluster = Cluster(ClusterConfig.of(4, auto_tie_breaker=TieBreaker.LOWEST))
    cluster.up(2, 3)
    assert quorate(cluster) == set()


# -- allow_downscale and expected_votes_tracking ---------------------------------------------------------


def test_with_downscale_a_node_that_leaves_removes_its_vote() -> None:
    cluster = cluster_of(5, allow_downscale=True)
    cluster.kill(4, 5)
    error(cluster, 1, SetExpected(3))
    cluster.up(4, 5)
    assert info(cluster, 1).quorum == 3
    cluster.leave(4, 5)
    assert (info(cluster, 1).node_expected_votes, info(cluster, 1).quorum) == (3, 2)


def test_with_downscale_quorum_does_not_fall_below_the_configured_cluster() -> None:
    cluster = cluster_of(5, allow_downscale=True)
    cluster.leave(4, 5)
    assert info(cluster, 1).quorum == 3


def test_without_downscale_leaving_is_the_same_as_being_killed() -> None:
    left, killed = cluster_of(5), cluster_of(5)
    left.leave(4, 5)
    killed.kill(4, 5)
    assert info(left, 1) == info(killed, 1)


def test_tracked_expected_votes_survive_a_restart() -> None:
    cluster = Cluster(ClusterConfig.of(3, expected_votes_tracking=True))
    cluster.disks[1].tracked_expected_votes = 7
    cluster.up(1)
    assert info(cluster, 1).node_expected_votes == 7


def test_the_highest_expected_votes_are_stored() -> None:
    cluster = cluster_of(3, expected_votes_tracking=True)
    assert {disk.tracked_expected_votes for disk in cluster.disks.values()} == {3}


@pytest.mark.parametrize(("tracking", "expected", "quorum"), [(False, 3, 2), (True, 5, 3)])
def test_with_expected_votes_tracking_an_operator_cannot_lower_the_expected_votes(
    tracking: bool, expected: int, quorum: int
) -> None:
    cluster = cluster_of(5, expected_votes_tracking=tracking)
    cluster.kill(4, 5)
    assert error(cluster, 1, SetExpected(3)) is CsErrorCode.OK
    for nodeid in (1, 2, 3):
        assert (info(cluster, nodeid).node_expected_votes, info(cluster, nodeid).quorum) == (expected, quorum)
