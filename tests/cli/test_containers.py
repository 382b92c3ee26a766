"""docs/containers.md shows what a container lacks: the tests reproduce each error without a container engine.

Strategy: a container is a process in separate namespaces. For each command of the document, the test runs the
same command in the namespaces that the container's options leave unshared, on the host of a real corosync.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.conftest import StartDaemon
from tests.real.config import Config
from tests.real.daemon import Daemon
from tests.real.host import ROOT

from .command import COMMAND, ENVIRONMENT

TEXT = (ROOT / "docs" / "containers.md").read_text()
BLOCKS: dict[str, str] = dict(re.findall(r"^```console\n\$ (.*)\n(.+\n)```$", TEXT, re.MULTILINE))

USER = 1000
POD = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
OWN_NETWORK = ["unshare", "--net"]


def mounting(script: str) -> list[str]:
    """A mount namespace in which `script` has run."""
    return ["unshare", "--mount", "sh", "-c", script + ' && exec "$@"', "sh"]


OWN_SHM = mounting("mount -t tmpfs tmpfs /dev/shm")
READ_ONLY_SHM = mounting("mount --bind /dev/shm /dev/shm && mount -o remount,bind,ro /dev/shm")
NO_PROC = mounting("umount -l /proc")

_AS_USER = f"""
import ctypes, importlib, os, sys
from pathlib import Path
from votequorum_ipc.cli import app, main, tables
for name in app.COMMANDS.values():  # where the interpreter is, another user may not read
    importlib.import_module("votequorum_ipc.cli." + name)
os.setgroups([])
os.setresgid({USER}, {USER}, {USER})
os.setresuid({USER}, {USER}, {USER})
"""
_ROOTLESS = f"""
libc = ctypes.CDLL(None)
libc.prctl(4, 1)  # PR_SET_DUMPABLE: else /proc/self stays root's
assert libc.unshare(0x10000000) == 0  # CLONE_NEWUSER
Path("/proc/self/uid_map").write_text("0 {USER} 1")
Path("/proc/self/setgroups").write_text("deny")
Path("/proc/self/gid_map").write_text("0 {USER} 1")
"""
AS_USER = [sys.executable, "-c", f"{_AS_USER}main()"]
ROOTLESS = [sys.executable, "-c", f"{_AS_USER}{_ROOTLESS}main()"]

RUN = "podman run --rm"
HOST = f"{RUN} --network host --ipc host"
CONTAINERS: dict[str, list[str]] = {
    f"{RUN} --ipc host votequorum-ipc status": [*OWN_NETWORK, *POD, *COMMAND, "status"],
    f"{RUN} --network host votequorum-ipc status": [*POD, *OWN_SHM, *COMMAND, "status"],
    f"{RUN} --network host --volume /dev/shm:/dev/shm:ro votequorum-ipc status": [
        *POD,
        *READ_ONLY_SHM,
        *COMMAND,
        "status",
    ],
    f"{HOST} --user 1000:1000 votequorum-ipc status": [*POD, *AS_USER, "status"],
    f"{HOST} votequorum-ipc status   # as uid 1000 of the host": [*POD, *ROOTLESS, "status"],
    f"{HOST} votequorum-ipc status --address '@{{service}}'": [
        *POD,
        *ROOTLESS,
        "status",
        "--address",
        "@{service}",
    ],
}
"""The commands of the document, and what the test runs for each."""


def generic(text: str) -> str:
    """`text` without the part that differs in each run: the directory of a connection."""
    return re.sub(r"/qb-\d+-\d+-\d+-\w+/", "/qb-7455-7655-27-hB6YpO/", text)


def test_every_error_of_the_document_is_tested() -> None:
    assert BLOCKS.keys() == CONTAINERS.keys()


@pytest.mark.parametrize("command", CONTAINERS)
def test_each_error_is_the_one_in_the_document(shm_daemon: Daemon, command: str) -> None:
    done = shm_daemon.run(CONTAINERS[command], env=ENVIRONMENT)
    assert (done.returncode, done.stdout) == (1, "")
    assert BLOCKS[command] == generic(done.stderr)


@pytest.mark.parametrize("wrapper", [POD, NO_PROC], ids=["own pids", "no proc"])
@pytest.mark.parametrize("arguments", [[], ["--address", "@{service}"]], ids=["found", "given"])
def test_the_pid_namespace_and_proc_need_not_be_shared(
    daemon: Daemon, wrapper: Sequence[str], arguments: Sequence[str]
) -> None:
    done = daemon.run([*wrapper, *COMMAND, "status", *arguments], env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("transport", ["shm", "socket"])
def test_a_rootless_container_works_for_a_user_that_corosync_accepts(
    start_daemon: StartDaemon, transport: str
) -> None:
    daemon = start_daemon(Config(transport=transport, uids=(USER,)))  # type: ignore[arg-type]
    done = daemon.run([*POD, *ROOTLESS, "status", "--address", "@{service}"], env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, "")
    assert daemon.run([*POD, *AS_USER, "status"], env=ENVIRONMENT).returncode == 0


def test_with_sockets_at_paths_the_network_need_not_be_shared(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config(filesystem_sockets=True))
    address = str(daemon.socket_path("quorum")).replace("/quorum", "/{service}")
    container = [*OWN_NETWORK, *COMMAND, "status", "--address", address]
    # The daemon's host cannot be used: its /tmp is private, and a checkout may be below /tmp.
    done = subprocess.run(
        container, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
