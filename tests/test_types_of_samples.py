"""Programs in each way to wait, checked by mypy's strict rules: what a user's editor shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.host import ROOT

pytest.importorskip("mypy")

README = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

TRIO = """
from typing import assert_type
import trio
from votequorum_ipc import Cfg, Cmap, NodeInfo, Quorum, QuorumState, Votequorum, cluster_status, watch_quorum

async def main() -> None:
    async with await Votequorum.initialize() as vq, await Quorum.initialize() as quorum:
        assert_type(await vq.getinfo(), NodeInfo)
        assert_type(await quorum.getquorate(), bool)
        await vq.trackstart()
        async for event in vq.events():
            assert_type(event.context, int)
            break
    async with await Cmap.initialize() as cmap, await Cfg.initialize() as cfg:
        assert_type(await cmap.keys("nodelist."), list[str])
        assert_type(await cfg.local_get(), int)
    async with watch_quorum() as watcher:
        assert_type((await watcher.current()).state, QuorumState)
    assert_type((await cluster_status()).quorate, bool)

trio.run(main)
"""

ASYNCIO = TRIO.replace("trio.run(main)", "asyncio.run(main())").replace("import trio", "import asyncio")

BLOCKING = """
from typing import assert_type
from votequorum_ipc import NodeInfo, QuorumState
from votequorum_ipc.blocking import Cfg, Cmap, Quorum, Votequorum, cluster_status, watch_quorum

with Votequorum.initialize(timeout=1) as vq, Quorum.initialize() as quorum:
    assert_type(vq.getinfo(timeout=1.0), NodeInfo)
    assert_type(quorum.getquorate(timeout=1), bool)
    vq.trackstart()
    for event in vq.events(timeout=1):
        assert_type(event.context, int)
        break
with Cmap.initialize() as cmap, Cfg.initialize() as cfg:
    assert_type(cmap.keys("nodelist."), list[str])
    assert_type(cfg.local_get(), int)
with watch_quorum() as watcher:
    assert_type(watcher.current().state, QuorumState)
assert_type(cluster_status(timeout=1).quorate, bool)
"""

MISTAKES = """
import trio
from votequorum_ipc import Votequorum
from votequorum_ipc.blocking import Votequorum as BlockingVotequorum

async def main() -> None:
    vq = Votequorum.initialize()
    vq.getinfo()

with BlockingVotequorum.initialize() as vq:
    vq.getinfo(timeout="soon")
    vq.getinfo(1, 2)
"""


def mypy(directory: Path, program: str) -> str:
    """mypy's output for a program, with its strictest rules."""
    (directory / "program.py").write_text(program)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file="),
            f"--cache-dir={ROOT / '.mypy_cache' / 'samples'}",
            "program.py",
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
    )
    return done.stdout + done.stderr


def pyright(directory: Path, program: str) -> list[tuple[int, str]]:
    """The lines where pyright, or basedpyright, finds errors, and the rule."""
    command = shutil.which("pyright") or shutil.which("basedpyright")
    if command is None:
        pytest.skip("neither pyright nor basedpyright is installed")
    (directory / "program.py").write_text(program)
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT)], "reportMatchNotExhaustive": False}
    (directory / "pyrightconfig.json").write_text(json.dumps(settings))
    argv = [command, "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=False)
    found = [each for each in json.loads(done.stdout)["generalDiagnostics"] if each["severity"] == "error"]
    return [(each["range"]["start"]["line"] + 1, each["rule"]) for each in found]


@pytest.mark.parametrize(
    "program", [TRIO, ASYNCIO, BLOCKING, *README[:4]], ids=["trio", "asyncio", "blocking", *"0123"]
)
def test_pyright_agrees(tmp_path: Path, program: str) -> None:
    assert pyright(tmp_path, program) == []


def test_pyright_notices_mistakes(tmp_path: Path) -> None:
    rules = {"reportAttributeAccessIssue", "reportArgumentType", "reportCallIssue"}
    assert [line for line, rule in pyright(tmp_path, MISTAKES) if rule in rules] == [8, 11, 12]


@pytest.mark.parametrize("program", [TRIO, ASYNCIO, BLOCKING], ids=["trio", "asyncio", "blocking"])
def test_each_way_to_wait_has_its_documented_types(tmp_path: Path, program: str) -> None:
    assert mypy(tmp_path, program) == ""


@pytest.mark.parametrize("number", [0, 1, 2, 3], ids=["ask", "watch", "trio", "test"])
def test_the_programs_of_the_readme_pass(tmp_path: Path, number: int) -> None:
    assert mypy(tmp_path, README[number]) == ""


def test_mistakes_are_noticed(tmp_path: Path) -> None:
    said = mypy(tmp_path, MISTAKES)
    assert re.findall(r"program.py:(\d+): error", said) == ["8", "11", "12"]
