"""A reload in the model: which figures and keys follow the new configuration, and who is notified."""

from __future__ import annotations

from dataclasses import replace

from votequorum_ipc.cluster import (
    Cluster,
    ClusterConfig,
    DeviceConfig,
    GetQuorate,
    NodeConfig,
    QdeviceMasterWins,
    QdeviceUnregister,
    RuntimeValue,
    ServiceKind,
    SetExpected,
    SetVotes,
)
from votequorum_ipc.errors import CsErrorCode

from .bench import DEVICE, cluster_of, error, info, live_device, poll, register, sent_to


def value(cluster: Cluster, key: str) -> int | None:
    """A runtime key of node 1."""
    found: RuntimeValue | None = cluster.node(1).runtime.get(f"runtime.votequorum.{key}")
    return None if found is None else int(found.value)


def test_every_node_counts_the_votes_of_a_reloaded_configuration() -> None:
    cluster = cluster_of(3)
    cluster.reload(ClusterConfig((NodeConfig(1), NodeConfig(2, votes=3), NodeConfig(3))))
    assert [info(cluster, asked, of=2).node_votes for asked in (1, 2, 3)] == [3, 3, 3]
    assert [info(cluster, asked).node_expected_votes for asked in (1, 2, 3)] == [5, 5, 5]
    assert info(cluster, 1).quorum == 3


def test_a_reload_publishes_two_node() -> None:
    cluster = cluster_of(2)
    assert value(cluster, "two_node") == 0
    cluster.reload(replace(cluster.config, two_node=True))
    assert value(cluster, "two_node") == 1


def test_a_reload_publishes_whether_a_device_can_operate() -> None:
    cluster = cluster_of(3)
    assert value(cluster, "qdevice_can_operate") is None
    cluster.reload(replace(cluster.config, device=DeviceConfig(votes=1)))
    assert value(cluster, "qdevice_can_operate") == 1
    cluster.reload(replace(cluster.config, expected_votes=2))
    assert value(cluster, "qdevice_can_operate") == 0


def test_a_node_that_waits_for_all_because_of_two_node_stops_when_a_reload_removes_two_node() -> None:
    cluster = Cluster(ClusterConfig.of(2, two_node=True))
    cluster.up(1)
    assert value(cluster, "wait_for_all_status") == 1
    cluster.reload(replace(cluster.config, two_node=True))
    assert value(cluster, "wait_for_all_status") == 1
    cluster.reload(replace(cluster.config, two_node=False))
    assert value(cluster, "wait_for_all_status") == 0


def test_a_device_that_a_reload_excludes_may_only_unregister() -> None:
    cluster = cluster_of(2, device=DeviceConfig(votes=1))
    live_device(cluster, 1)
    cluster.reload(replace(cluster.config, expected_votes=2))
    assert error(cluster, 1, QdeviceMasterWins(DEVICE, False)) is CsErrorCode.ACCESS
    assert error(cluster, 1, QdeviceUnregister(DEVICE)) is CsErrorCode.OK


def test_a_device_that_was_unregistered_can_register_again() -> None:
    cluster = cluster_of(2, device=DeviceConfig(votes=1))
    for _ in range(2):
        register(cluster, 1)
        assert error(cluster, 1, QdeviceUnregister(DEVICE)) is CsErrorCode.OK


def test_with_two_node_the_votes_of_a_node_can_be_set() -> None:
    cluster = cluster_of(2, two_node=True)
    assert error(cluster, 1, SetVotes(2, 1)) is CsErrorCode.OK


def test_a_client_that_leaves_takes_no_other_clients_answer_along() -> None:
    cluster = cluster_of(2, device=DeviceConfig(votes=1))
    device = live_device(cluster, 1)
    clients = [cluster.connect(1, ServiceKind.QUORUM) for _ in range(2)]
    cluster.kill(2)
    for client in clients:
        cluster.request(client, GetQuorate())
    cluster.disconnect(clients[0])
    outputs = poll(cluster, device)
    assert [len(sent_to(client, outputs)) for client in clients] == [0, 1]


def test_a_node_that_joins_a_quorate_partition_needs_no_more_votes_than_its_nodes() -> None:
    cluster = cluster_of(9)
    cluster.kill(7, 8, 9)
    cluster.partition({1, 2, 3, 4, 5}, {6})
    assert error(cluster, 1, SetExpected(5)) is CsErrorCode.OK
    assert (info(cluster, 1).quorum, info(cluster, 6).quorum) == (3, 5)
    cluster.heal()
    assert (info(cluster, 1).quorum, info(cluster, 6).quorum) == (4, 4)
