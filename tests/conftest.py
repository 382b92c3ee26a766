"""Fixtures for all tests: real corosync daemons, started when a test first asks for one.

  shm_daemon, socket_daemon   a one-node corosync, shared between tests, in its configured state; the test
                              runs in its network namespace, so that default addresses reach it
  daemon                      each of the two in turn: the test runs once for each transport
  many_votes_daemon           as `daemon`, on a node with `MANY_VOTES` votes: for changes of expected votes
  cluster3                    three nodes, shared between tests: healed, running, quorate, as configured
  start_daemon                a function that starts one node from a `Config`, for this test alone
  start_cluster               the same for a cluster

Tests marked `thorough` run only with --thorough, as in `make model-check`: they repeat another test with a
larger bound. Tests marked `long` start first, so that none of them runs alone at the end.

A test that leaves shared daemons changed costs the next one a restart of half a second, nothing else. On a
machine that cannot run a daemon, these tests are skipped with the reason, or fail with it if
REQUIRE_COROSYNC=1.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Literal, NoReturn

import pytest
from hypothesis import settings

from tests.real import installation, leftovers, requirements
from tests.real.cluster import Cluster, cluster
from tests.real.config import MANY_VOTES, Config
from tests.real.daemon import Daemon, one_node
from tests.real.pool import DaemonPool
from tests.real.switch import SwitchError

# By default, an example that takes 0.2 s fails. On a busy machine any example may.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

StartDaemon = Callable[[Config], Daemon]
StartCluster = Callable[[Config], Cluster]


def cannot(reason: str) -> NoReturn:
    """Skip with a reason; fail instead if REQUIRE_COROSYNC=1."""
    if os.environ.get("REQUIRE_COROSYNC") == "1":
        pytest.fail(f"REQUIRE_COROSYNC=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def pytest_configure() -> None:
    # A shell's background jobs ignore Ctrl-C, and every process that a test interrupts would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="run the tests marked `thorough` too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    if not config.getoption("--thorough"):
        thorough = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=thorough)
        items[:] = [item for item in items if item not in thorough]


@pytest.fixture(scope="session")
def real_corosync() -> None:
    """Real daemons can be started here, and leftovers of earlier runs are removed."""
    installation.put_on_path()
    if reason := requirements.missing():
        cannot(reason)
    leftovers.reap()


@pytest.fixture(scope="session")
def daemon_pool(real_corosync: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonPool]:
    """The daemons that tests share."""
    with DaemonPool(lambda name: tmp_path_factory.mktemp(name)) as pool:
        yield pool


def _unless_unbuildable(build: Callable[[], Cluster]) -> Cluster:
    """Skip if the kernel has no bridges or veth pairs: that is no defect of the code under test."""
    try:
        return build()
    except SwitchError as error:
        cannot(f"no network can be built between hosts: {error}")


def _visited(
    pool: DaemonPool, transport: Literal["shm", "socket"], votes: int | None = None
) -> Iterator[Daemon]:
    daemon = pool.one_node(transport, votes)
    with daemon.namespace():
        yield daemon


@pytest.fixture
def shm_daemon(daemon_pool: DaemonPool) -> Iterator[Daemon]:
    """A one-node daemon with corosync's default transport; the test runs in its network namespace."""
    yield from _visited(daemon_pool, "shm")


@pytest.fixture
def socket_daemon(daemon_pool: DaemonPool) -> Iterator[Daemon]:
    """A one-node daemon with the socket transport; the test runs in its network namespace."""
    yield from _visited(daemon_pool, "socket")


@pytest.fixture(params=["shm", "socket"])
def daemon(request: pytest.FixtureRequest, daemon_pool: DaemonPool) -> Iterator[Daemon]:
    """A one-node daemon, of each transport in turn; the test runs in its network namespace."""
    yield from _visited(daemon_pool, request.param)


@pytest.fixture(params=["shm", "socket"])
def many_votes_daemon(request: pytest.FixtureRequest, daemon_pool: DaemonPool) -> Iterator[Daemon]:
    """As `daemon`, but its node has `MANY_VOTES` votes, so that a test can change expected votes freely.

    The next test gets the configured expected votes back; a node's votes could not be restored.
    """
    yield from _visited(daemon_pool, request.param, MANY_VOTES)


@pytest.fixture
def start_daemon(real_corosync: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartDaemon]:
    """Start a ready one-node daemon from a configuration; it ends with the test."""
    with contextlib.ExitStack() as daemons:

        def start(config: Config) -> Daemon:
            return daemons.enter_context(one_node(config, tmp_path_factory.mktemp("daemon")))

        yield start


@pytest.fixture
def cluster3(daemon_pool: DaemonPool) -> Cluster:
    """Three nodes in one quorate membership. A test enters a node's namespace to connect to it."""
    return _unless_unbuildable(daemon_pool.cluster3)


@pytest.fixture
def start_cluster(real_corosync: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartCluster]:
    """Start a cluster from a configuration, all nodes in one membership; it ends with the test."""
    with contextlib.ExitStack() as clusters:

        def start(config: Config) -> Cluster:
            whole = cluster(config, tmp_path_factory.mktemp("cluster"))
            return _unless_unbuildable(lambda: clusters.enter_context(whole))

        yield start
