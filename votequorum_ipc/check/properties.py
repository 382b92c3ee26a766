"""What may be wrong with a state, or with a change from one state to the next.

A `Property` has a name, a one-line meaning and a function. You can make your own:

    def lonely(situation):
        for partition in situation.partitions:
            if partition.quorate and len(partition.members) == 1:
                return f"node {partition.members[0]} works alone"

    check(config, properties=[Property("lonely", "a node works alone", lonely)])

The function is called once for each state and returns what is wrong, in words, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..cluster import ClusterConfig, Rules
from .partitions import Partition, Partitions
from .states import State


@dataclass(frozen=True)
class Situation:
    """A state for a property to examine. `down` has the nodes that are not up."""

    config: ClusterConfig
    rules: Rules
    partitions: tuple[Partition, ...]
    down: tuple[int, ...]
    timers_run: bool
    device_works: bool

    @property
    def is_whole(self) -> bool:
        """All nodes are up, see each other, and time has passed."""
        return not self.down and len(self.partitions) == 1 and not self.timers_run


@dataclass(frozen=True)
class Property:
    """Something that may go wrong. With `is_bad` False it is worth knowing, but not a fault of the
    configuration.

    `concerns` names the partitions that `look_at_change` looks at. With it, an answer is good for all changes
    in which these partitions are the same.
    """

    name: str
    meaning: str
    look: Callable[[Situation], str | None]
    look_at_change: Callable[[Situation, Situation], str | None] | None = None
    is_bad: bool = True
    concerns: Callable[[Situation, Partition], bool] | None = None


class Situations:
    """Makes a `Situation` of a state, and knows what can be told from the partitions' numbers alone."""

    def __init__(self, partitions: Partitions) -> None:
        self._partitions = partitions
        self._nodeids = sorted(partitions.config.nodeids)
        self._last: tuple[State, Situation] | None = None
        self._quorate: dict[int, bool] = {}

    def is_split(self, state: State) -> bool:
        """Whether two partitions are quorate: what `two_are_quorate` puts into words."""
        quorate, found = self._quorate, 0
        for number in state.parts:
            if number not in quorate:
                quorate[number] = bool(self._partitions.timed[number].partition.quorate)
            found += quorate[number]
        return found > 1

    def remembered(
        self,
        look: Callable[[Situation, Situation], str | None],
        concerns: Callable[[Situation, Partition], bool],
    ) -> Callable[[State], Callable[[State], str | None]]:
        """A look at changes that asks once for each two sets of partitions that it concerns."""
        concerned: dict[int, bool] = {}
        answers: dict[tuple[tuple[int, ...], tuple[int, ...]], str | None] = {}
        timed = self._partitions.timed

        def telling(state: State) -> tuple[int, ...]:
            for number in state.parts:
                if number not in concerned:
                    concerned[number] = concerns(self.of(state), timed[number].partition)
            return tuple([number for number in state.parts if concerned[number]])

        def look_from(before: State) -> Callable[[State], str | None]:
            told_before = telling(before)

            def look_after(after: State) -> str | None:
                key = (told_before, telling(after))
                if key not in answers:
                    answers[key] = look(self.of(before), self.of(after))
                return answers[key]

            return look_after

        return look_from

    def of(self, state: State) -> Situation:
        """What a state means. The last answer is kept, as several properties look at one state in turn."""
        if self._last is None or self._last[0] is not state:
            self._last = state, self._made_of(state)
        return self._last[1]

    def _made_of(self, state: State) -> Situation:
        there = tuple(self._partitions.of(state.parts))
        up = {nodeid for partition in there for nodeid in partition.members}
        down = tuple([nodeid for nodeid in self._nodeids if nodeid not in up])
        return Situation(
            self._partitions.config,
            self._partitions.rules,
            there,
            down,
            any(self._partitions.timed[number].timers for number in state.parts),
            state.device_works,
        )


def two_are_quorate(situation: Situation) -> str | None:
    """Split brain."""
    quorate = [partition for partition in situation.partitions if partition.quorate]
    if len(quorate) < 2:
        return None
    sides = " and ".join(f"{{{_ids(partition.quorate)}}}" for partition in quorate)
    apart = [
        f"of {{{_ids(partition.members)}}} only {_ids(partition.quorate)}"
        for partition in quorate
        if partition.quorate != partition.members
    ]
    return f"{sides} are quorate at the same time" + (f"; {'; '.join(apart)}" if apart else "")


def whole_but_not_quorate(situation: Situation) -> str | None:
    """Stuck."""
    if not situation.is_whole:
        return None
    partition = situation.partitions[0]
    without = [nodeid for nodeid in partition.members if nodeid not in partition.quorate]
    if not without or not situation.device_works:
        return None
    waits = " (they wait for all nodes)" if partition.waiting_for_all else ""
    return f"all nodes are up and connected, and {_ids(without)} of them not quorate{waits}"


def majority_loses_quorum(before: Situation, after: Situation) -> str | None:
    """Flapping."""
    for partition in after.partitions:
        if not _is_majority(after, partition):
            continue
        lost = [nodeid for nodeid in _had_majority(before) if nodeid in _not_quorate(partition)]
        if lost:
            return (
                f"{_ids(lost)} lose quorum in a partition of {_ids(partition.members)}, which is a majority"
            )
    return None


def _had_majority(situation: Situation) -> Iterator[int]:
    for partition in situation.partitions:
        if partition.quorate and _is_majority(situation, partition):
            yield from partition.quorate


def _not_quorate(partition: Partition) -> set[int]:
    return set(partition.members).difference(partition.quorate)


def _is_majority(situation: Situation, partition: Partition) -> bool:
    votes = {node.nodeid: node.votes for node in situation.config.nodes}
    present = sum(votes[nodeid] for nodeid in partition.members)
    device = situation.rules.device_votes or 0
    return 2 * present > sum(votes.values()) + device


def _ids(nodeids: list[int] | tuple[int, ...]) -> str:
    return " ".join(map(str, nodeids))


def looks_at_changes_alone(_situation: Situation) -> str | None:
    """In place of `Property.look` where no single state can be wrong."""
    return None


SPLIT_BRAIN = Property("split brain", "two partitions are quorate at the same time", two_are_quorate)
STUCK = Property(
    "stuck",
    "all nodes are up and connected, time has passed, and the cluster is not quorate",
    whole_but_not_quorate,
)
FLAPPING = Property(
    "flapping",
    "nodes with a majority before and after a change lose quorum by it",
    looks_at_changes_alone,
    majority_loses_quorum,
    concerns=_is_majority,
)

BUILT_IN = (SPLIT_BRAIN, STUCK, FLAPPING)
"""Those that a search looks for; the others are worked out from failures, in `failures`."""
