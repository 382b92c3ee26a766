"""Whatever a client does, the embedded daemon lives, serves others within 5 s, and frees what it held.

The cases are those that corosync itself is put to (`fuzz/targets/corosync.py`): any steps on connections to
its services, in any order. After each sequence another client asks, once while the attacker's connections are
open and once after they have closed; how long it waited is counted. Then the daemon has no more descriptors
than before.

A file is cut while the daemon waits. Between its look at a length and its touch a cut is a SIGBUS, which
nothing in Python can prevent, and a case that ends so teaches nothing new.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from fuzz.attacker import Attacker, is_served
from fuzz.embedded import Embedded, embedded
from fuzz.target import Target
from votequorum_ipc.attack import Step
from votequorum_ipc.errors import CsError
from votequorum_ipc.strategies.attacks import attacks

SETTLING: Final = 5.0
"""Seconds in which the daemon frees closed connections."""


class NotServed(AssertionError):
    """The daemon did not stand a sequence."""


class HostileClient:
    """A session: one embedded daemon, or the next one when it has died."""

    def __init__(self, transport: str, directory: Path) -> None:
        self._transport = transport
        self._directory = directory
        self._stack = contextlib.ExitStack()
        self.latencies: list[float] = []
        self.start()

    def start(self) -> None:
        """A fresh daemon."""
        self._stack.close()
        self.daemon: Embedded = self._stack.enter_context(embedded(self._transport, self._directory))
        self._serve()
        self._descriptors = self.daemon.descriptors()

    def check(self, case: tuple[Step, ...]) -> None:
        """Perform the steps and see whether others are served, and everything is freed."""
        if not self.daemon.alive:
            self.start()
        attacker = Attacker(self.daemon.address, before_cut=self.daemon.wait_until_it_waits)
        try:
            attacker.perform(case)
            self._serve()
        finally:
            attacker.close()
        self._serve()
        self._has_let_go()

    def _serve(self) -> None:
        before = time.monotonic()
        try:
            is_served(self.daemon.address)
        except (CsError, OSError) as error:
            raise NotServed(f"{error!r}{self.daemon.log_tail()}") from error
        self.latencies.append(time.monotonic() - before)

    def _has_let_go(self) -> None:
        until = time.monotonic() + SETTLING
        while (now := self.daemon.descriptors()) > self._descriptors:
            if time.monotonic() > until:
                raise AssertionError(f"{now} descriptors instead of {self._descriptors}")
            self._serve()  # what is asked later is answered later: the daemon has had its turn

    def summary(self) -> str:
        """How long other clients waited: from their connecting to their answer."""
        ordered = [latency * 1000 for latency in sorted(self.latencies)]
        median, most = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
        return (
            f"others were served {len(ordered)} times: median {median:.1f} ms, "
            f"99 of 100 within {most:.1f} ms, longest {ordered[-1]:.0f} ms"
        )

    def close(self) -> None:
        """End the daemon."""
        self._stack.close()


@contextlib.contextmanager
def _session(transport: str) -> Iterator[HostileClient]:
    with tempfile.TemporaryDirectory(prefix="fuzz-embedded-") as directory:
        session = HostileClient(transport, Path(directory))
        with contextlib.closing(session):
            yield session


def _target(transport: Literal["shm", "socket"]) -> Target:
    return Target(
        name=f"hostile-client-{transport}",
        property=__doc__ or "",
        cases=attacks(),
        session=lambda: _session(transport),
        examples=40,
    )


TARGETS = [_target("shm"), _target("socket")]
