"""Fixtures for the screen's tests: a time zone, and clusters to show."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from votequorum_ipc.cluster import ClusterConfig, DeviceConfig, NodeConfig
from votequorum_ipc.testing import SimulatedClusterProxy, simulated_cluster_in_thread


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same local time everywhere."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def named(*names: str) -> tuple[NodeConfig, ...]:
    """Nodes with these names, and two links each."""
    return tuple(
        NodeConfig(number, 1, name, (f"192.0.2.{number}", f"198.51.100.{number}"))
        for number, name in enumerate(names, 1)
    )


@pytest.fixture
def three() -> Iterator[SimulatedClusterProxy]:
    """alpha, beta and gamma."""
    with simulated_cluster_in_thread(config=ClusterConfig(named("alpha", "beta", "gamma"))) as cluster:
        yield cluster


@pytest.fixture
def with_device() -> Iterator[SimulatedClusterProxy]:
    """alpha, beta and gamma, with room for a quorum device with a vote."""
    config = ClusterConfig(named("alpha", "beta", "gamma"), device=DeviceConfig(votes=1))
    with simulated_cluster_in_thread(config=config) as cluster:
        yield cluster
