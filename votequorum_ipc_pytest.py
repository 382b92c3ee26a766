"""The pytest plugin: fixtures for simulated clusters, and nothing imported before a test asks for one.

A module outside of the package, because pytest imports it in every run wherever the package is installed, and
the package brings trio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from votequorum_ipc.testing import SimulatedCluster, SimulatedClusterProxy


@pytest.fixture(scope="session")
def simulated_cluster() -> Callable[..., AbstractAsyncContextManager[SimulatedCluster]]:
    """For tests under trio: `async with simulated_cluster(nodes=3) as cluster:`."""
    from votequorum_ipc import testing

    return testing.simulated_cluster


@pytest.fixture(scope="session")
def simulated_cluster_in_thread() -> Callable[..., AbstractContextManager[SimulatedClusterProxy]]:
    """For any test: `with simulated_cluster_in_thread(nodes=3) as cluster:`."""
    from votequorum_ipc import testing

    return testing.simulated_cluster_in_thread


@pytest.fixture(scope="session")
def simulated_cluster_in_process() -> Callable[..., AbstractContextManager[SimulatedClusterProxy]]:
    """For any test: `with simulated_cluster_in_process(nodes=3) as cluster:`."""
    from votequorum_ipc import testing

    return testing.simulated_cluster_in_process
