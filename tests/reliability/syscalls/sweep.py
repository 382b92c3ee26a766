"""Runs cases and judges them.

Strategy: trace a scenario without faults to count its calls of each kind; those are the cases. Then run each
case with strace attached to the subject's child. Look for leftovers from outside: in /proc while the child
waits, and in /dev/shm after it has exited.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from tests.real.host import ROOT
from tests.real.waiting import eventually_async

from .faults import FAULTS, NEVER_FAIL

IN_TIME: Final = 20.0
"""Seconds that a scenario may take; each needs a fraction of one, or a few retries."""

_CALL: Final = re.compile(r"(?<= )[a-z]\w*\(.*")


@dataclass(frozen=True)
class Case:
    """One run: the nth call of this kind fails with this error."""

    scenario: str
    call: str
    error: str
    number: int

    def __str__(self) -> str:
        return f"{self.scenario}: {self.call} number {self.number} fails with {self.error}"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run."""

    failures: tuple[str, ...]
    """The kinds of exceptions raised; `CsError` stands for its whole family. Empty on success."""
    text: str
    descriptors: int
    mappings: int
    injected: bool
    """Whether the call that should fail was made."""


class Subject:
    """The process that forks a child for each case."""

    def __init__(self, process: trio.Process, directory: Path) -> None:
        """Not public: use `subject`."""
        self._process = process
        self._directory = directory
        self._heard = b""

    async def trace(self, scenario: str) -> list[str]:
        """Run a scenario without a fault; return its calls, as strace prints them."""
        outcome, trace = await self._run(scenario, [])
        assert not outcome.failures, f"{scenario} fails without a fault: {outcome.text}"
        return [call[0] for line in trace if (call := _CALL.search(line))]

    async def run(self, case: Case) -> Outcome:
        """Run a case."""
        inject = f"inject={case.call}:error={case.error}:when={case.number}"
        outcome, _ = await self._run(case.scenario, ["-e", f"trace={case.call}", "-e", inject])
        return outcome

    async def _run(self, scenario: str, options: Sequence[str]) -> tuple[Outcome, list[str]]:
        file = self._directory / "trace"
        await self._say(scenario)
        pid = int((await self._hear())["pid"])
        before = _holdings(pid)
        # Process ids repeat: a killed daemon may have left files of an earlier process.
        strangers = _shared(pid)
        async with _traced(pid, file, options):
            await self._say("go")
            with trio.move_on_after(IN_TIME) as limit:
                heard = await self._hear()
            if limit.cancelled_caught:
                heard, after = {"outcome": ["hangs"], "text": f"not done within {IN_TIME:g} s"}, before
                os.kill(pid, signal.SIGKILL)
            else:
                after = _holdings(pid)
                await self._say("end")
        await self._hear()
        await eventually_async(lambda: _shared(pid) <= strangers, otherwise="shared files removed")
        trace = file.read_text(errors="replace").splitlines()
        outcome = Outcome(
            failures=tuple(heard["outcome"]),
            text=heard["text"],
            descriptors=after[0] - before[0],
            mappings=after[1] - before[1],
            injected=any("(INJECTED)" in line for line in trace),
        )
        return outcome, trace

    async def _say(self, line: str) -> None:
        assert self._process.stdin
        await self._process.stdin.send_all(f"{line}\n".encode())

    async def _hear(self) -> Any:
        assert self._process.stdout
        while b"\n" not in self._heard:
            more = await self._process.stdout.receive_some()
            assert more, "the subject has ended"
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        return json.loads(line)


def _shared(pid: int) -> set[Path]:
    """The directories of the files that a client process shares with its daemons."""
    return {*Path("/dev/shm").glob(f"qb-*-{pid}-*")}


@contextlib.asynccontextmanager
async def subject(address: str | None = None, command: Sequence[str] = ()) -> AsyncIterator[Subject]:
    """A subject that connects to `address`. `command` is put before its own, as with `Host.command([])`."""
    argv = [
        *command,
        sys.executable,
        "-m",
        "tests.reliability.syscalls.subject",
        *([address] if address else []),
    ]
    # Small allocations must not request memory from the kernel in the middle of a scenario.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_TOP_PAD_": str(64 << 20)}
    process = await trio.lowlevel.open_process(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    try:
        with tempfile.TemporaryDirectory() as directory:
            yield Subject(process, Path(directory))
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@contextlib.asynccontextmanager
async def _traced(pid: int, file: Path, options: Sequence[str]) -> AsyncIterator[None]:
    """Attach strace to a process until that process exits."""
    argv = ["strace", "-f", "-p", str(pid), "-o", str(file), *options]
    strace = await trio.lowlevel.open_process(argv, stderr=subprocess.PIPE)
    assert strace.stderr
    try:
        said = b""
        while b" attached" not in said:
            more = await strace.stderr.receive_some()
            assert more, f"strace cannot attach: {said.decode()}"
            said += more
        yield
        await strace.wait()
    finally:
        strace.kill()
        with trio.CancelScope(shield=True):
            await strace.wait()
            await strace.stderr.aclose()


def _holdings(pid: int) -> tuple[int, int]:
    """A process's descriptors, and its mappings of shared files."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), sum("/dev/shm/qb-" in line for line in maps)


def cases(scenario: str, trace: Sequence[str]) -> list[Case]:
    """Every case of a scenario with this trace."""
    made = _counted(trace)
    return [
        Case(scenario, call, error, number)
        for call, errors in FAULTS.items()
        for error in errors
        for number in range(1, made[call] + 1)
    ]


def unlisted(trace: Sequence[str]) -> list[str]:
    """The kinds of call in a trace that are missing from the tables of `faults`, and so in no case."""
    return sorted(_counted(trace).keys() - FAULTS.keys() - NEVER_FAIL)


def _counted(trace: Sequence[str]) -> Counter[str]:
    return Counter(call.partition("(")[0] for call in trace)


def verdict(case: Case, outcome: Outcome) -> str | None:
    """What is wrong with an outcome; None if nothing is."""
    if any(failure != "CsError" for failure in outcome.failures):
        return f"{case}: {', '.join(outcome.failures)}: {outcome.text}"
    if outcome.descriptors or outcome.mappings:
        return f"{case}: left {outcome.descriptors} descriptors, {outcome.mappings} mappings; {outcome.text}"
    return None
