"""The embedded daemon in a separate process, so that its end is seen from outside.

Run as `python -m fuzz.embedded shm|socket`: prints the address of its one node, and lives until its standard
input ends.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

import trio

from votequorum_ipc.cluster import ClusterConfig, DeviceConfig
from votequorum_ipc.testing import simulated_cluster

ROOT = Path(__file__).resolve().parents[1]

REST: Final = 5.0
"""Seconds in which a daemon finishes everything that it was sent."""


class Embedded:
    """A running embedded daemon."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log
        assert process.stdout
        self.address = process.stdout.readline().strip()
        assert self.address, log.read_text()

    @property
    def alive(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None

    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def wait_until_it_waits(self) -> None:
        """Until the process sleeps, which it does only where it waits for something to come."""
        until = time.monotonic() + REST
        while self.alive and self._state() != "S":
            assert time.monotonic() < until, f"the embedded daemon has not rested for {REST} s"
            time.sleep(0)

    def _state(self) -> str:
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def log_tail(self) -> str:
        """What it has said last, to end a message with."""
        state = "alive" if self.alive else f"dead ({self.process.returncode})"
        return f"; the embedded daemon is {state} and says:\n{self.log.read_text()[-3000:]}"


@contextlib.contextmanager
def embedded(transport: str, directory: Path) -> Iterator[Embedded]:
    """A running embedded daemon; its standard error goes to a file in `directory`."""
    log = directory / "embedded.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.embedded", transport],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield Embedded(process, log)
    finally:
        process.kill()
        process.communicate()


async def main(transport: str, stdin: TextIO) -> None:
    """Run the daemon until `stdin` ends."""
    config = ClusterConfig.of(1, device=DeviceConfig(votes=1))
    async with simulated_cluster(
        config=config, transport="shm" if transport == "shm" else "socket"
    ) as cluster:
        print(cluster.address(1), flush=True)
        await trio.lowlevel.wait_readable(stdin)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.stdin)
