"""`check --suggest`: every suggestion survives the wanted failures, and the best comes first."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest

from tests.cluster.bench import quorate, started
from votequorum_ipc.check.suggest import Suggestion, Wanted, Wish, quorum_section, suggestions
from votequorum_ipc.cluster import QdevicePoll, QdeviceRegister, ServiceKind
from votequorum_ipc.cluster.corosync_conf import parse_corosync_conf

from .configurations import conf, run, write

TWO = (1, 2)
FOUR = (1, 2, 3, 4)
SITES = ((1, 2), (3, 4))

WANTED = {
    "any of two": Wanted(Wish.ANY_NODE, TWO),
    "any two of three": Wanted(Wish.ANY_2_NODES, (1, 2, 3)),
    "any two of five": Wanted(Wish.ANY_2_NODES, (1, 2, 3, 4, 5)),
    "one of two sites": Wanted(Wish.SITE, FOUR, SITES),
    "one of two uneven sites": Wanted(Wish.SITE, (1, 2, 3), ((1, 2), (3,))),
}


@functools.cache
def found(wanted: Wanted) -> list[Suggestion]:
    """The suggestions, each with a bounded check."""
    return suggestions(wanted, seconds=0.1)


def survives(suggestion: Suggestion, lost: tuple[int, ...]) -> bool:
    """Whether the model is quorate after a crash, if the device votes for every remaining node."""
    cluster = started(suggestion.config)
    for crash in ((), lost):
        cluster.kill(*crash)
        for nodeid, node in cluster.nodes.items() if suggestion.config.device else ():
            conn = cluster.connect(nodeid, ServiceKind.VOTEQUORUM)
            cluster.request(conn, QdeviceRegister("net"))
            cluster.request(conn, QdevicePoll("net", True, node.ring_id))
    return bool(quorate(cluster))


@pytest.mark.parametrize("name", WANTED)
def test_every_suggestion_survives_the_wanted_failures(name: str) -> None:
    listed = found(WANTED[name])
    assert listed
    for suggestion in listed:
        for lost in WANTED[name].losses:
            assert survives(suggestion, lost), (suggestion.name, lost)


def test_suggestions_that_need_fencing_come_after_those_that_cannot_split() -> None:
    names = [suggestion.name for suggestion in suggestions(WANTED["any of two"], seconds=30)]
    assert names == ["quorum device, ffsplit", "votes alone, 1 more node", "two_node"]


def test_the_cheapest_of_equally_safe_configurations_comes_first() -> None:
    assert found(Wanted(Wish.ANY_NODE, (1, 2, 3)))[0].name == "votes alone"


def test_two_equal_sites_need_something_at_a_third() -> None:
    assert {suggestion.name for suggestion in found(WANTED["one of two sites"])} == {
        "quorum device, ffsplit",
        "quorum device, lms",
        "votes alone, 1 more node",
    }


def test_the_suggestion_says_how_many_nodes_may_fail_without_the_device() -> None:
    device = next(one for one in found(WANTED["one of two sites"]) if one.name == "quorum device, ffsplit")
    assert device.without_device == 1
    assert "while the device is down, any one node may fail" in device.costs


def test_if_no_option_helps_more_nodes_do() -> None:
    (suggestion,) = found(Wanted(Wish.ANY_2_NODES, TWO))
    assert suggestion.nodeids_to_add == (3, 4, 5)


def test_one_node_cannot_survive_its_own_loss() -> None:
    with pytest.raises(ValueError, match="two nodes or more"):
        Wanted(Wish.ANY_NODE, (1,))


@pytest.mark.parametrize("name", WANTED)
def test_the_printed_section_is_the_configuration_that_was_checked(name: str) -> None:
    for suggestion in found(WANTED[name]):
        nodes = conf(len(suggestion.config.nodes)).partition("quorum {")[0]
        parsed = parse_corosync_conf(nodes + quorum_section(suggestion))
        assert parsed.unknown == ()
        assert (parsed.cluster.device, parsed.cluster.two_node) == (
            suggestion.config.device,
            suggestion.config.two_node,
        )
        assert parsed.device_algorithm == suggestion.device


@pytest.mark.parametrize(
    "sites",
    [((1, 2),), ((1, 2), (2, 3, 4)), ((1, 2), (3,)), ((1, 2), (3, 4, 5))],
    ids=["one", "overlapping", "incomplete", "unknown node"],
)
def test_invalid_sites_are_refused(sites: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="site"):
        Wanted(Wish.SITE, FOUR, sites)


def test_the_command_prints_suggestions_for_the_nodes_of_a_file(tmp_path: Path) -> None:
    result = run("--suggest", "any-node", "--seconds", "0.1", write(tmp_path, conf(2)))
    assert "Wanted: 2 nodes, to survive the loss of any one node" in result.stdout
    assert "1. quorum device, ffsplit\n   - needs a machine for corosync-qnetd" in result.stdout
    assert "     quorum {\n         provider: corosync_votequorum\n" in result.stdout


def test_the_json_has_the_nodes_to_add_and_the_verdicts() -> None:
    result = run("--suggest", "site", "--site", "1", "--site", "2", "--seconds", "0.1", "--json")
    shown = json.loads(result.stdout)
    assert (shown["wish"], shown["sites"]) == ("site", [[1], [2]])
    more = next(one for one in shown["suggestions"] if one["name"] == "votes alone, 1 more node")
    assert more["nodes_to_add"] == [3]
    assert {one["name"] for one in more["verdicts"]} >= {"split brain", "stuck"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--suggest", "any-node"],
        ["--suggest", "site", "--nodes", "4"],
        ["--suggest", "site", "--site", "1,x", "--site", "2"],
        ["--suggest", "site", "--nodes", "3", "--site", "1", "--site", "2"],
        ["--suggest", "any-node", "--running"],
        ["--suggest", "any-node", "--nodes", "3", "--html", "page.html"],
        ["--nodes", "4"],
    ],
)
def test_a_wish_without_nodes_is_wrong_usage(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 64
