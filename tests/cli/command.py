"""Running `votequorum-ipc` as a user would: a process of its own, on a daemon's host.

`votequorum_ipc`, `without_daemon` and `as_nobody` run it to its end, forked from a server that has imported
everything (see `forkserver`). `COMMAND` is for tests that start it themselves.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from tests.real.daemon import Daemon
from tests.real.host import ROOT
from tests.real.waiting import DEADLINE, DeadlineError, eventually

from .forkserver import ForkServer

COMMAND = [sys.executable, "-m", "votequorum_ipc"]
NOBODY = 65534
_AS_NOBODY = f"""
import importlib, os, sys
from votequorum_ipc.cli import app, main, tables
for name in app.COMMANDS.values():
    importlib.import_module("votequorum_ipc.cli." + name)
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
main()
"""
"""Imports come first: where the interpreter is installed, another user may not be allowed to read."""

AS_NOBODY = [sys.executable, "-c", _AS_NOBODY]
"""The command as a user without privileges."""

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}

Result = subprocess.CompletedProcess[str]
Line = dict[str, Any]


def votequorum_ipc(daemon: Daemon, *arguments: str) -> Result:
    """Run the command on a daemon's host."""
    return _server().run([*arguments], ENVIRONMENT, host=daemon.host, timeout=DEADLINE)


def as_nobody(daemon: Daemon, *arguments: str) -> Result:
    """Run the command on a daemon's host as a user without privileges."""
    return _server().run([*arguments], ENVIRONMENT, host=daemon.host, uid=NOBODY, timeout=DEADLINE)


def without_daemon(*arguments: str, typed: str = "") -> Result:
    """Run the command right here, with this on its standard input."""
    return _server().run([*arguments], ENVIRONMENT, typed=typed, timeout=DEADLINE)


@functools.cache
def _server() -> ForkServer:
    """The server of this test run, started at the first demand."""
    server = ForkServer(ENVIRONMENT)
    atexit.register(server.close)
    return server


def status(daemon: Daemon, *arguments: str) -> Line:
    """What `status --json` says."""
    shape: Line = json.loads(votequorum_ipc(daemon, "status", "--json", *arguments).stdout)
    return shape


class Monitor:
    """A running `monitor --json`. Its output goes to a file, so only what it flushes is ever seen.

    It is patient, unless told otherwise: a busy machine must not make it call a daemon unknown.
    """

    def __init__(self, daemon: Daemon, directory: Path, *arguments: str) -> None:
        self._output = directory / f"monitor-{daemon.nodeid}.json"
        self._errors = directory / f"monitor-{daemon.nodeid}.err"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                daemon.host.command([*COMMAND, "monitor", "--json", "--patience", "100", *arguments]),
                stdout=output,
                stderr=errors,
                env=ENVIRONMENT,
            )

    def __enter__(self) -> Self:
        try:
            self.wait_for("status")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end()

    def lines(self) -> list[Line]:
        """All complete lines until now."""
        text = self._output.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def events(self) -> list[Line]:
        """The lines after the first, which is the state at the beginning; without their times.

        Those of links are left out: they come when monitor looks.
        """
        lines = [line for line in self.lines()[1:] if line["event"] != "link"]
        return [{key: value for key, value in line.items() if key != "time"} for line in lines]

    def wait_for(self, event: str, **values: Any) -> Line:
        """Block until there is a line for `event` with these values, and return the first such one."""
        wanted = {"event": event, **values}

        def found() -> Line | None:
            for line in self.lines():
                if wanted.items() <= line.items():
                    return line
            assert self._process.poll() is None, f"monitor has ended: {self.errors()}"
            return None

        line = eventually(found, otherwise=lambda: f"a line with {wanted} among {self.lines()}")
        assert line
        return line

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Block until it has ended by itself; the exit code."""
        try:
            return self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise DeadlineError(f"monitor has not ended: {self.lines()} {self.errors()}") from None

    def errors(self) -> str:
        """What it wrote to stderr."""
        return self._errors.read_text()

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
