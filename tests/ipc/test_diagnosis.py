"""A failed connection names the cause if it can be known, with the real corosync and real namespaces."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

import pytest

import votequorum_ipc.ipc.diagnosis as diagnosis
from tests.cli.command import ENVIRONMENT
from tests.client.test_refusals import NOBODY
from tests.conftest import StartDaemon
from tests.real.config import Config
from tests.real.daemon import Daemon
from votequorum_ipc import Library
from votequorum_ipc.ipc import connect

ASK = """
import sys
import trio
sys.path[:0] = {path!r}
from votequorum_ipc import CsError, Votequorum
{before}
async def main():
    try:
        async with await Votequorum.initialize({arguments}) as handle:
            print("node", (await handle.getinfo()).node_id)
    except CsError as error:
        print(type(error).__name__, error)
trio.run(main)
"""


IN_A_USER_NAMESPACE = f"""
import ctypes, os
from pathlib import Path
from votequorum_ipc.votequorum import Votequorum  # where the interpreter is, another user may not read
libc = ctypes.CDLL(None)
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
libc.prctl(4, 1)  # PR_SET_DUMPABLE: else /proc/self stays root's
assert libc.unshare(0x10000000) == 0  # CLONE_NEWUSER
Path("/proc/self/uid_map").write_text("0 {NOBODY} 1")
Path("/proc/self/setgroups").write_text("deny")
Path("/proc/self/gid_map").write_text("0 {NOBODY} 1")
"""


def ask(daemon: Daemon, *wrapper: str, arguments: str = "", before: str = "") -> str:
    """The output of a program that connects on the daemon's host, run by `wrapper`."""
    program = ASK.format(path=[ENVIRONMENT["PYTHONPATH"], *sys.path], arguments=arguments, before=before)
    argv = [*wrapper, sys.executable, "-c", program]
    done = daemon.run(argv, env=ENVIRONMENT)
    return done.stdout.strip() + done.stderr


async def test_a_corosync_without_a_provider_is_not_called_stopped(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config(provider=None))
    with daemon.namespace(), pytest.raises(Library) as caught:
        await connect("votequorum")
    assert re.match(
        r"corosync is running, but without the service 'votequorum': quorum, cmap, cfg can be reached.*"
        r"set 'provider: corosync_votequorum'",
        str(caught.value),
    )


@pytest.mark.parametrize("transport", ["shm", "socket"])
def test_a_devshm_that_is_not_the_daemons_is_distinguished_from_a_dead_daemon(
    start_daemon: StartDaemon, transport: str
) -> None:
    daemon = start_daemon(Config(transport=transport))  # type: ignore[arg-type]
    hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /dev/shm && exec "$@"', "sh"]
    said = ask(daemon, *hide)
    assert said.startswith("Library the daemon is running, but its shared memory is not in this process's")
    assert "share the host's IPC namespace" in said


def test_a_dead_daemon_is_not_called_hidden() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            assert "not in this process's /dev/shm" in str(diagnosis.shared_memory_missing(ours, "/x"))
        assert "ended this connection" in str(diagnosis.shared_memory_missing(ours, "/x"))


def test_in_a_user_namespace_the_advice_names_the_user_that_corosync_sees(daemon: Daemon) -> None:
    said = ask(daemon, before=IN_A_USER_NAMESPACE, arguments=f"server_uids={{{NOBODY}}}")
    assert said.startswith("Access the abstract socket 'votequorum' refuses uid 65534, gid 65534, as which")
    assert "(here it is uid 0, gid 0). Allow that user: 'uidgid {', 'uid: 65534' and '}'" in said


def test_in_another_network_namespace_the_error_says_that_sockets_do_not_cross(real_corosync: None) -> None:
    """Seen from a pid namespace, whose first process is in the network that the program has left."""
    program = ASK.format(path=[ENVIRONMENT["PYTHONPATH"], *sys.path], arguments="", before="")
    leave = 'unshare --net "$@"; true'
    argv = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", leave, "sh"]
    done = subprocess.run(
        [*argv, sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Library corosync is not running here: nothing listens on the abstract"), (
        done
    )
    assert "in another network namespace than the system's first one" in done.stdout
    assert "Abstract sockets do not cross network namespaces" in done.stdout


@pytest.mark.parametrize(
    ("shares", "in_a_container", "says"),
    [
        (True, False, "systemctl start corosync"),
        (True, True, "This process is in a container. Abstract sockets do not cross"),
        (None, False, "systemctl start corosync"),
        (None, True, "This process is in a container. Abstract sockets do not cross"),
        (False, False, "in another network namespace than the system's first one"),
    ],
)
async def test_unknown_facts_about_the_network_are_not_claimed(
    monkeypatch: pytest.MonkeyPatch, shares: bool | None, in_a_container: bool, says: str
) -> None:
    monkeypatch.setattr(diagnosis, "_listening", set)
    monkeypatch.setattr(diagnosis, "_shares_network_with_the_first_process", lambda: shares)
    monkeypatch.setattr(diagnosis, "_is_in_a_container", lambda: in_a_container)
    error = diagnosis.unreachable("cmap", None, "it", ConnectionRefusedError(111, "refused"))
    assert str(error).startswith("corosync is not running here: nothing listens on it")
    assert says in str(error)


def test_without_proc_nothing_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: str) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(diagnosis, "proc_text", missing)
    assert diagnosis._listening() == set()
    assert diagnosis._outside(7, "uid_map") == 7
