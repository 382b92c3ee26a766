"""A client's shared files: truncated, removed, or without room for them; never a SIGBUS."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.client.support import nothing_left
from tests.conftest import StartDaemon
from tests.real.config import Config
from tests.real.daemon import Daemon
from tests.real.host import ROOT
from votequorum_ipc import MessageError, Votequorum

SHM_FILES = [
    f"qb-{way}-votequorum-{kind}" for way in ("request", "response", "event") for kind in ("header", "data")
]


@pytest.fixture(params=[*[("shm", file) for file in SHM_FILES], ("socket", "qb-control-votequorum")])
def file(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A transport, and one of the shared files of a connection over it."""
    pair: tuple[str, str] = request.param
    return pair


@pytest.fixture
async def victim(
    file: tuple[str, str], start_daemon: StartDaemon
) -> AsyncIterator[tuple[Daemon, Votequorum, Path]]:
    """A daemon that the test may damage, a connection to it, and that file."""
    transport, name = file
    daemon = start_daemon(Config(transport=transport))  # type: ignore[arg-type]
    with daemon.namespace(), nothing_left():
        async with await Votequorum.initialize() as handle:
            await handle.getinfo()
            [directory] = daemon.connections()
            yield daemon, handle, directory / name


async def test_a_truncated_file_is_a_message_error_and_the_process_survives(
    victim: tuple[Daemon, Votequorum, Path],
) -> None:
    daemon, handle, path = victim
    # The daemon maps the same file and would die instead.
    daemon.signal(signal.SIGSTOP)
    os.truncate(path, 0)
    for call in (handle.getinfo, handle.next_event, handle.getinfo):
        with pytest.raises(MessageError, match="truncated"):
            await call()
    await handle.finalize()
    daemon.kill()


async def test_a_removed_file_does_no_harm(victim: tuple[Daemon, Votequorum, Path]) -> None:
    _, handle, path = victim
    path.unlink()
    await handle.trackstart()
    await handle.next_event()
    await handle.next_event()
    assert (await handle.getinfo()).node_id == 1


FULL = """
import os, sys, trio
from pathlib import Path
from votequorum_ipc import CsError, Votequorum

async def main():
    before = len(os.listdir("/proc/self/fd")), os.listdir("/dev/shm")
    try:
        async with await Votequorum.initialize() as handle:
            print("node", (await handle.getinfo()).node_id)
    except CsError as error:
        after = len(os.listdir("/proc/self/fd")), os.listdir("/dev/shm")
        print(error.code.name, "nothing left" if after == before else f"{before} {after}", error)

trio.run(main)
"""


def ask_on(daemon: Daemon) -> str:
    """The output of a program that connects on the daemon's host."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return daemon.run([sys.executable, "-c", FULL], env=environment, check=True).stdout.strip()


@pytest.mark.parametrize("transport", ["shm", "socket"])
def test_while_shared_memory_is_full_the_daemon_refuses_clients_and_afterwards_accepts_them(
    start_daemon: StartDaemon, transport: str
) -> None:
    # The daemon's host gets a separate /dev/shm before the daemon maps anything important there.
    daemon = start_daemon(Config(transport=transport))  # type: ignore[arg-type]
    daemon.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", "/dev/shm"], check=True)
    assert ask_on(daemon) == "node 1"
    daemon.run(["sh", "-c", "cat /dev/zero > /dev/shm/filler; true"])
    refused = ask_on(daemon)
    assert refused.startswith(("NO_SPACE nothing left", "LIBRARY nothing left", "NO_MEMORY nothing left")), (
        refused
    )
    daemon.run(["rm", "/dev/shm/filler"], check=True)
    assert ask_on(daemon) == "node 1"
