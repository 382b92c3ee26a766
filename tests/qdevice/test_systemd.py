"""Notifications for the service manager, checked on its end."""

from __future__ import annotations

import configparser
import contextlib
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from tests.real.waiting import DEADLINE
from votequorum_ipc.cli.app import app
from votequorum_ipc.cluster import DeviceConfig
from votequorum_ipc.qdevice.systemd import Notifier
from votequorum_ipc.testing import simulated_cluster

UNIT = Path(__file__).parents[2] / "contrib" / "votequorum-qdevice@.service"


@contextlib.contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    """The service manager's end; `address` is the value of $NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(address.replace("@", "\0", 1))
        notifications.settimeout(DEADLINE)
        yield notifications


def variables(notifications: socket.socket) -> dict[str, str]:
    lines = notifications.recv(65536).decode().split("\n")
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_variables_arrive(tmp_path: Path, kind: str) -> None:
    address = str(tmp_path / "notify") if kind == "path" else f"@votequorum-ipc-test-{os.getpid()}"
    with manager(address) as notifications:
        Notifier({"NOTIFY_SOCKET": address}).notify(READY="1", STATUS="votes\nand\rmore=x")
        assert variables(notifications) == {"READY": "1", "STATUS": "votes and more=x"}


@pytest.mark.parametrize("address", ["", "relative", "/no/such/socket", "@" + "x" * 200])
def test_without_a_manager_nothing_happens(address: str) -> None:
    Notifier({"NOTIFY_SOCKET": address}).notify(READY="1")


def test_a_manager_that_does_not_read_delays_nothing(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with manager(address):
        notifier = Notifier({"NOTIFY_SOCKET": address})
        for _ in range(10_000):
            notifier.notify(STATUS="x" * 100)


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "20000000"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdogs_interval(environment: dict[str, str], interval: float | None) -> None:
    assert Notifier(environment).watchdog_interval == interval


async def test_the_watchdog_is_notified_twice_per_interval(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    address = str(tmp_path / "notify")
    with manager(address) as notifications:
        notifications.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "10000000"})
        with trio.move_on_after(12):
            await notifier.keep_watchdog()
        for _ in range(3):
            assert variables(notifications) == {"WATCHDOG": "1"}
        with pytest.raises(BlockingIOError):
            notifications.recv(1)


async def test_a_device_is_ready_when_it_is_registered_and_reports_its_state(tmp_path: Path) -> None:
    """The command itself as a service: readiness, state, watchdog, and the end by SIGTERM."""
    address = str(tmp_path / "notify")
    environment = os.environ | {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}
    environment.pop("WATCHDOG_PID", None)
    seen: list[dict[str, str]] = []
    with manager(address) as notifications:

        async def until(name: str, value: str) -> None:
            while not any(value in one.get(name, "") for one in seen):
                seen.append(await trio.to_thread.run_sync(variables, notifications))

        async with simulated_cluster(nodes=2, device=DeviceConfig(votes=1)) as cluster:
            command = [sys.executable, "-m", "votequorum_ipc", "qdevice", "run", "--name", "device"]
            options = ["--exec", "true", "--state-dir", str(tmp_path), "--address", cluster.address(1)]
            process = await trio.lowlevel.open_process([*command, *options], env=environment)
            try:
                await until("READY", "1")
                await until("STATUS", "votes: 1 of 1 commands succeeded")
                seen.clear()
                await until("WATCHDOG", "1")
                process.terminate()
                await until("STOPPING", "1")
                assert await process.wait() == 0
            finally:
                process.kill()
                await process.wait()


def test_the_unit_starts_the_command_and_waits_for_its_notification() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) > 0
    words = shlex.split(service["ExecStart"].replace("\\\n", " "))
    assert Path(words[0]).name == "votequorum-ipc"
    arguments = [word for word in words[1:] if not word.startswith("$")]
    # The variable part, the commands, comes from the environment file; all other options must exist.
    result = CliRunner().invoke(app, [*arguments, "--exec", "true", "--help"])
    assert result.exit_code == 0, result.output
    assert unit["Unit"]["After"] == "corosync.service"
