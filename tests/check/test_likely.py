"""How likely quorum is: formulas that one can check by hand."""

from __future__ import annotations

from math import comb

import pytest

from votequorum_ipc.check import DeviceKind
from votequorum_ipc.check.likely import availability
from votequorum_ipc.cluster import ClusterConfig, DeviceConfig, TieBreaker

DOWN = 0.1


def at_most(down: int, of: int) -> float:
    """The probability that at most that many of `of` nodes are down."""
    return sum(comb(of, count) * DOWN**count * (1 - DOWN) ** (of - count) for count in range(down + 1))


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 5, 15])
def test_a_plain_cluster_has_quorum_while_a_majority_is_up(nodes: int) -> None:
    found = availability(ClusterConfig.of(nodes), DOWN)
    assert found.probability == pytest.approx(at_most((nodes - 1) // 2, nodes))
    assert found.error == 0


def test_two_nodes_with_a_device_are_as_good_as_three() -> None:
    config = ClusterConfig.of(2, device=DeviceConfig(votes=1))
    found = availability(config, DOWN, device=DeviceKind.FFSPLIT)
    assert found.probability == pytest.approx(at_most(1, 3))


def test_a_tie_breaker_adds_the_half_with_its_node() -> None:
    found = availability(ClusterConfig.of(4, auto_tie_breaker=TieBreaker.LOWEST), DOWN)
    two_down = 3 * DOWN**2 * (1 - DOWN) ** 2
    assert found.probability == pytest.approx(at_most(1, 4) + two_down)


def test_sixteen_nodes_are_sampled_and_the_error_is_said() -> None:
    found = availability(ClusterConfig.of(16), 0.4)
    exact = sum(comb(16, count) * 0.4**count * 0.6 ** (16 - count) for count in range(8))
    assert found.error > 0
    assert abs(found.probability - exact) < 5 * found.error


def test_nines_and_minutes_say_the_same() -> None:
    found = availability(ClusterConfig.of(1), 0.001)
    assert found.nines == pytest.approx(3)
    assert found.minutes_a_year == pytest.approx(525.96)
