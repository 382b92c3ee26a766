"""Runs the command in a separate process, without the cost of starting Python and importing the command.

Strategy: a server, `python -m tests.cli.forkserver`, imports what every subcommand needs. For each command it
forks twice. The grandchild sets its own descriptors, environment, directory, namespaces and user. It then
runs `votequorum_ipc` as `python -m votequorum_ipc` would, with its own exit code, signal handlers and
interpreter shutdown. The child waits for it, kills it after its timeout, and returns the result. The server
itself never waits for a command, so several may run at once. It exits when its standard input is closed.

Tests of imports, signals and terminals start a new Python instead: see `command`.
"""

from __future__ import annotations

import array
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from tests.real.host import ROOT, Host
from tests.real.namespace import CLONE_NEWNET

_CLONE_NEWNS = 0x00020000  # linux/sched.h
_LARGEST_ORDER = 1 << 17
_STREAMS = 3
"""Standard input, output and error."""


# --- client side ---


class ForkServer:
    """A running fork server."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.cli.forkserver"],
                cwd=ROOT,
                env=dict(environment),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._orders.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST_ORDER)

    def run(
        self,
        arguments: list[str],
        environment: Mapping[str, str],
        *,
        host: Host | None = None,
        uid: int = 0,
        typed: str = "",
        timeout: float,
    ) -> subprocess.CompletedProcess[str]:
        """Run the command to completion, optionally in a host's namespaces or as another user.

        If it takes longer than `timeout` seconds, kills it and raises `subprocess.TimeoutExpired`.
        """
        order = {
            "arguments": arguments,
            "environment": dict(environment),
            "directory": str(Path.cwd()),
            # Without a host, this process's namespaces: the server may have been started during a visit to a
            # host's network.
            "namespaces": host.pid if host else os.getpid(),
            "uid": uid,
            "timeout": timeout,
        }
        with (
            tempfile.TemporaryFile() as stdin,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            stdin.write(typed.encode())
            stdin.seek(0)
            code = self._ask(order, [stdin, out, err])
            stdout, stderr = (_all_of(file) for file in (out, err))
        argv = ["votequorum-ipc", *arguments]
        if code is None:
            raise subprocess.TimeoutExpired(argv, timeout, stdout, stderr)
        return subprocess.CompletedProcess(argv, code, stdout, stderr)

    def _ask(self, order: Mapping[str, Any], streams: list[IO[bytes]]) -> int | None:
        answer, theirs = os.pipe()
        try:
            descriptors = array.array("i", [*(stream.fileno() for stream in streams), theirs])
            self._orders.sendmsg(
                [json.dumps(order).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)]
            )
        finally:
            os.close(theirs)
        with os.fdopen(answer) as pipe:
            text = pipe.read()
        assert text, "the fork server has died"
        code: int | None = json.loads(text)
        return code

    def close(self) -> None:
        """Stop the server."""
        self._orders.close()
        self._process.wait()


def _all_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


# --- the server ---


def _serve(orders: socket.socket) -> dict[str, Any] | None:
    """Take orders until input ends. In a process that must carry out an order, returns that order."""
    # The kernel reaps the children that wait for commands.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        text, descriptors, _, _ = socket.recv_fds(orders, _LARGEST_ORDER, _STREAMS + 1)
        if not text:
            return None
        order: dict[str, Any] = json.loads(text)
        if os.fork() == 0:
            orders.close()
            *streams, answer = descriptors
            if _is_the_command(streams, answer, order["timeout"]):
                return order
        for descriptor in descriptors:
            os.close(descriptor)


def _is_the_command(streams: list[int], answer: int, timeout: float) -> bool:
    """Returns True in the process that becomes the command; the process that waits for it never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(answer)
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        return True
    waited = select.poll()
    waited.register(os.pidfd_open(pid), select.POLLIN)
    in_time = bool(waited.poll(timeout * 1000))
    if not in_time:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.write(answer, json.dumps(os.waitstatus_to_exitcode(status) if in_time else None).encode())
    os._exit(0)


def _carry_out(order: Mapping[str, Any]) -> None:
    """Become the command."""
    _enter(order["namespaces"])
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    if uid := order["uid"]:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    sys.argv[1:] = order["arguments"]
    runpy.run_module("votequorum_ipc", run_name="__main__", alter_sys=True)


def _enter(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    kinds = {"net": CLONE_NEWNET, "mnt": _CLONE_NEWNS}
    opened = {kind: os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in kinds}
    for kind, descriptor in opened.items():
        here = os.path.samestat(os.fstat(descriptor), Path(f"/proc/self/ns/{kind}").stat())
        if not here and libc.setns(descriptor, kinds[kind]) != 0:
            raise OSError(ctypes.get_errno(), f"setns {kind} of {pid}")
        os.close(descriptor)


def _import_everything() -> None:
    from votequorum_ipc.cli import app

    names = [*app.COMMANDS.values(), "tables", "json_values", "change_text"]
    for name in names:
        importlib.import_module(f"votequorum_ipc.cli.{name}")
    for name in ("trio", "asyncio", "rich.table", "votequorum_ipc.blocking", "votequorum_ipc.overview"):
        importlib.import_module(name)


if __name__ == "__main__":
    _import_everything()
    # The imported objects are not the command's garbage, and a collection would copy their pages.
    gc.freeze()
    with socket.socket(fileno=os.dup(0)) as _orders:
        _order = _serve(_orders)
    if _order is not None:
        _carry_out(_order)
