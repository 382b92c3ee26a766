"""docs/quorum-devices.md is true: its code runs, its numbers are votequorum's, its options exist."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from tests.cli.command import ENVIRONMENT, status
from tests.conftest import StartDaemon
from tests.real.config import Config, Device
from tests.real.daemon import Daemon
from tests.real.host import ROOT
from tests.real.waiting import DEADLINE, eventually
from votequorum_ipc.cli.app import app
from votequorum_ipc.cluster import DeviceConfig
from votequorum_ipc.qdevice import QuorumDevice
from votequorum_ipc.testing import SimulatedCluster, simulated_cluster

from .support import CAST, REGISTERED

TEXT = (ROOT / "docs" / "quorum-devices.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
ROWS = [
    tuple(map(int, row)) for row in re.findall(r"^\| (\d) \| (\d) \| (\d) \| (\d) \|", TEXT, re.MULTILINE)
]


QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@contextlib.asynccontextmanager
async def process(command: list[str], **options: Any) -> AsyncIterator[trio.Process]:
    """A process that ends with the block, and so do its pipes."""
    started = await trio.lowlevel.open_process(command, **options)
    try:
        yield started
    finally:
        started.kill()
        with trio.CancelScope(shield=True):
            await started.wait()
            for stream in (started.stdin, started.stdout):
                if stream is not None:
                    await stream.aclose()


async def until_voting(cluster: SimulatedCluster) -> None:
    async with await cluster.connect(1) as handle:
        with trio.fail_after(DEADLINE):
            while CAST not in (await handle.getinfo()).flags:
                await trio.sleep(0.005)


async def test_the_ten_lines_are_a_device() -> None:
    source = BLOCKS[0]
    assert len(source.splitlines()) == 10
    members: list[tuple[int, ...]] = []

    async def my_storage_is_mine(of: tuple[int, ...]) -> bool:
        members.append(of)
        return True

    started: list[Any] = []
    code = compile(source.replace("import trio\n", ""), "quorum-devices.md", "exec")
    exec(code, {"trio": SimpleNamespace(run=lambda *run: started.extend(run)), **locals()})
    run, name, vote = started
    async with (
        simulated_cluster(nodes=2, device=DeviceConfig(votes=1)) as cluster,
        trio.open_nursery() as nursery,
    ):

        async def device() -> None:
            await run(name, vote, address=cluster.address(1))

        nursery.start_soon(device)
        await until_voting(cluster)
        nursery.cancel_scope.cancel()
    assert members[0] == (1, 2)


YOURS = "async def my_storage_is_mine(members):\n    return True\n\n\n"


@contextlib.contextmanager
def voting(daemon: Daemon, block: int) -> Iterator[subprocess.Popen[str]]:
    """A program of the document, which votes on the daemon's host."""
    command = daemon.host.command([sys.executable, "-c", YOURS + BLOCKS[block]])
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as program:
        try:
            eventually(lambda: CAST.name in flags(daemon), otherwise="the device votes")
            yield program
        finally:
            program.kill()


@pytest.mark.parametrize(
    ("block", "number", "code"),
    [(0, signal.SIGINT, None), (1, signal.SIGINT, None), (1, signal.SIGTERM, 0)],
    ids=["ten lines, Ctrl-C", "with a receiver, Ctrl-C", "with a receiver, SIGTERM"],
)
def test_a_program_that_ends_cleanly_withdraws_its_vote(
    start_daemon: StartDaemon, block: int, number: signal.Signals, code: int | None
) -> None:
    daemon = start_daemon(Config(device=Device(model="votequorum-ipc")))
    with voting(daemon, block) as program:
        program.send_signal(number)
        _, errors = program.communicate(timeout=DEADLINE)
        assert code is None or (program.returncode, errors) == (code, "")
        assert REGISTERED.name not in flags(daemon)


def test_the_ten_lines_leave_their_vote_when_sigterm_kills_them(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config(device=Device(model="votequorum-ipc")))
    with voting(daemon, 0) as program:
        program.terminate()
        assert program.wait(DEADLINE) == -signal.SIGTERM
        assert {REGISTERED.name, CAST.name} <= {*flags(daemon)}


def test_a_hand_written_loop_is_a_device_until_the_daemon_stops(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config(device=Device(model="votequorum-ipc")))
    with voting(daemon, 2) as program:
        daemon.kill()
        _, errors = program.communicate(timeout=DEADLINE)
        assert "votequorum_ipc.errors.Library" in errors


def flags(daemon: Daemon) -> list[str]:
    shown: list[str] = status(daemon)["votequorum"]["flags"]
    return shown


async def test_the_examples_are_started_as_documented(tmp_path: Path) -> None:
    found = re.search(r"^# python (examples/\S+) /shared/quorum\n(.*)\n```$", TEXT, re.MULTILINE)
    assert found
    async with simulated_cluster(nodes=2, device=DeviceConfig(votes=1)) as cluster:
        command = [sys.executable, str(ROOT / found[1]), str(tmp_path), "--address", cluster.address(1)]
        async with process(command, env=ENVIRONMENT, stderr=subprocess.PIPE) as example:
            assert example.stderr
            async with example.stderr:
                with trio.fail_after(DEADLINE):
                    assert (await example.stderr.receive_some()).decode() == f"{found[2]}\n"


async def test_five_minutes_without_corosync(tmp_path: Path) -> None:
    """The two terminals, but with other names and another file."""
    flag = tmp_path / "go-on"
    flag.touch()
    prefix = f"five-minutes-{os.getpid()}"
    ours = [sys.executable, "-m", "votequorum_ipc"]
    address = ["--address", f"@{prefix}-{{service}}"]
    [serve] = re.findall(r"^\$ votequorum-ipc (serve .*)$", TEXT, re.MULTILINE)
    [run] = re.findall(r"^\$ votequorum-ipc (qdevice run --name five.*)$", TEXT, re.MULTILINE)
    [split] = re.findall(r"type `(split .*?)`", TEXT)

    async def until_status(code: int) -> None:
        """Wait until `votequorum-ipc status` exits with a code."""
        command = [*ours, "status", *address]
        with trio.fail_after(DEADLINE):
            while (await trio.run_process(command, check=False, **QUIET)).returncode != code:
                await trio.sleep(0.05)

    async with contextlib.AsyncExitStack() as stack:
        command = [*ours, *shlex.split(serve), "--prefix", prefix]
        terminal = await stack.enter_async_context(process(command, stdin=subprocess.PIPE, cwd=ROOT, **QUIET))
        await until_status(0)
        command = [*ours, *shlex.split(run.replace("go-on", str(flag))), *address, "--interval", "0.1"]
        command += ["--state-dir", str(tmp_path)]
        device = await stack.enter_async_context(process(command, stdout=subprocess.PIPE))
        assert device.stdout
        assert terminal.stdin
        printed = (await device.stdout.receive_some()).decode()
        assert printed in TEXT
        await terminal.stdin.send_all(split.encode() + b"\n")
        flag.unlink()
        await until_status(2)
        flag.touch()
        await until_status(0)
        device.terminate()
        assert await device.wait() == 0
        await until_status(2)


@pytest.mark.parametrize(("nodes", "device", "expected", "quorum"), ROWS)
async def test_votes_are_counted_as_documented(nodes: int, device: int, expected: int, quorum: int) -> None:
    async with simulated_cluster(nodes=nodes, device=DeviceConfig(votes=device)) as cluster:
        async with QuorumDevice("device", address=cluster.address(1)) as voter:
            await voter.cast(True)
            view = await voter.next_view(0.001)
            assert (view.expected_votes, view.total_votes) == (expected, nodes + device)
            async with await cluster.connect(2) as handle:
                info = await handle.getinfo()
            # Without a voting device, only the nodes count.
            assert (info.total_votes, info.quorum) == (nodes, (expected + 2) // 2)
        assert quorum == (expected + 2) // 2
        assert 1 + device >= quorum or nodes // 2 + device >= quorum


def test_the_table_of_votes_is_there() -> None:
    assert len(ROWS) == 4


@pytest.mark.parametrize("subcommand", ["run", "status", "unregister"])
def test_every_named_option_exists(subcommand: str) -> None:
    usage = re.search(
        rf"qdevice {subcommand} (.*?)(?=votequorum-ipc|```)", TEXT.split("## The command")[1], re.DOTALL
    )
    assert usage
    offered = CliRunner().invoke(app, ["qdevice", subcommand, "--help"]).output
    named = set(re.findall(r"--[a-z-]+", usage[1]))
    assert named
    assert all(option in offered for option in named)


def test_corosync_accepts_the_example_configuration(start_daemon: StartDaemon) -> None:
    node = start_daemon(Config())
    node.run(["ip", "address", "add", "192.0.2.1/32", "dev", "lo"], check=True)
    done = node.run(["corosync", "-t", "-c", str(ROOT / "examples" / "qdevice" / "two-nodes.conf")])
    assert done.returncode == 0, done.stderr
