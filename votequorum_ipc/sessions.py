"""Runs a command repeatedly, each time in a session that ends as a whole.

Strategy: each run has its own session, so that it can be killed together with its children, including those
in other process groups, which are found through /proc. It gets SIGTERM when it is late or no longer wanted. A
moment later everything left of the session gets SIGKILL, even if the command ended in time. The command's
process is reaped only after that, because until then no other process can get its pid. A command that
survives even SIGKILL (because it hangs in a dead file system, say) is not started again until it is gone.
Children that start their own sessions escape; a service manager's control group catches those.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

GRACE: Final = 0.5
"""Seconds from SIGTERM to SIGKILL, and from then until the process must be gone."""

_NOT_FOR_CHILDREN: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run of a command ended."""

    command: str
    succeeded: bool
    """It ended in time, with status 0."""
    detail: str
    """Such as "exit status 1"."""


class SessionCommand:
    """A command that runs at most once at a time. Raises `ValueError` for an empty or malformed text."""

    def __init__(self, text: str, *, shell: bool = False) -> None:
        """`text` is split into words as a shell does, or passed to /bin/sh if `shell`."""
        self.text = text
        self._argv: Sequence[str] = ["/bin/sh", "-c", text] if shell else shlex.split(text)
        if not self._argv or not text.strip():
            raise ValueError("an empty command")
        self._unreaped: Callable[[], bool] | None = None
        """Returns whether a run that could not be killed has ended by now."""

    async def run(
        self,
        seconds: float,
        environment: Mapping[str, str],
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
    ) -> Outcome:
        """Run the command once, for at most `seconds`, with `environment` added to this process's own.

        When this returns, or is cancelled, the command has ended, unless it cannot be killed.
        """
        if self._unreaped is not None and not self._unreaped():
            return self._failed("the last run could not be killed and has not ended yet")
        self._unreaped = None
        try:
            process = await trio.lowlevel.open_process(
                self._argv,
                stdin=stdin,
                stdout=stdout,
                start_new_session=True,
                env={**_inherited(), **environment},
            )
        except OSError as error:
            return self._failed(f"cannot be started: {error.strerror}")
        try:
            running = _Running(process)
        except OSError as error:
            if not await _kill(process):
                self._unreaped = lambda: process.returncode is not None
            return self._failed(f"cannot be watched, so it was killed: {error.strerror}")
        try:
            with trio.move_on_after(seconds) as scope:
                await running.wait_exited()
        finally:
            if not await running.end():
                self._unreaped = running.reap
        if scope.cancelled_caught:
            return self._failed("late, so it was killed")
        return Outcome(self.text, running.returncode == 0, _describe(running.returncode))

    def _failed(self, detail: str) -> Outcome:
        return Outcome(self.text, False, detail)


class _Running:
    """A process that leads a session, from its start until it is reaped."""

    def __init__(self, process: trio.Process) -> None:
        """Raises OSError when no descriptor is left to watch it with."""
        self._process = process
        self._pidfd = os.pidfd_open(process.pid)

    @property
    def returncode(self) -> int:
        """Valid once `end` or `reap` has returned true."""
        assert self._process.returncode is not None
        return self._process.returncode

    async def wait_exited(self) -> None:
        """Wait until the process has exited; does not reap it."""
        await trio.lowlevel.wait_readable(self._pidfd)

    async def end(self) -> bool:
        """Kill what is left of the session. Returns whether the process is gone."""
        with trio.CancelScope(shield=True):
            if not await self._exits_within(0):
                self._signal(signal.SIGTERM)
                await self._exits_within(GRACE)
            self._signal(signal.SIGKILL)
            await self._exits_within(GRACE)
        return self.reap()

    def reap(self) -> bool:
        """Reap the process if it has exited. Returns whether it has."""
        if self._process.returncode is None:
            return False
        os.close(self._pidfd)
        return True

    async def _exits_within(self, seconds: float) -> bool:
        with trio.move_on_after(seconds) as scope:
            await self.wait_exited()
        return not scope.cancelled_caught

    def _signal(self, number: signal.Signals) -> None:
        _signal_session(self._process, number)


async def _kill(process: trio.Process) -> bool:
    """Kill a session at once and reap its leader. Returns whether the leader is gone."""
    _signal_session(process, signal.SIGKILL)
    with trio.CancelScope(shield=True, deadline=trio.current_time() + GRACE):
        await process.wait()
    return process.returncode is not None


def _signal_session(process: trio.Process, number: signal.Signals) -> None:
    _signal_group(process.pid, number)
    # `timeout`, and a shell with job control, give their children process groups of their own.
    for group in _other_groups(process.pid):
        _signal_group(group, number)


def _signal_group(group: int, number: signal.Signals) -> None:
    # No process is left, or none that this user may kill.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _other_groups(session: int) -> set[int]:
    """The process groups of a session except its leader's; empty if /proc does not show them."""
    groups = set()
    with contextlib.suppress(OSError):
        for process in [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]:
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if os.getsid(process) == session:
                    groups.add(os.getpgid(process))
    return groups - {session}


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_FOR_CHILDREN}


def _describe(returncode: int) -> str:
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"
