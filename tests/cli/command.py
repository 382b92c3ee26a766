"""Runs `votequorum-ipc` as a user would: as a separate process, on a daemon's host.

`votequorum_ipc`, `without_daemon` and `as_nobody` run it to completion, in a process forked from a server
that has already imported everything (see `forkserver`). `COMMAND` is for tests that start it themselves.
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
"""The imports come first, because the other user may not be able to read the interpreter's directory."""

AS_NOBODY = [sys.executable, "-c", _AS_NOBODY]
"""The command, run as an unprivileged user."""

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}

Result = subprocess.CompletedProcess[str]
Line = dict[str, Any]


def votequorum_ipc(daemon: Daemon, *arguments: str) -> Result:
    """Run the command on a daemon's host."""
    return _server().run([*arguments], ENVIRONMENT, host=daemon.host, timeout=DEADLINE)


def as_nobody(daemon: Daemon, *arguments: str) -> Result:
    """Run the command on a daemon's host as an unprivileged user."""
    return _server().run([*arguments], ENVIRONMENT, host=daemon.host, uid=NOBODY, timeout=DEADLINE)


def without_daemon(*arguments: str, typed: str = "") -> Result:
    """Run the command without a daemon, with `typed` as its standard input."""
    return _server().run([*arguments], ENVIRONMENT, typed=typed, timeout=DEADLINE)


@functools.cache
def _server() -> ForkServer:
    """The fork server of this test run, started when first needed."""
    server = ForkServer(ENVIRONMENT)
    atexit.register(server.close)
    return server


def status(daemon: Daemon, *arguments: str) -> Line:
    """The output of `status --json`."""
    shape: Line = json.loads(votequorum_ipc(daemon, "status", "--json", *arguments).stdout)
    return shape


class Monitor:
    """A running `monitor --json`. Its output goes to a file, so tests see only what it flushes.

    By default its patience is long: a busy machine must not make it report a daemon as unknown.
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
        """All complete lines so far."""
        text = self._output.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def events(self) -> list[Line]:
        """All lines but the first (the state at the start), without their times.

        Link lines are left out: they depend on when monitor looks at the links.
        """
        lines = [line for line in self.lines()[1:] if line["event"] != "link"]
        return [{key: value for key, value in line.items() if key != "time"} for line in lines]

    def wait_for(self, event: str, **values: Any) -> Line:
        """Block until there is a line for `event` with these values, and return the first such line."""
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
        """Send SIGINT, as Ctrl-C does; return the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Block until it exits; return the exit code."""
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
