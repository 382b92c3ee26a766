"""`monitor --live` as a user starts it: on a terminal, without one, and without textual."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.cli.command import COMMAND, ENVIRONMENT, without_daemon
from tests.real.waiting import DEADLINE, DeadlineError

LEAVES_SCREEN = b"\x1b[?1049l"
"""The end of a full screen: it tells the terminal to restore what was there before."""


@dataclass
class Terminal:
    """A program on a terminal of 80 columns and 24 lines."""

    process: subprocess.Popen[bytes]
    master: int
    output: bytes = b""

    def read_until(self, wanted: bytes) -> None:
        """Read until the terminal has received these bytes."""
        deadline = time.monotonic() + DEADLINE
        while wanted not in self.output:
            if time.monotonic() > deadline:
                raise DeadlineError(f"{wanted!r} in {self.output!r}")
            if select.select([self.master], [], [], 1)[0]:
                try:
                    self.output += os.read(self.master, 65536)
                except OSError:  # the other end is closed
                    raise DeadlineError(f"{wanted!r} in {self.output!r}") from None

    def press(self, keys: bytes) -> None:
        """Type something."""
        os.write(self.master, keys)


@contextlib.contextmanager
def terminal(
    *arguments: str, command: Sequence[str] = COMMAND, kind: str = "xterm-256color"
) -> Iterator[Terminal]:
    """The command on a kind of terminal, named by TERM."""
    master, slave = pty.openpty()
    environment = {**ENVIRONMENT, "TERM": kind, "COLUMNS": "80", "LINES": "24"}
    try:
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        try:
            yield Terminal(process, master)
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(master)


@pytest.mark.parametrize("end", ["q", "SIGTERM"])
def test_the_demo_runs_on_a_terminal_and_leaves_it_as_it_was(end: str) -> None:
    with terminal("monitor", "--live", "--demo") as there:
        there.read_until(b" QUORATE ")
        if end == "q":
            there.press(b"q")
        else:
            there.process.send_signal(signal.SIGTERM)
        there.read_until(LEAVES_SCREEN)
        assert there.process.wait(DEADLINE) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--live",), "--live needs a terminal"),
        (("--live", "--json"), "--json and this screen cannot be combined"),
        (("--live", "--exec", "true"), "--exec and this screen cannot be combined"),
        (("--live", "--demo", "--address", "@x-votequorum"), "--address and this screen cannot be combined"),
        (("--demo",), "--demo is for --live"),
    ],
)
def test_wrong_usage_is_one_line_with_the_next_step(arguments: tuple[str, ...], said: str) -> None:
    result = without_daemon("monitor", *arguments)
    assert result.returncode == os.EX_USAGE
    assert said in " ".join(result.stderr.split())


def test_a_dumb_terminal_is_refused_with_the_variable_to_set() -> None:
    with terminal("monitor", "--live", kind="dumb") as there:
        there.read_until(b"TERM=xterm")
        assert there.process.wait(DEADLINE) == os.EX_USAGE


def test_without_textual_it_says_what_to_install() -> None:
    # As if it were not installed: the import system does not find it.
    program = (
        "import importlib.util as util, sys; found = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'textual' else found(name, *rest)\n"
        "from votequorum_ipc.cli import main; sys.argv[0] = 'votequorum-ipc'; main()"
    )
    with terminal("monitor", "--live", command=(sys.executable, "-c", program)) as there:
        there.read_until(b"or '.[live]' in a checkout")
        assert there.process.wait(DEADLINE) == 1
    assert b"monitor --live needs textual: pip install 'votequorum-ipc[live]'" in there.output


def test_help_names_the_key_to_quit() -> None:
    text = " ".join(without_daemon("monitor", "--help").stdout.split())
    assert re.search(r"--live Show a full screen: .* q ends it\.", text)
    assert "--demo With --live: show a simulated cluster" in text
