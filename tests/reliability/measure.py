"""The figures in docs/reliability.md: `python -m tests.reliability.measure [NAME...]`.

Each figure is a function that prints a line for the document. Timings depend on the machine.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import trio
import trio.testing

from tests.client.support import code_of, give_many_votes
from tests.real import leftovers
from tests.real.config import MANY_VOTES, Config
from tests.real.daemon import Daemon, one_node
from tests.real.host import ROOT
from votequorum_ipc import TrackFlags, Votequorum, watch_quorum
from votequorum_ipc.ipc import MAX_UNREAD_EVENT_BYTES, Connection, connect, exchange
from votequorum_ipc.testing import SimulatedCluster, simulated_cluster
from votequorum_ipc.types import Connected, Lost
from votequorum_ipc.wire import votequorum as wire

Transport = Literal["shm", "socket"]
TRANSPORTS: tuple[Transport, ...] = ("shm", "socket")


@contextlib.contextmanager
def corosync(transport: Transport) -> Iterator[Daemon]:
    """A daemon; the calling thread is in its network namespace."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        daemon = stack.enter_context(one_node(Config(transport=transport), directory))
        stack.enter_context(daemon.namespace())
        yield daemon


def spread(seconds: Sequence[float]) -> str:
    """Median and maximum in milliseconds."""
    return f"median {statistics.median(seconds) * 1e3:.2f} ms, longest {max(seconds) * 1e3:.2f} ms"


async def until_library(times: int = 10) -> None:
    """The time from the closing of the sockets, seen by another thread, to the end of each waiting call."""
    for transport in TRANSPORTS:
        taken: list[float] = []
        for _ in range(times):
            with corosync(transport) as daemon:
                async with await Votequorum.initialize() as handle:
                    daemon.signal(signal.SIGSTOP)
                    async with trio.open_nursery() as nursery:
                        for call in [handle.getinfo] * 50 + [handle.next_event] * 3:
                            nursery.start_soon(_note_end, call, taken)
                        await trio.testing.wait_all_tasks_blocked()
                        closed = _Observer(daemon)
                        daemon.signal(signal.SIGKILL)
                    taken[-53:] = [end - closed.get() for end in taken[-53:]]
        print(f"socket closed to Library, {transport}, {len(taken)} waiting calls: {spread(taken)}")


class _Observer(threading.Thread):
    """Records when the daemon closes a socket."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__()
        self._socket = daemon.connect("quorum")
        self._closed = 0.0
        self.start()

    def run(self) -> None:
        with self._socket, contextlib.suppress(OSError):
            self._socket.recv(1)
        self._closed = time.perf_counter()

    def get(self) -> float:
        self.join()
        return self._closed


async def _note_end(call: Callable[[], Awaitable[Any]], ends: list[float]) -> None:
    await code_of(call())
    ends.append(time.perf_counter())


async def deadlines(times: int = 100) -> None:
    """How long after its deadline a call to a frozen daemon returns, minus the time without a CPU."""
    for transport in TRANSPORTS:
        with corosync(transport) as daemon:
            async with await Votequorum.initialize() as handle:
                late = []
                with daemon.frozen():
                    for _ in range(times):
                        deadline, waited = trio.current_time() + 0.02, waited_for_a_cpu()
                        with trio.move_on_at(deadline):
                            await handle.getinfo()
                        late.append(trio.current_time() - deadline - (waited_for_a_cpu() - waited))
        print(f"after the deadline of 20 ms, frozen daemon, {transport}, {times} calls: {spread(late)}")


def waited_for_a_cpu() -> float:
    """Seconds in which this process was ready to run but had no CPU."""
    return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9


async def watcher(times: int = 10) -> None:
    """The time from the daemon's death to the view that reports it, and from its readiness to the view of its
    state.
    """
    lost, found = [], []
    with corosync("shm") as daemon:
        async with watch_quorum() as watched:
            await anext(watched)
            for _ in range(times):
                start = time.perf_counter()
                daemon.signal(signal.SIGKILL)
                async for view in watched:
                    if isinstance(view.changes[-1], Lost):
                        break
                lost.append(time.perf_counter() - start)
                daemon.kill()
                daemon.start()
                await daemon.until_ready()
                start = time.perf_counter()
                async for view in watched:
                    if isinstance(view.changes[-1], Connected):
                        break
                found.append(time.perf_counter() - start)
    print(f"watch_quorum, SIGKILL to unknown, {times} times: {spread(lost)}")
    print(f"watch_quorum, daemon ready to its state shown, {times} times: {spread(found)}")


async def checks() -> None:
    """The cost of checking the lengths of the shared files."""
    for transport in TRANSPORTS:
        with corosync(transport):
            async with await Votequorum.initialize() as handle:
                check = handle.connection._transport.check_lengths
                best = min(timeit.repeat(check, number=1000, repeat=20)) / 1000
        print(f"a check of the files' lengths, {transport}: {best * 1e6:.1f} us")


async def calls(times: int = 15) -> None:
    """The cost of calls with and without the checks of the files' lengths, alternating: a median of best
    rounds.
    """
    message = wire.GETINFO.encode(nodeid=1)

    async def ask(connection: Connection, count: int) -> None:
        for _ in range(count):
            await connection.request(message, response_size=wire.GETINFO_RESPONSE.fixed_size)

    async def at_once(connection: Connection, count: int) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask, connection, count // 20)

    for transport in TRANSPORTS:
        with corosync(transport):
            async with await connect("votequorum") as connection:
                for name, make in (("one after another", ask), ("by 20 tasks", at_once)):
                    taken: dict[float, list[float]] = {exchange.LENGTH_CHECK_INTERVAL: [], math.inf: []}
                    for interval in [*taken] * times:
                        exchange.LENGTH_CHECK_INTERVAL = interval  # type: ignore[misc]
                        connection._exchange._check_lengths_at = 0.0
                        taken[interval].append(min([await _seconds(make, connection) for _ in range(3)]))
                    with_looks, without = (statistics.median(each) * 1e6 for each in taken.values())
                    exchange.LENGTH_CHECK_INTERVAL = min(taken)  # type: ignore[misc]
                    print(f"calls {name}, {transport}: {with_looks:.1f} us, {without:.1f} us unchecked")


async def _seconds(make: Callable[[Connection, int], Awaitable[None]], connection: Connection) -> float:
    start = time.perf_counter()
    await make(connection, 2000)
    return (time.perf_counter() - start) / 2000


async def event_limit() -> None:
    """How many events reach the limit, and how much memory they take."""
    async with simulated_cluster(3) as cluster:
        handle = await cluster.connect(1)
        await handle.trackstart()
        before, changes = resident(), 0
        while "lost" not in repr(handle.connection):
            cluster.reform(1)
            handle.connection.queued_events()
            changes += 1
        grown = (resident() - before) / 2**20
        limit = MAX_UNREAD_EVENT_BYTES / 2**20
        print(f"the limit of {limit:.0f} MiB: {changes:,} membership changes, {grown:.1f} MiB more resident")


def resident() -> int:
    """This process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def unread_ring(seconds: float = 2.0) -> None:
    """What a client that takes no events costs corosync, before its ring is full and after."""
    for transport in TRANSPORTS:
        for changes in (100, 1000):
            with corosync(transport) as daemon:
                async with await Votequorum.initialize() as quiet, await Votequorum.initialize() as busy:
                    await give_many_votes(busy)
                    await quiet.trackstart(flags=TrackFlags.CHANGES_ONLY)
                    for number in range(changes):
                        await busy.setexpected(MANY_VOTES + 2 + number % 50)
                    before = cpu_seconds(daemon)
                    await trio.sleep(seconds)
                    spent = (cpu_seconds(daemon) - before) / seconds
            print(f"{changes} events of 40 bytes untaken, {transport}: corosync uses {spent:.0%} of a CPU")


def cpu_seconds(daemon: Daemon) -> float:
    """User and system time of a daemon."""
    fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


VICTIM = """
import random, sys, trio
from votequorum_ipc import CsError, Votequorum
async def main(address, pause):
    while True:
        try:
            async with await Votequorum.initialize(address=address) as handle:
                print("ready", flush=True)
                while True:
                    await handle.getinfo()
                    if pause:
                        await trio.sleep(random.uniform(0, 2 * pause))
        except CsError as error:
            print(type(error).__name__, flush=True)
trio.run(main, sys.argv[1], float(sys.argv[2]))
"""


async def truncations(times: int = 200) -> None:
    """How often a truncation at a random moment kills a client that calls at once, or after a pause."""
    async with simulated_cluster(1) as cluster:
        for name, pause in (("without a pause", 0.0), ("10 ms apart", 0.01), ("100 ms apart", 0.1)):
            outcomes = {"MessageError": 0, "Library": 0, "SIGBUS": 0}
            while sum(outcomes.values()) < times:
                await _truncate_until_dead(cluster, pause, outcomes, times)
            print(f"truncated at random, calls {name}: {outcomes}")


async def _truncate_until_dead(
    cluster: SimulatedCluster, pause: float, outcomes: dict[str, int], times: int
) -> None:
    argv = [sys.executable, "-c", VICTIM, cluster.address(1), str(pause)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await trio.lowlevel.open_process(argv, stdout=subprocess.PIPE, env=environment)
    assert process.stdout
    said = b""
    try:
        while sum(outcomes.values()) < times:
            while b"ready\n" not in said:
                if not (more := await process.stdout.receive_some()):
                    outcomes["SIGBUS"] += await process.wait() == -signal.SIGBUS
                    return
                said += more
                for outcome in ("MessageError", "Library"):
                    outcomes[outcome] += more.decode().split().count(outcome)
            said = b""
            await trio.sleep(random.uniform(0.01, 0.03 + pause))
            for path in Path("/dev/shm").glob(f"qb-{os.getpid()}-{process.pid}-*/*"):
                with contextlib.suppress(OSError):
                    os.truncate(path, 0)
    finally:
        process.kill()
        await process.wait()
        await process.stdout.aclose()


FIGURES = (until_library, deadlines, watcher, checks, calls, event_limit, unread_ring, truncations)


def main() -> None:
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    leftovers.reap()
    chosen = sys.argv[1:]
    for figure in FIGURES:
        if not chosen or figure.__name__ in chosen:
            trio.run(figure)


if __name__ == "__main__":
    main()
