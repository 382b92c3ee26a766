"""`votequorum-ipc qdevice`, as people and programs use it, with an embedded cluster."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from tests.real.waiting import DEADLINE
from votequorum_ipc.cli.app import app
from votequorum_ipc.cluster import DeviceConfig
from votequorum_ipc.testing import SimulatedCluster, simulated_cluster


class Shell:
    """Runs the command at one node of a cluster."""

    def __init__(self, cluster: SimulatedCluster, directory: Path) -> None:
        self.cluster = cluster
        self._directory = directory

    def _argv(self, *arguments: str) -> list[str]:
        options = [] if arguments[0] == "unregister" else ["--state-dir", str(self._directory)]
        command = [sys.executable, "-m", "votequorum_ipc", "qdevice", *arguments]
        return [*command, *options, "--address", str(self.cluster.address(1))]

    async def run(self, *arguments: str, exits: int = 0) -> str:
        """Run to completion; return the output, or the error message if it failed."""
        with trio.fail_after(DEADLINE):
            done = await trio.run_process(
                self._argv(*arguments), capture_stdout=True, capture_stderr=True, check=False
            )
        assert done.returncode == exits, done.stderr
        return (done.stderr if exits else done.stdout).decode()

    async def status(self) -> dict[str, Any]:
        shape: dict[str, Any] = json.loads(await self.run("status", "--json"))
        return shape

    @contextlib.asynccontextmanager
    async def device(self, *options: str) -> AsyncIterator[trio.Process]:
        """`qdevice run` until the block ends; killed then if it has not ended before."""
        process = await trio.lowlevel.open_process(
            self._argv("run", "--name", "device", *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            yield process
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            for stream in (process.stdout, process.stderr):
                assert stream
                await stream.aclose()


async def line(process: trio.Process, text: str = "") -> str:
    """The first output line of a process that contains this text."""
    assert process.stdout
    printed = b""
    with trio.fail_after(DEADLINE):
        async for chunk in process.stdout:
            printed += chunk
            complete, _, _ = printed.rpartition(b"\n")
            for each in complete.decode().split("\n"):
                if text in each and each:
                    return each
    raise AssertionError(f"no line with {text!r} in {printed!r}")


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with simulated_cluster(nodes=2, device=DeviceConfig(votes=1)) as cluster:
        yield Shell(cluster, tmp_path / "state")


async def test_a_device_votes_while_its_commands_succeed(shell: Shell, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    commands = ["--exec", f"test -e {flag}", "--exec", "true", "--interval", "0.05"]
    async with shell.device(*commands, "--json") as process:
        ballot = json.loads(await line(process, "ballot"))
        assert (ballot["name"], ballot["vote"]) == ("device", True)
        assert ballot["reason"] == "2 of 2 commands succeeded"
        status = await shell.status()
        assert (status["name"], status["votes"]) == ("device", 1)
        assert status["flags"] == ["QDEVICE_REGISTERED", "QDEVICE_ALIVE", "QDEVICE_CAST_VOTE"]
        assert (status["last"]["vote"], status["last"]["pid"]) == (True, process.pid)
        assert status["last"]["ring_id"] == ballot["ring_id"]
        flag.unlink()
        ballot = json.loads(await line(process, '"vote": false'))
        assert ballot["reason"] == f"1 of 2 commands succeeded; test -e {flag}: exit status 1"
        text = await shell.run("status")
        assert "Votes:           1\n" in text
        assert "registered, alive, does not vote" in text
        assert "exit status 1" in text
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    status = await shell.status()
    assert (status["name"], status["flags"], status["last"]) == (None, [], None)
    assert "Votes:           1, once a device is registered\n" in await shell.run("status")


async def test_a_device_that_is_left_registered_can_be_unregistered(shell: Shell) -> None:
    async with shell.device(
        "--exec", "false", "--exec", "true", "--require", "any", "--leave-registered"
    ) as it:
        assert "device votes: 1 of 2" in await line(it)
        it.send_signal(signal.SIGINT)
        assert await it.wait() == 0
    assert "QDEVICE_CAST_VOTE" in (await shell.status())["flags"]
    assert await shell.run("unregister") == "Unregistered: device\n"
    assert (await shell.status())["flags"] == []
    for name in ([], ["--name", "device"]):
        complaint = await shell.run("unregister", *name, exits=1)
        assert "so there is nothing to unregister; votequorum-ipc status shows which" in complaint
        assert "qdevice_" not in complaint


async def test_a_device_with_another_name_is_not_unregistered_but_named(shell: Shell) -> None:
    async with shell.device("--exec", "true") as process:
        await line(process)
        complaint = await shell.run("unregister", "--name", "wrong", exits=1)
        assert (
            "the device registered on this node is called 'device', not 'wrong': give that name" in complaint
        )
        assert "QDEVICE_CAST_VOTE" in (await shell.status())["flags"]


async def test_a_device_whose_registration_was_removed_ends_with_an_error(shell: Shell) -> None:
    async with shell.device("--exec", "true", "--interval", "0.05", "--master-wins") as process:
        await line(process)
        assert "QDEVICE_MASTER_WINS" in (await shell.status())["flags"]
        assert json.loads(await shell.run("unregister", "--json"))["unregistered"] == "device"
        assert await process.wait() == 1
        assert process.stderr
        complaint = (await process.stderr.receive_some()).decode()
        assert "the quorum device 'device' has been unregistered: start it again" in complaint
        assert "qdevice_" not in complaint


async def test_a_second_process_for_the_device_is_refused(shell: Shell) -> None:
    async with shell.device("--exec", "true") as process:
        await line(process)
        complaint = await shell.run("run", "--name", "device", "--exec", "true", exits=1)
        assert "another process runs the quorum device 'device' here: end it first" in complaint
        assert f"by process {process.pid}" in await shell.run("status")
        assert "QDEVICE_CAST_VOTE" in (await shell.status())["flags"]


async def test_without_a_directory_for_records_a_device_still_votes(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    elsewhere = Shell(shell.cluster, tmp_path / "file" / "state")
    async with elsewhere.device("--exec", "true") as process:
        await line(process, "device votes")
        status = await elsewhere.status()
        assert ("QDEVICE_CAST_VOTE" in status["flags"], status["last"]) == (True, None)


async def test_a_device_survives_the_end_of_the_daemon(shell: Shell) -> None:
    async with shell.device("--exec", "true", "--interval", "0.05") as process:
        await line(process, "device votes")
        shell.cluster.kill(1)
        await line(process, "cannot be reached")
        shell.cluster.up(1)
        await line(process, "device votes")
        assert "QDEVICE_CAST_VOTE" in (await shell.status())["flags"]


async def test_a_cluster_without_a_device_is_an_error(tmp_path: Path) -> None:
    async with simulated_cluster(nodes=2) as cluster:
        complaint = await Shell(cluster, tmp_path).run("run", "--name", "d", "--exec", "true", exits=1)
        assert "quorum.device.model is not set" in complaint


@pytest.mark.parametrize(
    "arguments",
    [
        ["--exec", "true"],
        ["--name", "device"],
        ["--name", "device", "--exec", "'"],
        ["--name", "device", "--exec", " "],
        ["--name", "device", "--exec", "true", "--require", "2"],
        ["--name", "device", "--exec", "true", "--require", "most"],
        ["--name", "device", "--exec", "true", "--require", "0"],
        ["--name", "device", "--exec", "true", "--interval", "0"],
        ["--name", "device", "--exec", "true", "--timeout", "nan"],
    ],
)
def test_wrong_usage_exits_with_64(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["qdevice", "run", *arguments])
    assert result.exit_code == 64, result.output


# --- output without a reader ---


class Pipe:
    """A pipe for a process's output, of one page."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.reading, fcntl.F_SETPIPE_SZ, 4096)

    def fill(self) -> None:
        """Fill it."""
        assert os.write(self.writing, b"\n" * 4096) == 4096

    def stop_reading(self) -> None:
        """Close the read end."""
        os.close(self.reading)
        self.reading = -1

    def close(self) -> None:
        """Close what is still open."""
        for end in (self.reading, self.writing):
            if end >= 0:
                os.close(end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


@contextlib.asynccontextmanager
async def device_into(pipe: Pipe, shell: Shell, flag: Path, *options: str) -> AsyncIterator[trio.Process]:
    """A device that votes while `flag` exists, as it does, and prints into a pipe."""
    flag.touch()
    command = ["--exec", f"test -e {flag}", "--interval", "0.02", "--name", "device", *options]
    process = await trio.lowlevel.open_process(
        shell._argv("run", *command), stdout=pipe.writing, stderr=subprocess.PIPE
    )
    try:
        await until_last(shell, flag, True)
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        assert process.stderr
        await process.stderr.aclose()


async def until_last(shell: Shell, flag: Path, there: bool) -> None:
    """Let the device vote or not, and wait until it has."""
    flag.touch() if there else flag.unlink()
    with trio.fail_after(DEADLINE):
        while ("QDEVICE_CAST_VOTE" in (await shell.status())["flags"]) != there:
            pass


async def test_a_device_whose_reader_has_exited_keeps_voting_and_says_so_once(
    shell: Shell, tmp_path: Path, pipe: Pipe
) -> None:
    flag = tmp_path / "flag"
    async with device_into(pipe, shell, flag) as process:
        pipe.stop_reading()
        for there in (False, True, False, True):
            await until_last(shell, flag, there)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert process.stderr
        assert (await process.stderr.receive_some()).decode() == (
            "votequorum-ipc: the output is lost: Broken pipe; this program goes on without it\n"
        )
    assert (await shell.status())["flags"] == []


async def test_a_device_whose_reader_is_stopped_keeps_voting(
    shell: Shell, tmp_path: Path, pipe: Pipe
) -> None:
    flag = tmp_path / "flag"
    pipe.fill()
    async with device_into(pipe, shell, flag) as process:
        for there in (False, True):
            await until_last(shell, flag, there)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert process.stderr
        assert b"the output is lost: it is not being read" in await process.stderr.receive_some()


async def test_a_device_started_without_an_output_votes(shell: Shell) -> None:
    command = shell._argv("run", "--name", "device", "--exec", "true")
    argv = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command]
    process = await trio.lowlevel.open_process(argv)
    try:
        with trio.fail_after(DEADLINE):
            while "QDEVICE_CAST_VOTE" not in (await shell.status())["flags"]:
                pass
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def test_a_vote_that_cannot_be_withdrawn_is_an_exit_code_and_two_complaints(shell: Shell) -> None:
    async with shell.device("--exec", "true", "--json") as process:
        await line(process)
        # After renaming by another client, the vote no longer belongs to this device.
        async with await shell.cluster.connect(1) as handle:
            process.send_signal(signal.SIGSTOP)
            await handle.qdevice_update("device", "theirs")
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
        event = json.loads(await line(process, "left_behind"))
        assert "counts its vote until quorum.device.timeout" in event["left_behind"][0]
        assert await process.wait() == 1
        assert process.stderr
        assert "votequorum-ipc: quorum device device has ended, but corosync counts its vote" in (
            (await process.stderr.receive_some()).decode()
        )
