"""A vote for the part of the cluster that has a lease in a shared directory: python lease_file.py /shared/dir

Protects from: two parts that both continue, in clusters of any size. One node holds the lease, and all nodes
in its part vote. A holder that is dead, or cannot write, loses the lease to another node, which gets the vote
only when no vote for the old holder can be left. Clocks of different nodes are never compared.

Does not protect from: a file system on which a node does not see at once what another one has written. NFS is
such a file system, unless mounted with `noac,lookupcache=none`. And if both parts reach the directory but the
holder is in the part that has lost something more important, that part continues anyway.

How: the lease is the file with the highest number, `lease.17`. It names its holder, who increments a beat in
it to show that it is alive. A node that sees no new beat for `LEASE` seconds makes `lease.18`, with a hard
link, which only one node can make. So the number is a generation: a holder that was asleep writes to its own
file, and sees that it is outdated. But it may have voted just before, and a vote outlives its decision: by
the time that was left to answer, by quorum.device.timeout, and by .sync_timeout more if the membership
changes just then. So no node votes for a generation that is younger than that, `SETTLED`, except the first.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from votequorum_ipc.qdevice import View

LEASE = 10.0
"""Seconds without a beat after which another node may take the lease."""

SETTLED = 30.0 + 10.0 + 30.0
"""Seconds after which no vote for an older generation is left."""

_NAME = re.compile(r"lease\.(\d{1,18})")


@dataclass(frozen=True)
class Beat:
    """The contents of a lease file."""

    generation: int
    holder: int
    count: int
    age: float
    """Seconds for which the holder knows that it has held the lease."""


class LeaseFile:
    """The decision."""

    def __init__(self, directory: Path, *, lease: float = LEASE, settled: float = SETTLED) -> None:
        self._directory = directory
        self._lease = lease
        self._settled = settled
        self._beat: Beat | None = None
        """The last beat that this node has seen, its own included."""
        self._since = 0.0
        """When this node first saw it."""
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def __call__(self, view: View) -> bool:
        # A file system that hangs holds one thread, and no second one is started.
        decide = partial(self._decide, view.node_id, view.members)
        return await trio.to_thread.run_sync(decide, abandon_on_cancel=True, limiter=self._one_at_a_time)

    def _decide(self, node: int, members: tuple[int, ...]) -> bool:
        known = self._beat
        beat = self._look()
        silent_for = time.monotonic() - self._since
        if beat is None:
            self._write(Beat(1, node, 0, 0.0))
        elif beat.holder == node:
            held_for = silent_for if beat == known else 0.0
            self._write(Beat(beat.generation, node, beat.count + 1, beat.age + held_for))
        elif silent_for > self._lease:
            self._write(Beat(beat.generation + 1, node, 0, 0.0))
        beat = self._look()
        if beat is None or beat.holder not in members:
            return False
        return beat.generation == 1 or beat.age >= self._settled

    def _look(self) -> Beat | None:
        beat = self._read()
        if beat != self._beat:
            self._beat, self._since = beat, time.monotonic()
        return beat

    def _read(self) -> Beat | None:
        matches = [_NAME.fullmatch(path.name) for path in self._directory.iterdir()]
        generation = max((int(match[1]) for match in matches if match), default=None)
        if generation is None:
            return None
        text = json.loads(self._file(generation).read_text())
        return Beat(generation, int(text["holder"]), int(text["count"]), float(text["age"]))

    def _write(self, beat: Beat) -> None:
        """Write a beat. Write the first of a generation only if no other node has made that generation."""
        new = self._directory / f"new.{beat.holder}"
        new.unlink(missing_ok=True)
        with new.open("x") as file:
            json.dump({"holder": beat.holder, "count": beat.count, "age": beat.age}, file)
            file.flush()
            os.fsync(file.fileno())
        if beat.count:
            new.replace(self._file(beat.generation))
            return
        with contextlib.suppress(FileExistsError):
            self._file(beat.generation).hardlink_to(new)
        new.unlink()
        self._file(beat.generation - 2).unlink(missing_ok=True)

    def _file(self, generation: int) -> Path:
        return self._directory / f"lease.{generation}"


if __name__ == "__main__":
    from _program import main  # the file beside this one

    main("lease", lambda directory: LeaseFile(Path(directory)), "DIRECTORY", __doc__)
