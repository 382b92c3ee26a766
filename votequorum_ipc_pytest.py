"""The pytest plugin: one fixture, and nothing imported before a test asks for it.

A module outside of the package, because pytest imports it in every run wherever the package is installed, and
the package brings trio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from votequorum_ipc.testing import SimulatedCluster


@pytest.fixture(scope="session")
def simulated_cluster() -> Callable[..., AbstractAsyncContextManager[SimulatedCluster]]:
    """`votequorum_ipc.testing.simulated_cluster`: `async with simulated_cluster(nodes=3) as cluster:`."""
    from votequorum_ipc import testing

    return testing.simulated_cluster
