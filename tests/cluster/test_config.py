"""How votequorum reads a configuration: what it refuses, disables and computes."""

from __future__ import annotations

import pytest

from votequorum_ipc.cluster import (
    Cluster,
    ClusterConfig,
    ConfigurationError,
    DeviceConfig,
    NodeConfig,
    TieBreaker,
    effective_rules,
    parse_tie_breaker,
)

UNEVEN = (NodeConfig(1, votes=2), NodeConfig(2))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (ClusterConfig.of(2, two_node=True, device=DeviceConfig(votes=1)), "two_node and a quorum device"),
        (
            ClusterConfig.of(3, auto_tie_breaker=TieBreaker.LOWEST, last_man_standing=True),
            "odd sized cluster",
        ),
        (ClusterConfig.of(2, last_man_standing=True, device=DeviceConfig()), "last_man_standing"),
        (ClusterConfig.of(2, auto_tie_breaker=TieBreaker.LOWEST, device=DeviceConfig()), "auto_tie_breaker"),
        (ClusterConfig.of(2, allow_downscale=True, device=DeviceConfig()), "allow_downscale"),
        (ClusterConfig.of(2, expected_votes=3, device=DeviceConfig()), "when expected_votes is set"),
        (ClusterConfig(UNEVEN, device=DeviceConfig()), "not all nodes have one vote"),
        (ClusterConfig.of(2, expected_votes=3, device=DeviceConfig(votes=2)), "too high"),
        (ClusterConfig.of([1, 1]), "same node id"),
        (ClusterConfig.of(0), "1 to 384 nodes"),
        (ClusterConfig.of(385), "1 to 384 nodes"),
        (ClusterConfig.of([0, 1]), "nodeid"),
        (ClusterConfig((NodeConfig(1, votes=-1),)), "quorum_votes"),
        (ClusterConfig.of(2, device=DeviceConfig(votes=1, timeout=0)), "device.timeout"),
    ],
)
def test_a_configuration_that_votequorum_refuses_is_refused_with_its_reason(
    config: ClusterConfig, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        Cluster(config)


def test_expected_votes_are_the_sum_of_the_nodes_votes() -> None:
    assert effective_rules(ClusterConfig(UNEVEN)).initial_expected_votes(0) == 3


def test_configured_expected_votes_replace_the_sum() -> None:
    assert effective_rules(ClusterConfig.of(3, expected_votes=5)).initial_expected_votes(0) == 5


def test_tracked_expected_votes_replace_the_configured_ones() -> None:
    config = ClusterConfig.of(3, expected_votes=5, expected_votes_tracking=True)
    assert effective_rules(config).initial_expected_votes(7) == 7


def test_with_nothing_tracked_yet_configured_expected_votes_are_ignored_as_in_votequorum() -> None:
    config = ClusterConfig.of(3, expected_votes=5, expected_votes_tracking=True)
    assert effective_rules(config).initial_expected_votes(0) == 3


def test_allow_downscale_turns_expected_votes_tracking_on() -> None:
    assert effective_rules(ClusterConfig.of(3, allow_downscale=True)).expected_votes_tracking


def test_two_node_implies_wait_for_all() -> None:
    assert effective_rules(ClusterConfig.of(2, two_node=True)).wait_for_all


def test_wait_for_all_explicitly_off_stays_off_with_two_node() -> None:
    assert not effective_rules(ClusterConfig.of(2, two_node=True, wait_for_all=False)).wait_for_all


def test_a_tie_breaker_disables_two_node_but_not_the_wait_for_all_that_it_implied() -> None:
    rules = effective_rules(ClusterConfig.of(2, two_node=True, auto_tie_breaker=TieBreaker.LOWEST))
    assert (rules.two_node, rules.wait_for_all, rules.tie_breaker) == (False, True, TieBreaker.LOWEST)
    assert "two_node" in rules.warnings[0]


def test_a_tie_breaker_is_disabled_with_odd_votes_and_no_wait_for_all() -> None:
    rules = effective_rules(ClusterConfig.of(3, auto_tie_breaker=TieBreaker.HIGHEST))
    assert rules.tie_breaker is TieBreaker.NONE
    assert "auto_tie_breaker" in rules.warnings[0]


def test_a_tie_breaker_stays_with_odd_votes_and_wait_for_all() -> None:
    config = ClusterConfig.of(3, auto_tie_breaker=(2, 1), wait_for_all=True)
    assert effective_rules(config).tie_breaker is TieBreaker.LIST


def test_a_tie_breaker_that_was_disabled_does_not_conflict_with_a_device() -> None:
    config = ClusterConfig.of(3, auto_tie_breaker=TieBreaker.LOWEST, device=DeviceConfig(votes=1))
    assert effective_rules(config).has_device


def test_a_device_without_configured_votes_gets_one_less_than_the_nodes_and_is_expected() -> None:
    rules = effective_rules(ClusterConfig.of(4, device=DeviceConfig()))
    assert (rules.device_votes, rules.initial_expected_votes(0)) == (3, 7)


def test_a_devices_configured_votes_are_not_expected_until_they_are_seen() -> None:
    rules = effective_rules(ClusterConfig.of(4, device=DeviceConfig(votes=1)))
    assert (rules.device_votes, rules.initial_expected_votes(0)) == (1, 4)


def test_a_device_without_a_model_is_ignored() -> None:
    assert not effective_rules(ClusterConfig.of(2, two_node=True, device=DeviceConfig(model=""))).has_device


@pytest.mark.parametrize(
    ("enabled", "node", "meaning"),
    [
        (False, None, TieBreaker.NONE),
        (False, "highest", TieBreaker.NONE),
        (True, None, TieBreaker.LOWEST),
        (True, "lowest", TieBreaker.LOWEST),
        (True, "highest", TieBreaker.HIGHEST),
        (True, "3 1 2", (3, 1, 2)),
        (True, " 3  1", (3, 1)),
        (True, "3 1 x 2", (3, 1)),
        (True, "3,1", (3,)),
        (True, "3 0 1", (3,)),
        (True, "middle", TieBreaker.NONE),
        (True, "0", TieBreaker.NONE),
        (True, "", TieBreaker.NONE),
    ],
)
def test_the_tie_breaker_node_is_read_as_votequorum_reads_it(
    enabled: bool, node: str | None, meaning: TieBreaker | tuple[int, ...]
) -> None:
    assert parse_tie_breaker(enabled, node) == meaning
