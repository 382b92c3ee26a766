"""The probability of quorum: formulas that can be checked by hand."""

from __future__ import annotations

import json
from itertools import product
from math import comb, prod
from pathlib import Path

import click
import pytest

from tests.cluster.bench import quorate, started
from votequorum_ipc.check import DeviceKind, likely
from votequorum_ipc.check.likely import Chances, availability, unavailability
from votequorum_ipc.cli.check_options import DownOption, chances
from votequorum_ipc.cluster import ClusterConfig, DeviceConfig, NodeConfig, TieBreaker

from .configurations import conf, run, write

DOWN = 0.1


def at_most(down: int, of: int) -> float:
    """The probability that at most this many of `of` nodes are down."""
    return sum(comb(of, count) * DOWN**count * (1 - DOWN) ** (of - count) for count in range(down + 1))


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 5, 15])
def test_a_plain_cluster_has_quorum_while_a_majority_is_up(nodes: int) -> None:
    found = availability(ClusterConfig.of(nodes), Chances(node=DOWN))
    assert found.probability == pytest.approx(at_most((nodes - 1) // 2, nodes))
    assert found.error == 0


def test_two_nodes_with_a_device_are_as_good_as_three() -> None:
    config = ClusterConfig.of(2, device=DeviceConfig(votes=1))
    found = availability(config, Chances(node=DOWN, device=DOWN), device=DeviceKind.FFSPLIT)
    assert found.probability == pytest.approx(at_most(1, 3))


def test_a_tie_breaker_adds_the_half_with_its_node() -> None:
    found = availability(ClusterConfig.of(4, auto_tie_breaker=TieBreaker.LOWEST), Chances(node=DOWN))
    two_down = 3 * DOWN**2 * (1 - DOWN) ** 2
    assert found.probability == pytest.approx(at_most(1, 4) + two_down)


def model_says(config: ClusterConfig, down: dict[int, float]) -> float:
    """The probability of quorum, from every set of crashed nodes in the model."""
    total = 0.0
    for up in product((False, True), repeat=len(config.nodes)):
        lost = [nodeid for nodeid, is_up in zip(config.nodeids, up, strict=True) if not is_up]
        cluster = started(config)
        cluster.kill(*lost)
        chance = prod(down[nodeid] if nodeid in lost else 1 - down[nodeid] for nodeid in config.nodeids)
        total += chance * bool(quorate(cluster))
    return total


def test_nodes_may_have_different_probabilities() -> None:
    nodes = tuple(NodeConfig(nodeid, votes=votes) for nodeid, votes in ((1, 1), (2, 1), (3, 2), (4, 2)))
    config = ClusterConfig(nodes, auto_tie_breaker=TieBreaker.HIGHEST)
    found = availability(config, Chances(node=DOWN, nodes={2: 0.3, 4: 0.2}))
    assert found.probability == pytest.approx(model_says(config, {1: DOWN, 2: 0.3, 3: DOWN, 4: 0.2}))


def test_a_failed_site_takes_its_nodes_down() -> None:
    found = availability(ClusterConfig.of(3), Chances(site=DOWN), sites=[(1, 2), (3,)])
    assert found.probability == pytest.approx(1 - DOWN)


def test_two_nodes_that_lose_their_link_are_both_quorate() -> None:
    found = availability(ClusterConfig.of(2, two_node=True), Chances(link=DOWN))
    assert found.split_brain == pytest.approx(1 - (1 - DOWN) ** 2)
    assert found.probability == pytest.approx((1 - DOWN) ** 2)


def test_a_node_that_is_cut_off_does_not_count() -> None:
    cut = availability(ClusterConfig.of(5), Chances(link=DOWN))
    assert cut.probability == pytest.approx(at_most(2, 5))
    assert cut.split_brain == 0


def test_a_site_that_is_cut_off_continues_if_it_has_quorum() -> None:
    found = availability(ClusterConfig.of(3), Chances(links={1: 0.5}), sites=[(1, 2), (3,)])
    assert found.probability == pytest.approx(1)


def test_mtbf_and_mttr_give_a_probability() -> None:
    assert unavailability(96, 4) == pytest.approx(0.04)


def test_too_many_situations_are_sampled_and_the_error_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    config, chances = ClusterConfig.of(5), Chances(node=0.4, link=0.1)
    exact = availability(config, chances)
    monkeypatch.setattr(likely, "_SITUATIONS", 10)
    found = availability(config, chances)
    assert (exact.error, found.error > 0) == (0, True)
    assert abs(found.probability - exact.probability) < 5 * found.error


def test_every_node_belongs_to_one_site() -> None:
    with pytest.raises(ValueError, match="one site"):
        availability(ClusterConfig.of(3), Chances(), sites=[(1, 2)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (["0.01"], Chances(node=0.01, device=0.01)),
        (["0.01", "device=0.002"], Chances(node=0.01, device=0.002)),
        (["node3=99h/1h", "link=0.5", "site=1d/1d"], Chances(nodes={3: 0.01}, link=0.5, site=0.5)),
    ],
)
def test_failures_are_read_from_the_command_line(text: list[str], expected: Chances) -> None:
    option = DownOption()
    assert chances(option.convert(one, None, None) for one in text) == expected


@pytest.mark.parametrize("text", ["2", "-1", "node=", "device2=0.1", "rack=0.1", "1h/", "0h/0h", "x"])
def test_an_invalid_probability_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"0\.01"):
        DownOption().convert(text, None, None)


@pytest.mark.parametrize("arguments", [["--down", "site=0.1"], ["--down", "node7=0.1"], ["--site", "1,2,3"]])
def test_an_unknown_component_is_wrong_usage(arguments: list[str], tmp_path: Path) -> None:
    assert run("--no-remedies", *arguments, write(tmp_path, conf(3))).exit_code == 64


def test_the_command_prints_the_probability_of_quorum(tmp_path: Path) -> None:
    file = write(tmp_path, conf(3))
    text = run("--no-remedies", "--down", "0.01", file).stdout
    assert "quorum with probability 0.999702, 3.5 nines, 157 minutes a year without" in text
    (report,) = json.loads(run("--no-remedies", "--json", "--down", "0.01", file).stdout)
    assert report["availability"]["probability"] == pytest.approx(0.999702)


def test_nines_and_minutes_agree() -> None:
    found = availability(ClusterConfig.of(1), Chances(node=0.001))
    assert found.nines == pytest.approx(3)
    assert found.minutes_a_year == pytest.approx(525.96)
