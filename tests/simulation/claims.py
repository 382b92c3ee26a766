"""What must hold of each answer, judged at the instant when the program gets it.

A view or a status that has a state ("the daemon" runs on its node at that instant):

1. It is one fact. At some moment after the query and within `patience`, the daemon was up and did not hang,
   and the model knew exactly this: provider, quorum, ring, members, and every figure.
2. It is the present fact: quorum, ring and members are those of this instant. Exceptions: the daemon hangs,
   or events that it has sent have found no room yet. A daemon that is down has no status.
3. Its state is what its status says about quorum. Without a provider it has a state only if the program
   accepts that.

The changes in the views of one watcher, from one view to the next:

4. Memberships and quorum are what the node has announced between the two facts: all of it, in order, once. In
   an UNKNOWN view, and before a loss, they are the beginning of that. A view that drops changes has the end
   of it.
5. Expected votes include every announced value, in order.
6. The changes lead from one status to the next: applied in order to the figures of the first, they give those
   of the second. Each of them changes something.
7. `Connected` and `Lost` alternate.

Queries to a daemon that is down or hangs:

8. UNKNOWN comes within `patience`, or twice that if an announcement was awaited; and `current()` always takes
   at most `patience`. Time that the clock jumped over does not count.
9. When the world has come to rest, the state is known, and `async for` has reported it.

Devices:

10. A vote that the daemon accepts comes from the last decision of its device. It is for the ring of that
    decision, and within the time that the decision had, unless the daemon hung.
11. A vote counts only as long as documented after the start of the device's last decision for yes: the time
    to answer, `timeout`, `sync_timeout` for each ring since, and the time that the daemon hung.
12. When a device has withdrawn, its node has no device registered, or `left_behind` says so, or the daemon is
    gone. This includes a device that a reload excludes while it registers again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from votequorum_ipc.cluster.messages import NodeFlags, QdevicePoll
from votequorum_ipc.qdevice import View
from votequorum_ipc.types import (
    DEVICE_FLAGS,
    Change,
    ClusterStatus,
    Connected,
    DeviceChanged,
    ExpectedVotesChanged,
    ExpectedVotesNotification,
    InfoFlags,
    Lost,
    MembershipChanged,
    NodeInfo,
    NodeVotesChanged,
    QuorumChanged,
    QuorumNodelistNotification,
    QuorumState,
    QuorumType,
    QuorumV1Notification,
    QuorumView,
    RingId,
    VotesChanged,
)

from .plan import Kind, Program
from .world import Announced, Fact, Life, Question, World

SLACK: Final = 0.5
"""Seconds that a program may take beyond its `patience`: pauses between attempts, and closing connections."""

_MAX_UINT32: Final = 2**32 - 1

Told = MembershipChanged | QuorumChanged


def derived(events: Sequence[Announced], quorate: bool) -> list[Told]:
    """The changes that follow from announcements, if quorum was `quorate` before."""
    changes: list[Told] = []
    for event in events:
        if isinstance(event, QuorumNodelistNotification):
            changes.append(MembershipChanged(event.ring_id, event.members, event.joined, event.left))
        elif isinstance(event, QuorumV1Notification) and event.quorate != quorate:
            quorate = event.quorate
            changes.append(QuorumChanged(quorate))
    return changes


def _told(changes: Sequence[Change]) -> list[Told]:
    return [change for change in changes if isinstance(change, MembershipChanged | QuorumChanged)]


def _quorate_at(life: Life, position: int) -> bool:
    for event in reversed(life.events[:position]):
        if isinstance(event, QuorumV1Notification):
            return event.quorate
    return False


class StatusClaims:
    """Claims 1 to 3, for a program that queries one node."""

    def __init__(self, world: World, program: Program) -> None:
        self.world = world
        self.node = program.node
        self.name = program.name
        self.program = program
        self.judged = 0

    def violate(self, text: str) -> None:
        self.world.violate(f"{self.name} on node {self.node}: {text}")

    def judge_status(
        self, status: ClusterStatus, question: Question, patience: float = math.inf, *, present: bool = True
    ) -> list[Fact]:
        """The facts that the status may be; `present` requires it to agree with the last one."""
        self.judged += 1
        world = self.world
        life = world.lives[self.node]
        if present and life.ended:
            self.violate("a status although the daemon is down")
            return []
        lives = [life] if present or question.life in (life, None) else [question.life, life]
        facts = [
            fact for each in lives for fact in each.facts_since(question, patience) if fact.is_told_by(status)
        ]
        if not facts:
            self.violate(
                f"the node has never known this since the query: {_difference(status, life.facts[-1])}"
            )
        elif present and world.is_clear(self.node) and not life.facts[-1].announces(status):
            self.violate(f"no longer so: {_difference(status, life.facts[-1])}")
        return facts


def _difference(status: ClusterStatus, fact: Fact) -> str:
    """The differences between a status and a fact, in short."""
    told = (status.quorate, status.ring_id, tuple(member.node_id for member in status.members))
    known = (fact.quorate, fact.ring_id, fact.members)
    texts = [f"{told} is not {known}"] if told != known else []
    if status.info != fact.own:
        texts.append(f"{status.info} is not {fact.own}")
    for member in status.members:
        if member.info != fact.infos.get(member.node_id):
            texts.append(f"{member.info} is not {fact.infos.get(member.node_id)}")
    return "; ".join(texts) or "it agrees with the present fact"


@dataclass(slots=True)
class _Figures:
    """The sum of a watcher's changes."""

    expected_votes: int
    info: NodeInfo
    votes: dict[int, int] = field(default_factory=dict)
    devices: dict[int, InfoFlags] = field(default_factory=dict)
    partial: bool = False
    """Whether dropped changes may have been about nodes that are no longer members."""

    def apply(self, change: Change) -> bool:
        """Whether the change is a real one."""
        match change:
            case ExpectedVotesChanged(votes):
                new, self.expected_votes = self.expected_votes != votes, votes
            case VotesChanged(info):
                new, self.info = _own_figures(self.info) != _own_figures(info), info
            case NodeVotesChanged(node, votes):
                new, self.votes[node] = self.votes.get(node) != votes, votes
            case DeviceChanged(node, _, flags):
                known = node in self.devices or not self.partial
                new = not known or self.devices.get(node, InfoFlags(0)) != flags
                self.devices[node] = flags
            case _:
                new = True
        return new

    def missing(self, status: ClusterStatus) -> str:
        """What differs in a status; empty if nothing does."""
        assert status.info is not None
        if status.info.node_expected_votes != self.expected_votes:
            return f"expected votes, {self.expected_votes} to {status.info.node_expected_votes}"
        if _own_figures(status.info) != _own_figures(self.info):
            return f"{_own_figures(self.info)} to {_own_figures(status.info)}"
        for member in status.members:
            if member.info is not None and (member.node_id in self.votes or not self.partial):
                if member.info.node_votes != self.votes.get(member.node_id):
                    return f"the votes of node {member.node_id}"
                if member.info.flags & DEVICE_FLAGS != self.devices.get(member.node_id, InfoFlags(0)):
                    return f"the device of node {member.node_id}"
        return ""

    @classmethod
    def of(cls, status: ClusterStatus) -> _Figures:
        assert status.info is not None
        figures = cls(status.info.node_expected_votes, status.info)
        figures.meet(status)
        return figures

    def meet(self, status: ClusterStatus) -> None:
        for member in status.members:
            if member.info is not None:
                self.votes[member.node_id] = member.info.node_votes
                self.devices[member.node_id] = member.info.flags & DEVICE_FLAGS


def _own_figures(info: NodeInfo) -> tuple[int, int, int, InfoFlags]:
    flags = info.flags & ~(DEVICE_FLAGS | InfoFlags.QUORATE)
    return info.total_votes, info.highest_expected, info.quorum, flags


class WatchClaims(StatusClaims):
    """Claims 1 to 9, for one watcher."""

    def __init__(self, world: World, program: Program) -> None:
        super().__init__(world, program)
        self._was_unknown = False
        """Whether the last view was UNKNOWN."""
        self._connected: bool | None = None
        self._life: Life | None = None
        self._positions: set[int] = set()
        """How many of its life's events the watcher may have reported."""
        self._figures: _Figures | None = None
        self._expected: list[int] = []
        """Expected votes reported since `_expected_from`; everything before that was reported."""
        self._expected_from: int | None = None

    def judge(self, view: QuorumView, question: Question) -> None:
        """Judge a view at the instant when it is returned."""
        jumped = self.world.jumped - question.jumped
        facts: list[Fact] = []
        if view.status is None:
            self.judged += 1
            self._judge_unknown(view, question.at, jumped)
            self._was_unknown = True
        else:
            self._was_unknown = False
            facts = self.judge_status(view.status, question, self.program.patience + jumped + SLACK)
            self._judge_state(view, view.status)
        if self.program.kind is Kind.SAMPLE:
            taken = self.world.now - question.at - jumped
            if taken > self.program.patience + SLACK:
                self.violate(f"current() took {taken:.3f} s")
        self._judge_changes(view, facts, question)

    def _judge_state(self, view: QuorumView, status: ClusterStatus) -> None:
        expected = QuorumState.QUORATE if status.quorate else QuorumState.NOT_QUORATE
        if view.state is not expected:
            self.violate(f"{view.state} with a status that says {expected}")
        if self.program.require_provider and status.quorum_type is QuorumType.FREE:
            self.violate(f"{view.state} without a provider")

    def _judge_unknown(self, view: QuorumView, asked_at: float, jumped: float) -> None:
        if view.state is not QuorumState.UNKNOWN or view.error is None:
            self.violate(f"{view.state} without a status, error {view.error!r}")
        world, patience = self.world, self.program.patience
        gone = self.node in world.hangs or not world.is_up(self.node)
        waited = world.now - max(asked_at, world.gone_at[self.node]) - jumped
        # After an UNKNOWN view another one may come at any time, to report changes.
        if gone and not self._was_unknown and waited > 2 * patience + SLACK:
            self.violate(f"UNKNOWN only {waited:.3f} s after the daemon was gone")

    # --- changes ---

    def _judge_changes(self, view: QuorumView, facts: list[Fact], question: Question) -> None:
        gathered: list[Change] = []
        fresh = False
        for change in view.changes:
            if isinstance(change, Lost):
                self._judge_end(gathered, bool(view.dropped))
                gathered = []
            elif isinstance(change, Connected):
                if self._connected or gathered:
                    self.violate(f"Connected again after {gathered}")
                self._connected = fresh = True
            else:
                gathered.append(change)
        if self._connected:
            self._judge_run(view, gathered, facts, fresh, question)

    def _judge_end(self, gathered: list[Change], dropped: bool) -> None:
        if self._connected is False:
            self.violate("Lost twice")
        if self._connected and self._life is not None:
            told = _told(gathered)
            if not any(_begins(self._all_after(position), told, dropped) for position in self._positions):
                self.violate(f"changes before the loss were not announced: {_short(told)}")
        self._connected, self._life, self._figures, self._expected_from = False, None, None, None
        self._positions = set()

    def _all_after(self, position: int, until: int | None = None) -> list[Told]:
        assert self._life is not None
        return derived(self._life.events[position:until], _quorate_at(self._life, position))

    def _judge_run(
        self, view: QuorumView, gathered: list[Change], facts: list[Fact], fresh: bool, question: Question
    ) -> None:
        world = self.world
        if fresh or self._life is None:
            if gathered:
                self.violate(f"changes before the first state: {gathered}")
            self._life = world.lives[self.node]
            if view.status is None:  # without a provider
                facts = self._life.facts_since(question)
            self._positions = {fact.position for fact in facts}
        else:
            self._advance(view, _told(gathered), facts)
        if view.status is not None and view.status.info is not None:
            self._judge_figures(view, view.status, gathered, fresh)
        elif self._figures is not None:
            for change in gathered:
                self._figures.apply(change)
        self._judge_expected(view, gathered, fresh)

    def _advance(self, view: QuorumView, told: list[Told], facts: list[Fact]) -> None:
        """Find how many events the watcher has reported, and check that they are enough."""
        assert self._life is not None
        count = len(self._life.events)
        ends = range(count + 1) if view.status is None else sorted({fact.position for fact in facts})
        if view.status is not None and self.world.is_clear(self.node):
            ends = [end for end in ends if end == count]
        reached = {
            end
            for position in self._positions
            for end in ends
            if end >= position and _is_all(self._all_after(position, end), told, view.dropped)
        }
        if not reached and self.world.violation is None:
            announced = self._all_after(min(self._positions)) if self._positions else []
            self.violate(f"reported {_short(told)}, but {_short(announced)} was announced")
        self._positions = reached

    def _judge_figures(
        self, view: QuorumView, status: ClusterStatus, gathered: list[Change], fresh: bool
    ) -> None:
        if self._figures is None or fresh or view.dropped:
            self._figures = _Figures.of(status)
            self._figures.partial = bool(view.dropped)
            return
        for change in gathered:
            if not self._figures.apply(change):
                self.violate(f"changes nothing: {change}")
        if missing := self._figures.missing(status):
            self.violate(f"the changes do not include {missing}")
        self._figures.meet(status)

    def _judge_expected(self, view: QuorumView, gathered: list[Change], fresh: bool) -> None:
        self._expected += [
            change.expected_votes for change in gathered if isinstance(change, ExpectedVotesChanged)
        ]
        if fresh or view.dropped:
            self._expected_from = None
        if view.status is None or view.status.info is None or not self.world.is_clear(self.node):
            return
        assert self._life is not None
        if self._expected_from is not None:
            events = self._life.events[self._expected_from :]
            announced = [
                event.expected_votes & _MAX_UINT32
                for event in events
                if isinstance(event, ExpectedVotesNotification)
            ]
            if not _passes_through(self._expected, announced):
                self.violate(f"expected votes were {announced}, but reported as {self._expected}")
        self._expected = [view.status.info.node_expected_votes]
        self._expected_from = len(self._life.events)


def _passes_through(told: Sequence[int], announced: Sequence[int]) -> bool:
    """Whether each announced value is the last reported one or is reported later, in this order."""
    at = 0
    for value in announced:
        while at < len(told) and told[at] != value:
            at += 1
    return at < len(told)


def _begins(announced: list[Told], told: list[Told], dropped: bool) -> bool:
    if dropped:
        return any(announced[at : at + len(told)] == told for at in range(len(announced) + 1))
    return announced[: len(told)] == told


def _is_all(announced: list[Told], told: list[Told], dropped: int) -> bool:
    if dropped:
        missing = len(announced) - len(told)
        return 0 <= missing <= dropped and announced[missing:] == told
    return announced == told


def _short(changes: Sequence[Told]) -> str:
    texts = [
        f"ring {change.ring_id}" if isinstance(change, MembershipChanged) else f"quorate {change.quorate}"
        for change in changes
    ]
    if len(texts) > 12:
        texts = [*texts[:6], f"... {len(texts) - 12} more ...", *texts[-6:]]
    return "[" + ", ".join(texts) + "]"


# --- devices ---


_LEFT_BY_A_DEVICE: Final = (
    NodeFlags.QDEVICE_REGISTERED | NodeFlags.QDEVICE_CAST_VOTE | NodeFlags.QDEVICE_MASTER_WINS
)


@dataclass(slots=True)
class Decision:
    """A decision of a device."""

    ring_id: RingId
    began: float
    deadline: float
    answer: bool | None = None
    """None until the device has answered."""
    hung_for: float = 0.0


class DeviceClaims:
    """Claims 10 to 12, for the device of one node."""

    def __init__(self, world: World, node: int) -> None:
        self.world = world
        self.node = node
        self.judged = 0
        self._decisions: list[Decision] = []
        self._backed_until = 0.0
        self._backed_rings = 0
        self._backed_hung = 0.0
        self._backed_jumped = 0.0
        self._was_backed = False
        world.on_poll[node] = self._judge_poll
        world.on_change.append(self._judge_vote)

    def violate(self, text: str) -> None:
        self.world.violate(f"device on node {self.node}: {text}")

    def decide(self, view: View) -> Decision:
        """Record the start of a decision."""
        decision = Decision(view.ring_id, self.world.now, view.deadline, None, self.world.hung_for[self.node])
        self._decisions = [*self._decisions[-20:], decision]
        return decision

    def says_yes(self, decision: Decision) -> None:
        """Record that a decision found at its start that the device may vote."""
        device = self.world.config.device
        timeouts = (device.timeout, device.sync_timeout) if device else (10_000, 30_000)
        # The device may answer within what is left of one timeout, at most the longer one; then a poll counts
        # for another.
        self._backed_until = decision.began + (max(timeouts) + timeouts[0]) / 1000 + SLACK
        self._backed_rings = self.world.rings[self.node]
        self._backed_hung = self.world.hung_for[self.node]
        self._backed_jumped = self.world.jumped
        self._was_backed = True

    def _judge_poll(self, poll: QdevicePoll) -> None:
        self.judged += 1
        answered = [decision for decision in self._decisions if decision.answer is not None]
        if not answered:
            self.violate("votes without a decision")
            return
        last = answered[-1]
        late = self.world.now - last.deadline - (self.world.hung_for[self.node] - last.hung_for)
        if not last.answer:
            self.violate("votes although its decision said no")
        elif last.ring_id != poll.ring_id:
            self.violate(f"votes for ring {poll.ring_id} from a decision about {last.ring_id}")
        elif late > SLACK + self.world.jumped:
            self.violate(f"votes {late:.3f} s later than its decision allows")

    def _judge_vote(self) -> None:
        world = self.world
        if not world.is_up(self.node):
            return
        if NodeFlags.QDEVICE_CAST_VOTE not in world.model.node(self.node).votequorum.db.us.flags:
            return
        if not self._was_backed:
            self.violate("has a vote, but no decision ever said yes")
        hung = world.hung_for[self.node] - self._backed_hung
        if self.node in world.hangs:
            hung += world.now - world.gone_at[self.node]
        rings = world.rings[self.node] - self._backed_rings
        hung += world.jumped - self._backed_jumped  # the daemon notices its timeouts afterwards
        until = self._backed_until + hung + rings * world.sync_timeout
        if world.now > until:
            self.violate(f"still has a vote {world.now - until:.3f} s after the last documented moment")

    def holds_something(self) -> NodeFlags:
        """The flags that the node holds for a device, if the node is up and does not hang."""
        world = self.world
        if not world.is_up(self.node) or self.node in world.hangs:
            return NodeFlags(0)
        return world.model.node(self.node).votequorum.db.us.flags & _LEFT_BY_A_DEVICE

    def judge_end(self, left_behind: Sequence[str]) -> None:
        """The device has withdrawn, or was refused when it registered again."""
        if not left_behind and (left := self.holds_something()):
            self.violate(f"has ended without reporting that it left {left!r}")
