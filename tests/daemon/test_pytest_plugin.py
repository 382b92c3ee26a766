"""The pytest plugin, as used by other projects' test suites."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PLUGIN = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]


def run(directory: Path, test: str, *options: str) -> str:
    """Run a test suite of one file, with the plugin loaded as if installed."""
    (directory / "test_it.py").write_text(test)
    plugins = [option for module in PLUGIN.values() for option in ("-p", module)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", *plugins, *options],
        cwd=directory,
        env={"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


OWN_LOOP = """
async def test_async(simulated_cluster):
    async with simulated_cluster(nodes=3) as cluster:
        vq = await cluster.connect(node=1)
        cluster.partition({1}, {2, 3})
        assert not (await vq.getinfo()).quorate
"""

THREAD = """
from votequorum_ipc import Votequorum

async def test_async(simulated_cluster_in_thread):
    with simulated_cluster_in_thread(nodes=3) as cluster:
        async with await Votequorum.initialize(address=cluster.address(1)) as vq:
            await vq.trackstart()
            await vq.next_event()
            assert (await vq.next_event()).quorate
            cluster.partition({1}, {2, 3})
            assert not (await vq.getinfo()).quorate
"""

SYNCHRONOUS = """
from votequorum_ipc.blocking import Votequorum

def test_plain(simulated_cluster_in_thread, simulated_cluster_in_process):
    for open_cluster in (simulated_cluster_in_thread, simulated_cluster_in_process):
        with open_cluster(nodes=2, two_node=True) as cluster:
            with Votequorum.initialize(address=cluster.address(2)) as vq:
                assert vq.getinfo(timeout=10).quorum == 1
"""

ANYIO = """
import pytest

pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "{backend}"
"""

PYTEST_TRIO = ("-p", "pytest_trio.plugin", "-o", "trio_mode=true")
PYTEST_ASYNCIO = (
    *("-p", "pytest_asyncio.plugin", "-o", "asyncio_mode=auto"),
    *("-o", "asyncio_default_fixture_loop_scope=function"),  # older versions warn if it is not set
)
PYTEST_ANYIO = ("-p", "anyio.pytest_plugin")


@pytest.mark.parametrize(
    ("test", "options"),
    [
        pytest.param(OWN_LOOP, PYTEST_TRIO, id="pytest-trio, the test's loop"),
        pytest.param(THREAD, PYTEST_TRIO, id="pytest-trio, a thread"),
        pytest.param(THREAD, PYTEST_ASYNCIO, id="pytest-asyncio, a thread"),
        pytest.param(ANYIO.format(backend="trio") + OWN_LOOP, PYTEST_ANYIO, id="anyio on trio, its loop"),
        pytest.param(ANYIO.format(backend="trio") + THREAD, PYTEST_ANYIO, id="anyio on trio, a thread"),
        pytest.param(ANYIO.format(backend="asyncio") + THREAD, PYTEST_ANYIO, id="anyio on asyncio, a thread"),
        pytest.param(SYNCHRONOUS, (), id="no plugin, a thread and a process"),
    ],
)
def test_the_fixtures_work_under_each_plugin_and_without_one(
    tmp_path: Path, test: str, options: tuple[str, ...]
) -> None:
    assert "1 passed" in run(tmp_path, test, *options)


def test_under_asyncio_the_fixture_for_trio_says_what_to_write_instead(tmp_path: Path) -> None:
    output = run(tmp_path, OWN_LOOP, *PYTEST_ASYNCIO)
    assert "1 failed" in output
    assert "`with simulated_cluster_in_thread(...) as cluster`" in output


@pytest.mark.parametrize(
    ("number", "options"),
    [(1, PYTEST_TRIO), (2, PYTEST_ASYNCIO), (3, ()), (4, PYTEST_TRIO)],
    ids=["trio", "asyncio", "no event loop", "latency"],
)
def test_the_documented_examples_are_tests_that_pass(
    tmp_path: Path, number: int, options: tuple[str, ...]
) -> None:
    text = (ROOT / "docs" / "embedded-daemon.md").read_text()
    example = text.split("```python\n")[number].split("```", 1)[0]
    assert "1 passed" in run(tmp_path, example, *options)


def test_a_suite_that_does_not_use_the_plugin_imports_nothing_of_ours(tmp_path: Path) -> None:
    test = """
import sys

def test_nothing():
    assert not {"votequorum_ipc", "trio", "construct"} & set(sys.modules)
"""
    assert "1 passed" in run(tmp_path, test)


def test_the_module_is_shipped() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for module in PLUGIN.values():
        assert f"{module}.py" in wheel["only-include"]


def test_options_and_a_configuration_exclude_each_other() -> None:
    import trio

    from votequorum_ipc.cluster import ClusterConfig
    from votequorum_ipc.testing import simulated_cluster

    async def main() -> None:
        async with simulated_cluster(config=ClusterConfig.of(2), two_node=True):
            pass

    with pytest.raises(TypeError, match="two_node"):
        trio.run(main)
