"""The pytest plugin, as other people's test suites meet it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PLUGIN = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]


def run(directory: Path, test: str, *options: str) -> str:
    """Run a test suite of one file, in which the plugin is loaded as an installed one is."""
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


def test_the_fixture_gives_clusters_to_tests_of_any_kind(tmp_path: Path) -> None:
    test = """
import trio
from votequorum_ipc import InfoFlags

async def test_async(simulated_cluster):
    async with simulated_cluster(nodes=3) as cluster:
        vq = await cluster.connect(node=1)
        cluster.partition({1}, {2, 3})
        assert InfoFlags.QUORATE not in (await vq.getinfo()).flags

def test_plain(simulated_cluster):
    async def main():
        async with simulated_cluster(nodes=2, two_node=True) as cluster:
            return await (await cluster.connect(node=2)).getinfo()
    assert trio.run(main).quorum == 1
"""
    assert "2 passed" in run(tmp_path, test, "-p", "pytest_trio.plugin", "-o", "trio_mode=true")


@pytest.mark.parametrize("number", [1, 2])
def test_the_documented_examples_are_tests_that_pass(tmp_path: Path, number: int) -> None:
    text = (ROOT / "docs" / "embedded-daemon.md").read_text()
    example = text.split("```python\n")[number].split("```", 1)[0]
    assert "1 passed" in run(tmp_path, example, "-p", "pytest_trio.plugin")


def test_a_suite_that_does_not_use_it_imports_nothing_of_ours(tmp_path: Path) -> None:
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
