"""Rounds of faults on a real cluster, with checks after each round.

A round applies a few random faults, lets the cluster heal, and waits until all nodes agree again. Then each
client releases everything and reports what it still holds, and the clients' histories are compared with the
daemons' logs. The random choices come from a seed, which the report prints; the timing does not.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.real.cluster import Cluster, cluster, three_nodes
from tests.real.config import Config, Device
from tests.real.daemon import Daemon
from tests.real.host import ROOT
from tests.real.waiting import DeadlineError, eventually

from .history import Log, Run, gap
from .report import Report

DEVICE_NODE = 1
MEMORY_MARGIN = 16 * 1024
"""Kilobytes that a client may have grown by the end, compared with its second round."""

TOKEN = 2000
"""Milliseconds. With the 800 of other tests, nodes on an overloaded machine may not agree for minutes."""

NOTHING_LEFT = "dead daemons that left nothing"
SOMETHING_LEFT = "dead daemons that left something"
ENOUGH_DEAD = 10
"""Fewer prove nothing: on a busy machine a daemon often takes longer to die than clients wait."""

AGREED_WITHIN = 120.0
CHECKED_WITHIN = 60.0


class Client:
    """A client process on a node's host."""

    def __init__(self, node: Daemon, directory: Path, number: int) -> None:
        self.name = f"node {node.nodeid}, client {number} ({'asyncio' if number % 2 else 'trio'})"
        self._output = directory / f"client-{node.nodeid}-{number}.json"
        self._errors = directory / f"client-{node.nodeid}-{number}.err"
        self._read = 0
        self.checks: list[dict[str, Any]] = []
        argv = [sys.executable, "-m", "tests.soak.client"]
        if node.nodeid == DEVICE_NODE:
            argv.append("device")
        if number % 2:
            argv.append("asyncio")
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                node.host.command(argv),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"},
            )

    def reports(self) -> Iterator[dict[str, Any]]:
        """Its new reports."""
        with self._output.open("rb") as output:
            output.seek(self._read)
            new = output.read()
        complete = new[: new.rfind(b"\n") + 1]
        self._read += len(complete)
        for line in complete.splitlines():
            said = json.loads(line)
            if said["kind"] == "check":
                self.checks.append(said)
            yield said

    def order_check(self) -> None:
        assert self.process.stdin
        self.process.stdin.write(b"check\n")
        self.process.stdin.flush()

    def errors(self) -> str:
        """Its stderr, which should be empty."""
        return self._errors.read_text().strip()

    def kill(self) -> None:
        """SIGKILL; what it has not reported is lost."""
        self.process.kill()
        self.end()

    def end(self) -> None:
        """Close its input, which ends it, and wait."""
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(CHECKED_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Soak:
    """A cluster, its clients, and the results."""

    def __init__(self, nodes: Cluster, directory: Path, report: Report) -> None:
        self.cluster = nodes
        self.report = report
        self._directory = directory
        self._chance = random.Random(report.seed)
        self._logs = {node.nodeid: Log(node.log) for node in nodes}
        self._pids = {node.nodeid: [node.pid] for node in nodes}
        self._clients: dict[int, Client] = {}
        self._pending: list[tuple[int, dict[str, Any]]] = []
        self._started = 0
        self._client_was_killed = False
        for node in nodes:
            self._start_client(node)

    # --- rounds ---

    def round(self) -> None:
        """Faults, healing, checks."""
        self._client_was_killed = False
        weights = {
            self._cut: 3,
            self._isolate: 3,
            self._flap: 2,
            self._freeze: 3,
            self._kill: 2,
            self._stop: 1,
            self._kill_client: 1,
        }
        for fault in self._chance.choices([*weights], [*weights.values()], k=self._chance.randrange(2, 5)):
            fault()
            self._pause(0.1, 2.5)
            self._take_reports()
        self._heal()
        self._check()
        self.report.rounds += 1

    def end(self) -> None:
        """Let the clients end, and check their last reports."""
        for client in self._clients.values():
            client.end()
        self._take_reports()
        for client in self._clients.values():
            self._judge_check(client)
        self._judge_histories()
        checked = self.report.checked
        dead = checked[SOMETHING_LEFT] + checked[NOTHING_LEFT]
        if dead >= ENOUGH_DEAD and checked[SOMETHING_LEFT] > checked[NOTHING_LEFT]:
            self._violated("clients do not remove what dead daemons leave")

    def _pause(self, least: float, most: float) -> None:
        time.sleep(self._chance.uniform(least, most))

    def _violated(self, text: str) -> None:
        self.report.violations.append(f"round {self.report.rounds + 1}: {text}")

    # --- faults ---

    def _count(self, fault: str) -> None:
        self.report.faults[fault] += 1

    def _any_node(self) -> Daemon:
        return self.cluster[self._chance.choice([1, 2, 3])]

    def _cut(self) -> None:
        self._count("partitions")
        one, two, three = self._chance.sample([1, 2, 3], 3)
        self.cluster.partition(*self._chance.choice([[[one], [two, three]], [[one], [two], [three]]]))

    def _isolate(self) -> None:
        self._count("links taken down")
        self.cluster.isolate(self._any_node().nodeid)

    def _flap(self) -> None:
        self._count("links flapping five times")
        node = self._any_node().nodeid
        for _ in range(5):
            self.cluster.isolate(node)
            self._pause(0.05, 0.5)
            self.cluster.heal()
            self._pause(0.05, 0.5)

    def _freeze(self) -> None:
        node = self._any_node()
        if node.alive:
            self._count("daemons frozen for up to 4 s")
            with node.frozen():
                self._pause(0.05, 4)

    def _kill(self) -> None:
        node = self._any_node()
        if node.alive:
            self._count("daemons killed")
            node.kill()

    def _stop(self) -> None:
        node = self._any_node()
        if node.alive:
            self._count("daemons stopped")
            node.stop()

    def _kill_client(self) -> None:
        self._count("clients killed")
        node = self._any_node()
        self._take_reports()
        self._clients[node.nodeid].kill()
        self._client_was_killed = True
        self._start_client(node)

    def _start_client(self, node: Daemon) -> None:
        self._started += 1
        self._clients[node.nodeid] = Client(node, self._directory, self._started)

    # --- healing ---

    def _heal(self) -> None:
        stopped = [node for node in self.cluster if not node.alive]
        self._check_leftovers()
        self.cluster.heal()
        for node in stopped:
            node.start()
            self._pids[node.nodeid].append(node.pid)
        eventually(self._agreed, within=AGREED_WITHIN, otherwise=self.cluster.describe)

    def _agreed(self) -> bool:
        """Whether all nodes are in one membership. (`Cluster.agreed` needs equal votes; one node has a
        device.)
        """
        statuses = [node.status() if node.answers() else None for node in self.cluster]
        rings = {status.ring_id if status else None for status in statuses}
        return len(rings) == 1 and all(status and status.members == (1, 2, 3) for status in statuses)

    def _check_leftovers(self) -> None:
        """Count the dead daemons that left something, unless a client of theirs may have been killed.

        A leftover is possible: a client gives up, as libqb's does, when a dying daemon's process still exists
        after 30 ms, and it knows of no files before its connection is made. But it is the exception.
        """
        for node in self.cluster:
            pid = self._pids[node.nodeid][-1]
            if node.alive or self._client_was_killed:
                continue
            with contextlib.suppress(DeadlineError):
                eventually(lambda: not list(Path("/dev/shm").glob(f"qb-{pid}-*")), within=5)  # noqa: B023
            left = list(Path("/dev/shm").glob(f"qb-{pid}-*"))
            self.report.checked[SOMETHING_LEFT if left else NOTHING_LEFT] += 1

    # --- checks ---

    def _check(self) -> None:
        clients = self._clients.values()
        expected = {client: len(client.checks) + 1 for client in clients}
        for client in clients:
            client.order_check()

        def checked() -> bool:
            self._take_reports()
            return all(len(client.checks) >= count for client, count in expected.items())

        try:
            eventually(checked, within=CHECKED_WITHIN)
        except DeadlineError:
            late = [client for client in clients if len(client.checks) < expected[client]]
            for client in late:
                client.process.send_signal(signal.SIGUSR1)  # makes it print where it is
            self._violated(f"not checked in time: {[client.name for client in late]}")
        for client in clients:
            self._judge_check(client)
        self._judge_histories()

    def _judge_check(self, client: Client) -> None:
        if errors := client.errors():
            self._violated(f"{client.name} wrote: {errors}")
        if not client.checks:
            return
        first, last = client.checks[0], client.checks[-1]
        for what in ("descriptors", "mappings", "tasks"):
            if last[what] > first[what]:
                self._violated(f"{client.name} holds {last[what]} {what}, at first {first[what]}")
        if not last["files_gone"]:
            self._violated(f"{client.name} left files in /dev/shm")
        sizes = [check["kilobytes"] for check in client.checks]
        self.report.memory[client.name] = sizes
        if len(sizes) > 1 and sizes[-1] > sizes[1] + MEMORY_MARGIN:
            self._violated(f"{client.name} grew to {sizes[-1]} KiB, from {sizes[1]}")
        self.report.checked["checks of what clients hold"] += 1

    def _take_reports(self) -> None:
        for nodeid, client in self._clients.items():
            for said in client.reports():
                self._take(nodeid, client, said)

    def _take(self, nodeid: int, client: Client, said: dict[str, Any]) -> None:
        match said["kind"]:
            case "violation":
                self._violated(f"{client.name}: {said['text']}")
            case "history" | "watched" | "too few":
                self._pending.append((nodeid, said))
            case "check":
                self.report.counts.update(said["counts"])
                self.report.slowest = max(self.report.slowest, said["slowest"])

    def _judge_histories(self) -> None:
        for log in self._logs.values():
            log.update()
        for nodeid, said in self._pending:
            judges = {
                "history": self._judge_tracked,
                "watched": self._judge_watched,
                "too few": self._judge_too_few,
            }
            if reason := judges[said["kind"]](nodeid, said):
                self._violated(f"node {nodeid}: {reason}")
        self._pending.clear()

    def _judge_tracked(self, nodeid: int, said: dict[str, Any]) -> str | None:
        if len(said["events"]) < 2:
            return None  # lost before the current state was reported
        run = self._run(nodeid, said)
        self.report.checked["histories"] += 1
        self.report.checked["events in histories"] += len(said["events"])
        return _misfit(run, said["events"], said)

    def _run(self, nodeid: int, said: dict[str, Any]) -> Run:
        return self._logs[nodeid].runs[self._pids[nodeid].index(said["pid"])]

    def _judge_too_few(self, nodeid: int, said: dict[str, Any]) -> str | None:
        if self._run(nodeid, said).synchronises(said["since"], said["until"]):
            return None
        return f"quorate with too few votes, and no synchronisation was under way: {said}"

    def _judge_watched(self, nodeid: int, said: dict[str, Any]) -> str | None:
        connected, *events = said["events"]
        quorate = connected[2]
        for turn in [event for event in events if event[0] == "turn"]:
            if turn[1] == quorate:
                return f"reported twice that quorate is {quorate}: {said}"
            quorate = turn[1]
        nodelists = [["nodelist", connected[1]], *[event for event in events if event[0] == "nodelist"]]
        reasons = []
        for run in self._logs[nodeid].runs:
            reason = _gap_in_nodelists(run, nodelists, said)
            if reason is None:
                self.report.checked["watched histories"] += 1
                return None
            reasons.append(reason)
        return f"watched: {reasons}"


def _misfit(run: Run, events: list[list[Any]], said: dict[str, Any]) -> str | None:
    quorum = [event for event in events if event[0] == "quorum"]
    nodelists = [event for event in events if event[0] == "nodelist"]
    lost = said["ended"] != "closed"
    reason = gap(quorum, run.quorum, said["until"], lost=lost) if quorum else None
    return reason or _gap_in_nodelists(run, nodelists, said)


def _gap_in_nodelists(run: Run, nodelists: list[list[Any]], said: dict[str, Any]) -> str | None:
    return gap(nodelists, run.nodelists, said["until"], lost=said["ended"] != "closed", told_early=True)


def soak(report: Report, directory: Path) -> None:
    """Soak a new cluster until the report's time is over; the report gets all results."""
    # Without expected_votes corosync 3.1.7 does not count the device. A node that then starts again alone is
    # quorate with it: 2 votes of 3.
    config = Config(
        nodes=three_nodes(),
        quorum={"expected_votes": 4},
        device=Device(timeout=4000, sync_timeout=4000),
        totem={"token": TOKEN},
    )
    with cluster(config, directory, transports={2: "socket"}) as nodes:
        report.began = time.monotonic()
        run = Soak(nodes, directory, report)
        try:
            while report.elapsed < report.minutes * 60:
                run.round()
        except (AssertionError, OSError) as error:
            report.violations.append(f"round {report.rounds + 1} ended with {error!r}")
        finally:
            run.end()
