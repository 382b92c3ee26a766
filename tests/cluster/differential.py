"""One scenario in the model and in corosync-vqsim, and where they differ.

vqsim's commands as inputs of the model, and where vqsim is not corosync:

up P:N      the network puts N into partition P, then N starts. Nodes start one at a time: vqsim sends one
            synchronisation per node, and several at once would overlap.
down N      `kill`: a node of vqsim never leaves cleanly.
split, join `partition`; and as vqsim then gives every partition a new ring, `reform` where the members stay
            the same.
qdevice on  a `QdeviceRegister` if the node has none, then polls at half the device's timeout; the first
            one after a whole timeout. vqsim polls with the ring of its last decision. After a failed poll it
            stops until `qdevice off`. So a device never survives a new ring, and its node waits for the whole
            sync timeout.
qdevice off one poll without the vote, then silence.
both        end with a synchronisation on the current ring, which real corosync never does.

In corosync 3.1.7 expected votes tracking stores nothing (it writes to a closed file), so here a node forgets
it when it starts.

The final state of each step is compared: quorate and members of every node. A report that comes during the
next step, but is about the ring before, belongs to the previous step.

vqsim has no barrier: a node decides on a new ring before it has heard the others, and again as it hears them,
in an order that depends on the scheduler. In a few scenarios with wait_for_all, two_node or a tie breaker
this changes the final state: the node judges its own message, sent while it was quorate, as that of a quorate
node. So where vqsim and the model disagree, `WithoutBarrier` runs the same nodes in vqsim's way. The scenario
passes if some order of events explains vqsim's reports at every step. Such scenarios are counted separately.
`on_real` plays scenarios of this kind on real clusters: all 28 agree with the model.
"""

from __future__ import annotations

import copy
import enum
import random
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Generic, TypeVar

from votequorum_ipc.cli.vqsim_process import PARTITIONS, Stuck, Vqsim
from votequorum_ipc.cluster import (
    Cluster,
    Conn,
    Outputs,
    QdevicePoll,
    QdeviceRegister,
    Request,
    Response,
    ServiceKind,
)
from votequorum_ipc.errors import CsErrorCode

from .scenarios import (
    DEVICE_SYNC_TIMEOUT,
    DEVICE_TIMEOUT,
    WINDOW,
    Down,
    Join,
    Qdevice,
    Scenario,
    Split,
    Step,
    Up,
    Wait,
)
from .without_barrier import WithoutBarrier

DEVICE_NAME = "VQsim_qdevice"
_MARGIN = 1.5
"""Real time waits this many times as long as a timer."""

View = dict[int, tuple[bool, frozenset[int]]]
"""Quorate and members of each node that is up."""


class TooSlow(Exception):
    """The machine was too slow for the scenario's timers: the run proves nothing."""


@dataclass
class _Device:
    """vqsim's device of one node: `started` until it is switched off, `polling` until a poll fails."""

    conn: Conn
    started: bool = False
    polling: bool = False


AnyCluster = TypeVar("AnyCluster", bound=Cluster)


@dataclass
class ModelRun(Generic[AnyCluster]):
    """A scenario in the model, with the devices that are built into vqsim."""

    cluster: AnyCluster
    where: dict[int, int] = field(default_factory=dict)
    devices: dict[int, _Device] = field(default_factory=dict)

    def view(self) -> View:
        """The current report of every node."""
        return {
            nodeid: (node.quorate, frozenset(node.quorum.view)) for nodeid, node in self.cluster.nodes.items()
        }

    def step(self, step: Step) -> None:
        """Take one step, until no membership change waits for a device."""
        match step:
            case Up(nodeid, partition):
                self.where[nodeid] = partition
                self.cluster.disks[nodeid].tracked_expected_votes = 0
                self._lay_network()
                self.cluster.up(nodeid)
            case Down(nodeid):
                del self.where[nodeid]
                self.devices.pop(nodeid, None)
                self.cluster.kill(nodeid)
            case Split(nodeids, partition):
                self._move(dict.fromkeys(nodeids, partition))
            case Join(target, source):
                self._move({nodeid: target for nodeid, at in self.where.items() if at == source})
            case Qdevice(nodeid, on):
                self._qdevice(nodeid, on)
            case Wait():
                self.cluster.advance(WINDOW * _MARGIN / 1000)
        self._finish_synchronising()

    def _move(self, moved: dict[int, int]) -> None:
        self.where.update(moved)
        rings = {nodeid: node.ring_id for nodeid, node in self.cluster.nodes.items()}
        self._lay_network()
        unchanged = [nodeid for nodeid, node in self.cluster.nodes.items() if node.ring_id == rings[nodeid]]
        self.cluster.reform(*unchanged)

    def _lay_network(self) -> None:
        groups: dict[int, list[int]] = {}
        for nodeid, partition in self.where.items():
            groups.setdefault(partition, []).append(nodeid)
        self.cluster.partition(*groups.values())

    def _qdevice(self, nodeid: int, on: bool) -> None:
        device = self.devices.get(nodeid)
        if on and device is None:
            device = self.devices[nodeid] = _Device(self.cluster.connect(nodeid, ServiceKind.VOTEQUORUM))
            self._ask(device, QdeviceRegister(DEVICE_NAME))
        if device is not None and not on:
            device.started = device.polling = False
            self._poll(nodeid, device, cast_vote=False)
        self.cluster.resynchronise()
        self._finish_synchronising()
        if device is not None and on and not device.started:
            device.started = device.polling = True
        self._pass_time(DEVICE_TIMEOUT)

    def _finish_synchronising(self) -> None:
        if any(self.cluster.is_synchronising(nodeid) for nodeid in self.cluster.nodes):
            self._pass_time(DEVICE_SYNC_TIMEOUT)

    def _pass_time(self, milliseconds: int) -> None:
        for _ in range(0, milliseconds, DEVICE_TIMEOUT // 2):
            self.cluster.advance(DEVICE_TIMEOUT / 2 / 1000)
            for nodeid, device in self.devices.items():
                if device.polling:
                    device.polling = self._poll(nodeid, device, cast_vote=True)

    def _poll(self, nodeid: int, device: _Device, *, cast_vote: bool) -> bool:
        decided = self.cluster.node(nodeid).quorum.ring_id
        return self._ask(device, QdevicePoll(DEVICE_NAME, cast_vote, decided)) is CsErrorCode.OK

    def _ask(self, device: _Device, request: Request) -> CsErrorCode:
        return answer(self.cluster.request(device.conn, request)).error


def answer(outputs: Outputs) -> Response:
    """The one response among outputs."""
    (response,) = [output for _, output in outputs if isinstance(output, Response)]
    return response


@dataclass
class VqsimRun:
    """The same scenario in vqsim."""

    vqsim: Vqsim
    is_timed: bool
    _quiet_since: float = field(default_factory=time.monotonic)

    def step(self, step: Step) -> None:
        """Take one step, until every node has decided."""
        match step:
            case Up(nodeid, partition):
                self.vqsim.up(nodeid, partition)
            case Down(nodeid):
                self.vqsim.down(nodeid)
            case Split(nodeids, partition):
                self.vqsim.move(partition, *nodeids)
            case Join(target, source):
                self.vqsim.join(target, source)
            case Qdevice(nodeid, on):
                self.vqsim.qdevice(nodeid, on)
                self.vqsim.read_for(DEVICE_TIMEOUT * _MARGIN / 1000)
            case Wait():
                self._check_pace()
                self.vqsim.read_for(WINDOW * _MARGIN / 1000)
                self._quiet_since = time.monotonic()
        self._check_pace()

    def _check_pace(self) -> None:
        """In the model, steps without a wait take no time: here they must stay well inside the window."""
        if self.is_timed and time.monotonic() - self._quiet_since > WINDOW * 0.8 / 1000:
            raise TooSlow

    def view(self) -> View:
        """The last report of every node."""
        return {nodeid: (report.quorate, report.members) for nodeid, report in self.vqsim.last.items()}


class Verdict(enum.Enum):
    """The result of a scenario."""

    AGREES = "agree"
    AGREES_WITHOUT_BARRIER = "agree in an order that only vqsim, without a barrier, allows"
    DIFFERS = "differ"


@dataclass(frozen=True)
class Outcome:
    """A verdict; for a difference also the whole story."""

    verdict: Verdict
    story: str = ""


def compare(scenario: Scenario, attempts: int = 4) -> Outcome:
    """Run a scenario on both sides.

    vqsim runs in real time: a run that was too slow for its timers proves nothing and is repeated, and a
    difference counts only if it appears again.
    """
    expected = model_views(scenario)
    outcome = Outcome(Verdict.DIFFERS, f"{scenario}: every attempt was too slow for the timers")
    for _ in range(attempts):
        try:
            outcome = _judge(scenario, expected)
        except TooSlow:
            continue
        except Stuck as stuck:
            outcome = Outcome(Verdict.DIFFERS, f"stuck in {scenario}\n{stuck}")
        if outcome.verdict is not Verdict.DIFFERS:
            break
    return outcome


def model_views(scenario: Scenario) -> list[View]:
    """The report of every node of the model after each step."""
    run = ModelRun(Cluster(scenario.config))
    views = []
    for step in scenario.steps:
        run.step(step)
        views.append(run.view())
    return views


def _judge(scenario: Scenario, expected: list[View]) -> Outcome:
    with Vqsim(scenario.config) as vqsim:
        seen = vqsim_views(scenario, vqsim, expected)
    if seen == expected:
        return Outcome(Verdict.AGREES)
    explained = 0
    for effort in _EFFORTS:
        explained = _explained(scenario, seen, *effort)
        if explained == len(seen):
            return Outcome(Verdict.AGREES_WITHOUT_BARRIER)
    return Outcome(Verdict.DIFFERS, _story(scenario, vqsim, seen, expected, explained))


_EFFORTS = ((20, 6), (40, 30))
"""Orders to try for a step and a state, and states to keep after a step; the second effort takes seconds."""


def _explained(scenario: Scenario, seen: list[View], orders: int, kept: int) -> int:
    """The number of vqsim's steps that some order of its nodes explains, each continuing the one before."""
    chance = random.Random(0)
    states = [ModelRun(WithoutBarrier(scenario.config))]
    for number, step in enumerate(scenario.steps):
        found: dict[str, ModelRun[WithoutBarrier]] = {}
        for state, _ in product(states, range(orders)):
            run = copy.deepcopy(state)
            run.cluster.order = partial(_any_order, chance)
            run.step(step)
            if run.view() == seen[number]:
                found.setdefault(run.cluster.fingerprint(), run)
        states = list(found.values())[:kept]
        if not states:
            return number
    return len(seen)


def _any_order(chance: random.Random, nodeids: list[int]) -> list[list[int]]:
    chance.shuffle(nodeids)
    groups: list[list[int]] = [[]]
    together = chance.random()
    for nodeid in nodeids:
        if groups[-1] and chance.random() > together:
            groups.append([])
        groups[-1].append(nodeid)
    return groups


def vqsim_views(scenario: Scenario, vqsim: Vqsim, expected: list[View]) -> list[View]:
    """The report of every node of vqsim after each step. `expected` only saves waiting."""
    run = VqsimRun(vqsim, scenario.config.last_man_standing)
    views: list[View] = []
    for number, step in enumerate(scenario.steps):
        known = len(vqsim.reports)
        rings = {nodeid: report.ring_seq for nodeid, report in vqsim.last.items()}
        run.step(step)
        if views:
            _correct(views[-1], vqsim, rings, known)
        wanted = expected[number]
        vqsim.read_until(lambda: run.view() == wanted)  # noqa: B023 - called before the next round
        views.append(run.view())
    known = len(vqsim.reports)
    rings = {nodeid: report.ring_seq for nodeid, report in vqsim.last.items()}
    vqsim.join(PARTITIONS - 1, PARTITIONS - 2)
    _correct(views[-1], vqsim, rings, known)
    return views


def _correct(view: View, vqsim: Vqsim, rings: dict[int, int], known: int) -> None:
    """Accept late reports: those after the `known` ones that are still about the previous ring."""
    for report in vqsim.reports[known:]:
        nodeid = report.nodeid
        if nodeid in vqsim.where and rings.get(nodeid) == report.ring_seq != vqsim.ring_seq(nodeid):
            view[nodeid] = (report.quorate, report.members)


def _story(scenario: Scenario, vqsim: Vqsim, seen: list[View], expected: list[View], explained: int) -> str:
    lines = [str(scenario.config)]
    for number, step in enumerate(scenario.steps):
        lines.append(f"  {number + 1}. {step}")
        if seen[number] != expected[number]:
            lines += [f"     corosync {dict(sorted(seen[number].items()))}"]
            lines += [f"     model    {dict(sorted(expected[number].items()))}"]
        if number == explained:
            lines.append("     and no order of vqsim's nodes explains this step")
    return "\n".join([*lines, *vqsim.log])
