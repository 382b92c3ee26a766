"""A corosync.conf gives the configuration that a real corosync reads from it, or an error that says what is
wrong.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.subjects import as_model
from tests.real.cluster import three_nodes
from tests.real.config import Config, Device, Node
from votequorum_ipc import Cmap
from votequorum_ipc.cluster import ConfigurationError, TieBreaker
from votequorum_ipc.cluster.corosync_conf import AS_SIMULATED, parse_corosync_conf
from votequorum_ipc.testing import simulated_cluster

IGNORED = """
totem {
    token: 1000
    cluster_name: c
    version: 2
    transport: udpu
}
system {
    sched_rr: no
}
logging {
    debug: on
    logger_subsys {
        subsys: QUORUM
        debug: on
    }
}
quorum {
    provider: corosync_votequorum
    color: red
}
"""

NODES = "nodelist {\n  node {\n    nodeid: 1\n  }\n  node {\n    nodeid: 2\n  }\n}\n"


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        Config(nodes=three_nodes(), device=Device(votes=2)),
        Config(nodes=(Node(1, votes=3), Node(7, name="seven", votes=0)), quorum={"two_node": 1}),
        Config(
            nodes=three_nodes(),
            quorum={"last_man_standing": 1, "last_man_standing_window": 500, "wait_for_all": 0},
        ),
        Config(nodes=three_nodes(), quorum={"auto_tie_breaker": 1, "auto_tie_breaker_node": "2 3"}),
        Config(quorum={"expected_votes": 5, "allow_downscale": 1}),
    ],
)
def test_a_file_that_real_daemons_accept_gives_the_same_cluster(config: Config) -> None:
    conf = parse_corosync_conf(config.render(Path("/state")))
    assert conf.cluster == as_model(config)
    assert conf.ipc_type == config.transport


def test_each_setting_without_effect_on_a_simulated_cluster_is_named_once() -> None:
    conf = parse_corosync_conf(NODES + IGNORED)
    assert conf.cluster.cluster_name == "c"
    assert conf.ignored == ("totem.token", "totem.transport", "system.sched_rr")
    assert conf.unknown == ("quorum.color",)


def test_a_file_without_a_provider_gets_a_warning_that_votequorum_would_be_missing() -> None:
    without = parse_corosync_conf(NODES + "quorum {\n  two_node: 1\n}\n")
    assert without.cluster.two_node
    [warning] = without.warnings
    assert warning.startswith("quorum.provider is not set")
    assert parse_corosync_conf(NODES + IGNORED).warnings == ()


async def test_settings_that_a_simulated_cluster_has_anyway_are_not_named() -> None:
    text = "totem {\n version: 2\n transport: knet\n}\n"
    assert parse_corosync_conf(NODES + text).ignored == ()
    async with simulated_cluster(nodes=1) as cluster:
        address = str(cluster.address(1)).format(service="cmap")
        async with await Cmap.initialize(address=address) as cmap:
            shown = {(key, str(await cmap.get(key))) for key, _ in AS_SIMULATED}
    assert shown == AS_SIMULATED


def test_comments_blank_lines_and_spaces_are_ignored() -> None:
    text = "# a comment\n\n  quorum   {\n\n  two_node:1  \n # wait_for_all: 1\n}\n" + NODES
    conf = parse_corosync_conf(text)
    assert (conf.cluster.two_node, conf.cluster.wait_for_all) == (True, None)
    assert conf.cluster.nodeids == (1, 2)


def test_the_users_who_may_connect_are_listed_as_written() -> None:
    text = NODES + "uidgid {\n uid: 33\n}\nuidgid {\n gid: haclient\n uid: hacluster\n}\n"
    conf = parse_corosync_conf(text)
    assert (conf.uids, conf.gids) == (("33", "hacluster"), ("haclient",))


def test_a_device_without_a_model_is_ignored_and_a_tie_breaker_is_off_by_default() -> None:
    conf = parse_corosync_conf(NODES + "quorum {\n auto_tie_breaker_node: 1\n device {\n votes: 1\n }\n}\n")
    assert conf.cluster.device is None
    assert conf.cluster.auto_tie_breaker is TieBreaker.NONE
    assert "quorum.device has no model: votequorum ignores the whole section" in conf.warnings


def test_a_tie_breaker_that_votequorum_cannot_read_is_named() -> None:
    conf = parse_corosync_conf(
        NODES
        + "quorum {\n provider: corosync_votequorum\n auto_tie_breaker: 1\n auto_tie_breaker_node: low\n}\n"
    )
    assert conf.cluster.auto_tie_breaker is TieBreaker.NONE
    [warning] = conf.warnings
    assert warning.startswith("quorum.auto_tie_breaker_node is 'low', which is neither lowest")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nodelist {\n  node\n}\n", "line 2: neither a section nor"),
        ("}\n", "line 1: a closing brace too many"),
        ("quorum {\n", "'quorum' is not closed"),
        ("quorum {\n two_node: 1\n}\n", "no nodelist section"),
        ("nodelist {\n node {\n quorum_votes: 1\n }\n}\n", "^a node in the node list has no nodeid"),
        ("nodelist {\n node {\n name: a\n }\n}\n", "^the node a in the node list has no nodeid"),
        (
            "nodelist {\n node {\n ring0_addr: 192.0.2.1\n name: a\n }\n}\n",
            "^the node 192.0.2.1 in .* no nodeid",
        ),
        ("\x7fELF\x02\0\udcff: {\n", "^this is not a text file"),
        ("nodelist {\n node {\n nodeid: one\n }\n}\n", "nodeid is a number of 0 or more, not 'one'"),
        (NODES + "quorum {\n two_node: 2\n}\n", "two_node is 0 or 1"),
        (NODES + "quorum {\n provider: corosync_ykd\n}\n", "the only one known is corosync_votequorum"),
        (NODES + "system {\n qb_ipc_type: mq\n}\n", "qb_ipc_type is 'mq'"),
    ],
)
def test_an_invalid_file_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_corosync_conf(text)
