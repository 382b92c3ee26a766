"""Whatever an accepted client does, corosync lives, and serves its other clients within 5 s.

A case is a sequence of steps: connections to votequorum, quorum, cmap and cfg; valid and malformed
requests; chunks, doorbells and counters that do not match; damage to shared memory; handshakes that are
broken off; early closes. After each sequence another client asks, first while the attacker's connections
are open, then after they have closed. The case fails if the daemon is dead, hangs, or refuses that client.

The daemon runs in its own namespaces (`tests/real`), with a memory limit, and is started again after it
has died. If a daemon that has seen other sequences fails, the sequence is tried again on fresh daemons. If
they pass, the failure may need something that came before. So everything that the daemon has seen is
performed again on a fresh one, and shortened if that fails. `unrepeated.txt` has the result.
"""

from __future__ import annotations

import contextlib
import math
import re
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from fuzz.attacker import Attacker, is_served
from fuzz.edges import Edges, edges_of_daemons
from fuzz.known import Known, what_matters
from fuzz.target import Target
from tests.real import leftovers
from tests.real.config import Config, Device
from tests.real.daemon import Daemon
from tests.real.host import Host
from votequorum_ipc.attack import Close, Connect, Step
from votequorum_ipc.errors import CsError, Timeout
from votequorum_ipc.strategies.attacks import attacks

DYING: Final = 3.0
"""Seconds that a daemon may take from its first missed answer to its end: it writes a black box first."""

MEMORY: Final = 1 << 30
"""Bytes of address space that the daemon may use more than it does when it is ready."""

TRIALS: Final = 3
"""How often to try what depends on who is faster."""

SHORTENING: Final = 120.0
"""Seconds to spend on leaving out steps, one after another."""

NOTHING: Final = "nothing, this time and under strace"

CASES_A_DAEMON: Final = 500

UNREPEATED: Final = "unrepeated.txt"
"""The name of a file; see `Corosync.keep_in`."""

_SANITIZER: Final = re.compile(r"^.*(ERROR: \w+Sanitizer|runtime error): ", re.MULTILINE)
_OBEYED: Final = re.compile(r"was shut down by sysadmin|Killed by node")


class CorosyncFailed(AssertionError):
    """The daemon failed after a sequence."""


class Died(CorosyncFailed):
    """It is dead."""


class Hung(CorosyncFailed):
    """It is alive, and does not answer."""


class Refused(CorosyncFailed):
    """It is alive, and refuses another client."""


class Corosync:
    """A session: one real daemon after the other."""

    def __init__(self, daemon: Daemon, edges: Edges | None = None) -> None:
        """`edges` are those of the daemons."""
        self.daemon = daemon
        self.edges = edges
        self.known = Known()
        """What makes it fail."""
        self.journal: list[tuple[Step, ...]] = []
        """What this daemon has seen."""
        self._directory: Path | None = None
        self._explained: set[frozenset[str]] = set()
        """What mattered in the last sequences of the histories that were shortened."""

    def keep_in(self, directory: Path) -> None:
        """Keep what is known in this directory, and histories in unrepeated.txt."""
        self._directory = directory
        self.known.keep_in(directory)

    def check(self, case: tuple[Step, ...]) -> None:
        """Perform exactly these steps. Raises `CorosyncFailed` if a fresh daemon fails, too."""
        if len(self.journal) >= CASES_A_DAEMON or not self.daemon.alive:
            self.restart()
        fresh = not self.journal
        failure = self.try_out(case)
        if failure is None:
            return
        history = [*self.journal]
        self.restart()
        if not fresh:
            repeated = self._fails_afresh(case)
            self.restart()
            if repeated is None:
                self._write_down(failure, history)
                return
            failure = repeated
        raise failure

    def try_out(self, steps: tuple[Step, ...]) -> CorosyncFailed | None:
        """Perform the steps and see whether the daemon serves another client, before and after they end."""
        self.journal.append(steps)
        attacker = Attacker()
        with self.daemon.namespace():
            try:
                attacker.perform(steps)
                failure = failure_of(self.daemon)
            finally:
                attacker.close()
            failure = failure or failure_of(self.daemon)
        return None if failure and self._obeyed() else failure

    def _obeyed(self) -> bool:
        return not self.daemon.alive and bool(_OBEYED.search(self.daemon.log_tail(30)))

    def summary(self) -> str:
        """How much of the daemon was reached, where it counts that."""
        self._end()
        return f"{self.edges.reached:,} edges" if self._counts() and self.edges else ""

    def _counts(self) -> bool:
        if self.edges:
            self.edges.take()
        return bool(self.edges and self.edges.reached)

    def _end(self) -> None:
        # A daemon that counts lines writes them down when it ends politely, which takes a second.
        if self._counts() and self.daemon.alive:
            self.daemon.stop()
        self.daemon.discard()

    def restart(self) -> None:
        """A fresh daemon."""
        self._end()
        self.daemon.log.unlink(missing_ok=True)
        self.daemon.start()
        self.daemon.wait_ready()
        limit_memory(self.daemon.pid)
        self.journal = []

    def _write_down(self, failure: CorosyncFailed, history: list[tuple[Step, ...]]) -> None:
        if self._directory is None:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / UNREPEATED).open("a") as file:
            print(f"# {type(failure).__name__}: {failure}".replace("\n", "\n# "), file=file)
            print(f"# The last sequence alone failed 0 of {TRIALS} times on fresh daemons.", file=file)
            print(self._words_on(history), file=file)

    def _words_on(self, history: list[tuple[Step, ...]]) -> str:
        """The result of performing a whole history again, in words."""
        matters = what_matters(history[-1])
        if matters in self._explained:
            return f"# Not tried again as a whole: {sorted(matters)} was.\nHISTORY = {history!r}\n"
        self._explained.add(matters)
        steps = one_after_another(history)
        if self._fails_afresh(steps) is None:
            return f"# All of them failed 0 of {TRIALS} times.\nHISTORY = {history!r}\n"
        steps = self.shortened(steps, math.inf)
        self.restart()
        return f"# With what came before, it repeats. These steps are enough:\nSTEPS = {steps!r}\n"

    # --- going on after a failure ---

    def unknown_part(self, case: tuple[Step, ...]) -> tuple[Step, ...]:
        """The steps without those that complete a known combination of features."""
        return self.known.unknown_part(case)

    def label(self, case: tuple[Step, ...]) -> str:
        """The known combinations of features that the steps have."""
        return self.known.label(case)

    def learn(self, case: tuple[Step, ...], until: float) -> tuple[tuple[Step, ...], str]:
        """Count the combination of features as known. Gives the shortest sequence, and its last words."""
        steps = self.shortened(case, until)
        combination = what_matters(steps)
        self.known.add(combination)
        words = ""
        for _ in range(TRIALS):
            if time.monotonic() > until:
                break
            self.restart()
            words = self.last_words(steps)
            if NOTHING not in words:
                break
        self.restart()
        return steps, f"features: {sorted(combination)}\n{words}"

    def shortened(self, steps: tuple[Step, ...], until: float) -> tuple[Step, ...]:
        """The steps without those that a fresh daemon fails without, as far as the time allows.

        Long stretches are left out first, then shorter ones.
        """
        until = min(until, time.monotonic() + SHORTENING)
        stretch = max(len(steps) // 2, 1)
        while stretch:
            index = 0
            while index < len(steps) and time.monotonic() < until:
                fewer = steps[:index] + steps[index + stretch :]
                if fewer and self._fails_afresh(fewer, until):
                    steps = fewer
                else:
                    index += stretch
            stretch //= 2
        return steps

    def _fails_afresh(self, steps: tuple[Step, ...], until: float = math.inf) -> CorosyncFailed | None:
        """What fresh daemons fail with, in `TRIALS` attempts: a race may be won first."""
        for _ in range(TRIALS):
            if time.monotonic() > until:
                break
            if self.journal or not self.daemon.alive:
                self.restart()
            if failure := self.try_out(steps):
                return failure
        return None

    def last_words(self, steps: tuple[Step, ...]) -> str:
        """Perform the steps under strace: the signals that the daemon got, then the end of its log."""
        trace = self.daemon.directory / "strace"
        argv = ["strace", "-f", "-p", str(self.daemon.pid), "-e", "trace=none", "-o", str(trace)]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as strace:
            assert strace.stderr
            strace.stderr.readline()  # "attached"
            try:
                failure = self.try_out(steps)
            finally:
                strace.send_signal(signal.SIGINT)
        signals = [line for line in trace.read_text().splitlines() if "SIG" in line]
        kind = type(failure).__name__ if failure else NOTHING
        return "\n".join([f"outcome: {kind}", *signals[:8], *signals[-2:], end_of_log(self.daemon)])


def one_after_another(history: Sequence[tuple[Step, ...]]) -> tuple[Step, ...]:
    """Sequences as one: each connection is closed before the next sequence begins."""
    joined: list[Step] = []
    for steps in history:
        numbers = {step.connection for step in steps if isinstance(step, Connect)}
        joined += [*steps, *(Close(number) for number in sorted(numbers))]
    return tuple(joined)


def failure_of(daemon: Daemon) -> CorosyncFailed | None:
    """How a daemon fails to serve another client; None if it does not. Called in its network namespace."""
    try:
        is_served()
    except Timeout as error:
        return _verdict(daemon, Hung, error)
    except (CsError, OSError) as error:
        return _verdict(daemon, Refused, error)
    return None


def _verdict(daemon: Daemon, otherwise: type[CorosyncFailed], error: Exception) -> CorosyncFailed:
    # One that hangs has had its time already.
    until = time.monotonic() + (0.2 if otherwise is Hung else DYING)
    while daemon.alive and time.monotonic() < until:
        time.sleep(0.01)
    kind = otherwise if daemon.alive else Died
    return kind(f"{error!r}{end_of_log(daemon)}")


def end_of_log(daemon: Daemon, lines: int = 15) -> str:
    """The end of the daemon's log, or the beginning of what a sanitizer reports there."""
    text = daemon.log_text()
    found = _SANITIZER.search(text)
    if found is None:
        return daemon.log_tail(lines)
    return "\n".join(["; a sanitizer reports:", *text[found.start() :].splitlines()[:lines]])


def limit_memory(pid: int) -> None:
    """Bound what a daemon may allocate from now on, and let it leave no core file: others work here."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def _session(transport: Literal["shm", "socket"]) -> Iterator[Corosync]:
    leftovers.reap()
    with tempfile.TemporaryDirectory(prefix="fuzz-corosync-") as directory, contextlib.ExitStack() as stack:
        edges = stack.enter_context(edges_of_daemons())
        host = Host(Path(directory))
        stack.callback(host.close)
        daemon = Daemon(host, Config(transport=transport, device=Device()), Path(directory))
        stack.callback(daemon.discard)
        corosync = Corosync(daemon, edges)
        corosync.restart()
        yield corosync


def _target(transport: Literal["shm", "socket"]) -> Target:
    return Target(
        name=f"corosync-{transport}",
        property=__doc__ or "",
        cases=attacks(),
        session=lambda: _session(transport),
        examples=20,
        needs_corosync=True,
    )


TARGETS = [_target("shm"), _target("socket")]
