"""Shared by tests of the clients: what this process holds, and C answers to compare with."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.real.config import MANY_VOTES
from tests.real.cref import CS_OK
from tests.real.waiting import DEADLINE, DeadlineError, eventually_async
from votequorum_ipc import Cmap, CsError, NodeInfo, Quorum, Votequorum
from votequorum_ipc.ipc.backend import move_on_after, sleep


@dataclass(frozen=True)
class Holdings:
    """Descriptors, shared mappings and daemon-side files that belong to this process's connections."""

    descriptors: int
    mappings: int
    files: frozenset[str]


def holdings() -> Holdings:
    """What this process holds now, with garbage collected first."""
    gc.collect()
    maps = Path("/proc/self/maps").read_text().splitlines()
    # Files from a killed daemon may remain: its client waits only briefly for the daemon's end.
    files = {
        path.name
        for path in Path("/dev/shm").glob(f"qb-*-{os.getpid()}-*")
        if Path("/proc", path.name.split("-")[1]).exists()
    }
    return Holdings(
        descriptors=sum(_is_ours(path) for path in Path("/proc/self/fd").iterdir()),
        mappings=sum("/dev/shm/qb-" in line for line in maps),
        files=frozenset(files),
    )


def _is_ours(descriptor: Path) -> bool:
    """Whether a descriptor is of a kind that connections use; the tests' own daemons use other kinds."""
    try:
        target = str(descriptor.readlink())
    except FileNotFoundError:
        return False
    return target.startswith(("socket:", "/dev/shm/qb-")) or target.endswith(("[eventpoll]", "[eventfd]"))


async def code_of(call: Awaitable[Any]) -> int:
    """The `cs_error_t` of a call's outcome."""
    try:
        await call
    except CsError as error:
        return int(error.code)
    return CS_OK


def as_c(info: NodeInfo) -> dict[str, int | bytes]:
    """A `NodeInfo` in the form of the C struct."""
    values = {name: getattr(info, name) for name in NodeInfo._fields}
    values["qdevice_name"] = info.qdevice_name.encode()
    return {name: value if isinstance(value, bytes) else int(value) for name, value in values.items()}


async def give_many_votes(handle: Votequorum) -> None:
    """Give the one node `MANY_VOTES` votes, so that a test can change expected votes freely."""
    await handle.setvotes(1, MANY_VOTES)
    with move_on_after(DEADLINE):
        while (await handle.getinfo()).node_expected_votes != MANY_VOTES:
            await sleep(0.001)
        return
    raise DeadlineError(f"node 1 has {MANY_VOTES} votes")


async def events_here(handle: Votequorum | Quorum | Cmap, count: int) -> None:
    """Wait until this many events have come. corosync sends them after the answer to the call that caused
    them.
    """
    await eventually_async(
        lambda: handle.connection.queued_events() >= count,
        otherwise=lambda: f"{count} events are here, but {handle.connection.queued_events()} are",
    )


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Check that the block leaves no descriptor or mapping behind; the daemon's files may take a moment to
    go.
    """
    before = holdings()
    yield
    after = holdings()
    assert (after.descriptors, after.mappings) == (before.descriptors, before.mappings)
