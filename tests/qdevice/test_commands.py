"""Commands as a decision: success, failure, lateness, and the end of their processes."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from pathlib import Path

import pytest
import trio

from tests.real.waiting import eventually, eventually_async
from votequorum_ipc import RingId
from votequorum_ipc.qdevice import Command, Commands, View

PYTHON = shlex.quote(sys.executable)


def view(time_left: float = 60.0) -> View:
    return View(RingId(1, 4), (1, 3), 3, True, 3, 2, trio.current_time() + time_left)


def alive(pid: int) -> bool:
    """Whether a process is running; a zombie is not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("text", "shell", "succeeded", "detail"),
    [
        ("true", False, True, "exit status 0"),
        ("false", False, False, "exit status 1"),
        ("exit 7", True, False, "exit status 7"),
        ("kill -9 $$", True, False, "killed by SIGKILL"),
        ("/no/such/command", False, False, "cannot be started: No such file or directory"),
        ("test '$HOME' = '$''HOME'", False, True, "exit status 0"),
        ("test -n $HOME", True, True, "exit status 0"),
    ],
)
async def test_the_outcome_of_a_command(text: str, shell: bool, succeeded: bool, detail: str) -> None:
    outcome = await Command(text, timeout=30, shell=shell).run(view())
    assert (outcome.command, outcome.succeeded, outcome.detail) == (text, succeeded, detail)


@pytest.mark.parametrize("text", ["", "  ", "'unclosed"])
def test_an_invalid_command_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty|quotation"):
        Command(text, timeout=1)


async def test_a_command_gets_the_membership_and_no_variables_of_the_service_manager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    await Command(f"env > {tmp_path}/env", timeout=30, shell=True).run(view())
    environment = (tmp_path / "env").read_text().splitlines()
    assert {line for line in environment if line.startswith("QDEVICE_")} == {
        "QDEVICE_NODE_ID=3",
        "QDEVICE_RING_ID=1.4",
        "QDEVICE_MEMBERS=1 3",
        "QDEVICE_QUORATE=1",
        "QDEVICE_EXPECTED_VOTES=3",
        "QDEVICE_TOTAL_VOTES=2",
    }
    assert not any(line.startswith("NOTIFY_SOCKET") for line in environment)


async def test_a_late_command_is_killed_with_its_children(tmp_path: Path) -> None:
    text = f"sleep 1000 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/parent; wait"
    outcome = await Command(text, timeout=0.2, shell=True).run(view())
    assert (outcome.succeeded, outcome.detail) == (False, "late, so it was killed")
    for name in ("parent", "child"):
        pid = int((tmp_path / name).read_text())
        await eventually_async(lambda pid=pid: not alive(pid))  # type: ignore[misc]


async def test_a_command_that_ignores_sigterm_is_killed_anyway(tmp_path: Path) -> None:
    text = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.01; done"
    outcome = await Command(text, timeout=0.2, shell=True).run(view())
    assert not outcome.succeeded
    assert not alive(int((tmp_path / "pid").read_text()))


async def test_processes_that_a_command_leaves_running_are_killed_too(tmp_path: Path) -> None:
    text = f"sleep 1000 & echo $! > {tmp_path}/child"
    outcome = await Command(text, timeout=30, shell=True).run(view())
    assert outcome.succeeded
    await eventually_async(lambda: not alive(int((tmp_path / "child").read_text())))


async def test_a_late_commands_children_in_other_process_groups_are_killed_too(tmp_path: Path) -> None:
    text = f"timeout 60 sh -c 'echo $$ > {tmp_path}/child; exec sleep 60'; true"
    command = Command(text, timeout=60, shell=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(command.run, view())
        await eventually_async(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
        nursery.cancel_scope.cancel()
    await eventually_async(lambda: not alive(int((tmp_path / "child").read_text())))


async def test_a_cancelled_command_is_gone_when_the_cancellation_completes(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        command = Command(f"echo $$ > {tmp_path}/pid; sleep 1000", timeout=1000, shell=True)
        nursery.start_soon(command.run, view(4000))
        await eventually_async(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        nursery.cancel_scope.cancel()
    assert not alive(int((tmp_path / "pid").read_text()))


async def test_a_command_gets_at_most_half_of_the_time_that_is_left() -> None:
    outcome = await Command("sleep 1000", timeout=1000).run(view(0.2))
    assert outcome.detail == "late, so it was killed"


async def test_a_command_that_cannot_be_killed_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill that does nothing stands in for a process in a dead file system."""
    monkeypatch.setattr("votequorum_ipc.sessions._Running._signal", lambda *_: None)
    fifo = tmp_path / "fifo"
    await trio.run_process(["mkfifo", str(fifo)])
    text = f"echo started >> {tmp_path}/runs; cat {fifo} > {tmp_path}/end"
    command = Command(text, timeout=0.1, shell=True)
    assert (await command.run(view())).detail == "late, so it was killed"
    assert "has not ended yet" in (await command.run(view())).detail
    assert (tmp_path / "runs").read_text() == "started\n"
    with fifo.open("w"):
        pass
    await eventually_async((tmp_path / "end").exists)
    monkeypatch.undo()

    async def again() -> str:
        return (await command.run(view())).detail

    with trio.fail_after(30):
        while "has not ended yet" in await again():
            await trio.sleep(0.01)
    assert (tmp_path / "runs").read_text().startswith("started\nstarted\n")


async def test_a_command_that_cannot_be_watched_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is already running when no descriptor is left to watch it."""
    watched: list[int] = []

    def pidfd_open(pid: int) -> int:
        watched.append(pid)
        eventually((tmp_path / "runs").exists)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", pidfd_open)
    text = f"sleep 1000 & echo $! > {tmp_path}/child; mv {tmp_path}/child {tmp_path}/runs; wait"
    outcome = await Command(text, timeout=1000, shell=True).run(view(4000))
    assert not outcome.succeeded
    assert outcome.detail == "cannot be watched, so it was killed: Too many open files"
    child = int((tmp_path / "runs").read_text())
    assert not alive(watched[0])
    await eventually_async(lambda: not alive(child))


@pytest.mark.parametrize(
    ("require", "texts", "answer"),
    [
        (None, ["true", "true"], True),
        (None, ["true", "false"], False),
        (1, ["false", "true"], True),
        (1, ["false", "false"], False),
        (2, ["true", "false", "true"], True),
        (2, ["true", "false", "false"], False),
    ],
)
async def test_the_required_number_of_commands_must_succeed(
    require: int | None, texts: list[str], answer: bool
) -> None:
    commands = Commands([Command(text, timeout=30) for text in texts], require)
    assert await commands(view()) is answer
    assert sorted(outcome.command for outcome in commands.outcomes) == sorted(texts)
    assert f"{texts.count('true')} of {len(texts)} commands succeeded" in commands.summary()


@pytest.mark.parametrize("require", [0, 3])
def test_a_required_number_above_that_of_the_commands_is_refused(require: int) -> None:
    with pytest.raises(ValueError, match="cannot be required"):
        Commands([Command("true", timeout=1)] * 2, require)


async def test_commands_run_at_the_same_time(tmp_path: Path) -> None:
    """Each of the two waits for the other."""
    await trio.run_process(["mkfifo", str(tmp_path / "fifo")])
    texts = [f"echo > {tmp_path}/fifo", f"cat {tmp_path}/fifo"]
    assert await Commands([Command(text, timeout=30, shell=True) for text in texts])(view())
