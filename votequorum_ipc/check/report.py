"""Everything about one configuration: `check` runs the search and asks the questions, `Report` is the answer.

Strategy: the search looks for everything at once, from a cluster that is down, without a bound on faults. If
that does not end in time, it starts again from a cluster that is completely up, fewest faults first, until
the time is up again; a verdict then says within how many faults it holds. Every story is replayed in the
model before it is reported.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from ..cluster import ClusterConfig, ConfigurationError, Rules, TieBreaker, effective_rules
from ..cluster.config import PROVIDER
from .devices import DeviceKind, DeviceModel
from .expansion import LookAfter, LookAtChange
from .failures import Failure, Failures
from .partitions import Partitions
from .properties import BUILT_IN, Property, Situations, looks_at_changes_alone, two_are_quorate
from .search import Bounds, Found, Look, Progress, Search, Stopped
from .states import State, Symmetry
from .story import Story, depends_on_who_speaks_first, disagreement, story_of
from .successors import Reach, Successors
from .words import and_others, rules_in_words, switched_off


class Reachability(enum.StrEnum):
    """Whether something can happen, according to the search."""

    CANNOT_HAPPEN = "cannot happen"
    HAPPENS = "happens"
    NOT_WITHIN = "not found"
    UNSETTLED = "not settled"


@dataclass(frozen=True)
class Verdict:
    """The result for one property.

    The first of the `stories` shows it; others are for comparison. If nothing was found, `not_looked_at` says
    what the search left out; it is empty for CANNOT_HAPPEN.
    """

    name: str
    meaning: str
    outcome: Reachability
    text: str
    is_bad: bool
    stories: tuple[Story, ...] = ()
    not_looked_at: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """The outcome in a word or two: of what is no fault, whether it is so."""
        return str(self.outcome) if self.is_bad else _ANSWERS.get(self.outcome, str(self.outcome))


_ANSWERS = {Reachability.CANNOT_HAPPEN: "no", Reachability.HAPPENS: "yes"}


@dataclass(frozen=True)
class Effort:
    """What was examined. `faults` is the bound within which the search is complete; None means no bound."""

    states: int
    changes: int
    seconds: float
    stopped: Stopped
    faults: int | None
    reach: Reach
    windows_in_order: bool
    symmetry: bool


@dataclass(frozen=True)
class Report:
    """The whole answer. `exit_code` is that of the command."""

    config: ClusterConfig
    rules: Rules
    device: DeviceKind | None
    in_words: tuple[str, ...]
    ignored: tuple[str, ...]
    failures: tuple[Failure, ...]
    fatal_sets: tuple[Failure, ...]
    cold_start: tuple[tuple[int, ...], ...]
    verdicts: tuple[Verdict, ...]
    effort: Effort
    bounded: bool = False
    """Whether a bound on faults was requested."""

    @property
    def bad(self) -> tuple[Verdict, ...]:
        """The verdicts on bad things that can happen."""
        return tuple(one for one in self.verdicts if one.is_bad and one.outcome is Reachability.HAPPENS)

    @property
    def exit_code(self) -> int:
        """0: nothing bad is reachable. 2: something is. 3: not settled within the bounds.

        Where a bound on faults was asked for, 0 means that nothing was found within it.
        """
        return self.exit_code_accepting(())

    def exit_code_accepting(self, names: Collection[str]) -> int:
        """The exit code if the properties with these names do not count."""
        verdicts = [one for one in self.verdicts if one.is_bad and one.name not in names]
        if any(one.outcome is Reachability.HAPPENS for one in verdicts):
            return 2
        left_open = (
            {Reachability.UNSETTLED} if self.bounded else {Reachability.UNSETTLED, Reachability.NOT_WITHIN}
        )
        return 3 if any(one.outcome in left_open for one in verdicts) else 0


class SearchDisagreesError(AssertionError):
    """The search and its model disagree: a defect of this program that should be reported."""


ReportProgress = Callable[[Progress], None]

ONE_FAILURE: Final = "one failure ends it"
COLD_START: Final = "cold start"
MEMORY: Final = "memory"

NAMES: Final = (*(one.name for one in BUILT_IN), ONE_FAILURE, COLD_START, MEMORY)
"""The properties that a report has a verdict on, besides those of the caller."""

_DEEPEST: Final = 8
"""The number of faults after which a bounded search does not try one more."""


def check(
    config: ClusterConfig,
    *,
    device: DeviceKind | None = None,
    bounds: Bounds | None = None,
    properties: Iterable[Property] = (),
    operator: bool = False,
    processes: int = 1,
    progress: ReportProgress | None = None,
) -> Report:
    """Check a configuration. Raises `ConfigurationError` as `rules_to_check` does.

    `device` is how a quorum device votes, where one is configured; `exclusive` if nothing is said.
    `properties` are looked for besides the built-in ones. `operator` lets an operator set expected votes and
    cancel wait_for_all at any time. With `processes` above 1 that many more are forked to share the work of a
    large search. They end with it, and the answer is the same. `KeyboardInterrupt` ends the search: the
    report has what is known so far.
    """
    checked = Checked(config, device, operator=operator, processes=processes)
    wanted = (*BUILT_IN, *properties)
    search, faults = checked.search(wanted, bounds or Bounds(), progress)
    failures = Failures(checked.successors())
    fatal = tuple(failures.fatal_sets())
    cut_off = failures.cut_off()
    cold = tuple(failures.cold_start())
    verdicts = [checked.verdict(one, search, faults, bounds) for one in wanted]
    verdicts += _from_failures(config, failures, fatal, cut_off, cold)
    return Report(
        config=config,
        rules=effective_rules(config),
        device=checked.device_kind,
        in_words=tuple(rules_in_words(config)),
        ignored=tuple(switched_off(config)),
        failures=(*failures.table(most=2), *cut_off),
        fatal_sets=fatal,
        cold_start=cold,
        verdicts=tuple(verdicts),
        effort=Effort(
            states=search.seen,
            changes=search.changes,
            seconds=search.seconds,
            stopped=search.stopped,
            faults=faults,
            reach=search.successors.reach,
            windows_in_order=search.successors.windows_in_order,
            symmetry=not search.successors.symmetry.is_trivial,
        ),
        bounded=bounds is not None and bounds.faults is not None,
    )


def rules_to_check(config: ClusterConfig) -> Rules:
    """The rules in force. Raises `ConfigurationError` if there is no votequorum, or it would not start."""
    if not config.provider:
        raise ConfigurationError(
            "quorum.provider is not set, so there is no votequorum, and every node is always quorate; "
            f"set provider: {PROVIDER}"
        )
    return effective_rules(config)


class Checked:
    """A configuration under check, and how a device votes in it."""

    def __init__(
        self,
        config: ClusterConfig,
        device: DeviceKind | None = None,
        *,
        operator: bool = False,
        processes: int = 1,
        off: bool = False,
    ) -> None:
        """`off` searches without symmetry and without reducing states: for tests."""
        self.config = config
        rules = rules_to_check(config)
        self.device_kind = (device or DeviceKind.EXCLUSIVE) if rules.has_device else None
        # an operator has quorum worked out between two rings, where a tie breaker looks back
        self._off = off or (operator and rules.tie_breaker is not TieBreaker.NONE)
        self.partitions = Partitions(config, reduced=not self._off)
        self._operator = operator
        self._processes = processes
        self._situations = Situations(self.partitions)

    def successors(self) -> Successors:
        """The events of this configuration."""
        device = None if self.device_kind is None else DeviceModel(self.device_kind, self.config.nodeids)
        apart = device.apart if device else ()
        symmetry = Symmetry(self.partitions, apart=apart, operator=self._operator, off=self._off)
        return Successors(self.partitions, symmetry, device, operator=self._operator)

    def search(
        self, properties: Iterable[Property], bounds: Bounds, progress: ReportProgress | None = None
    ) -> tuple[Search, int | None]:
        """The deepest search that the bounds allow, and the faults within which it is complete.

        None stands for any number of faults where the search is settled, and for none where it is not.
        """
        wanted = tuple(properties)
        search = self._run(wanted, bounds, progress)
        if search.is_settled or search.stopped is Stopped.INTERRUPTED or bounds.faults is not None:
            return search, search.settled_faults
        bounded = self._run(wanted, replace(bounds, faults=_DEEPEST), progress)
        if bounded.settled_faults is None and not bounded.is_settled:
            return search, None
        for name, found in search.found.items():
            bounded.found.setdefault(name, found)
        bounded.earlier = search
        return bounded, bounded.settled_faults

    def _run(self, wanted: tuple[Property, ...], bounds: Bounds, progress: ReportProgress | None) -> Search:
        successors = self.successors()
        search = Search(
            successors,
            bounds,
            self._processes,
            looks={one.name: self._look(one) for one in wanted if one.look is not looks_at_changes_alone},
            change_looks={one.name: look for one in wanted if (look := self._look_at_change(one))},
            is_end=self._situations.is_split,
        )
        return search.run(self._starts(successors, bounds), progress)

    def _starts(self, successors: Successors, bounds: Bounds) -> list[State]:
        return [State(())] if bounds.faults is None else [Failures(successors).whole()]

    def _look(self, one: Property) -> Look:
        if one.look is two_are_quorate:
            is_split = self._situations.is_split
            return lambda state: one.look(self._situations.of(state)) if is_split(state) else None
        return lambda state: one.look(self._situations.of(state))

    def _look_at_change(self, one: Property) -> LookAtChange | None:
        look = one.look_at_change
        if look is None:
            return None
        situations = self._situations.of
        if one.concerns is not None:
            return self._situations.remembered(look, one.concerns)

        def look_from(before: State) -> LookAfter:
            return lambda after: look(situations(before), situations(after))

        return look_from

    def verdict(self, one: Property, search: Search, faults: int | None, bounds: Bounds | None) -> Verdict:
        """What a search says about a property."""
        found = search.found.get(one.name)
        if found is not None:
            return self._happens(one, search, found)
        left_out = _not_looked_at(search, faults)
        asked = bounds is not None and bounds.faults is not None
        outcome, text = _absent(search, faults, exact=not left_out, asked=asked)
        return Verdict(one.name, one.meaning, outcome, text, one.is_bad, not_looked_at=left_out)

    def _happens(self, one: Property, search: Search, found: Found) -> Verdict:
        where = search if search.knows(found) else search.earlier
        assert where is not None
        story = story_of(self.partitions, where.story(found))
        if why := disagreement(self.config, story):
            raise SearchDisagreesError(f"{one.name}: {why}; please report this with your configuration")
        detail = found.detail
        if depends_on_who_speaks_first(self.config, story):
            detail += "; it depends on which member of a new ring speaks first"
        return Verdict(one.name, one.meaning, Reachability.HAPPENS, detail, one.is_bad, (story,))


def _not_looked_at(search: Search, faults: int | None) -> tuple[str, ...]:
    left_out = search.successors.not_looked_at(faults)
    return (*left_out, "what follows a split brain") if search.ends else left_out


def _absent(search: Search, faults: int | None, *, exact: bool, asked: bool) -> tuple[Reachability, str]:
    if search.stopped is Stopped.COMPLETE and exact:
        return Reachability.CANNOT_HAPPEN, f"all {search.seen} states were looked at"
    if search.stopped is Stopped.COMPLETE:
        return Reachability.NOT_WITHIN, f"not in the {search.seen} states that were looked at"
    if faults is not None:
        outcome = Reachability.NOT_WITHIN if asked else Reachability.UNSETTLED
        return outcome, f"not within {faults} fault{'s' if faults > 1 else ''} ({search.seen} states)"
    return Reachability.UNSETTLED, f"{search.stopped} after {search.seen} states"


def _from_failures(
    config: ClusterConfig,
    failures: Failures,
    fatal: tuple[Failure, ...],
    cut_off: list[Failure],
    cold: tuple[tuple[int, ...], ...],
) -> Iterator[Verdict]:
    single = [one for one in (*fatal, *cut_off) if one.is_fatal and one.size == 1]
    meaning = "one node or the device fails, or one node is cut off, and no node is quorate"
    if len(config.nodes) > 1:
        name = ONE_FAILURE
        if single:
            text = f"{', '.join(map(str, single))}: any of these alone" if len(single) > 1 else str(single[0])
            yield Verdict(name, meaning, Reachability.HAPPENS, text, True, (single[0].story,))
        else:
            yield Verdict(name, meaning, Reachability.CANNOT_HAPPEN, "every single failure was tried", True)
    yield _cold_start(config, cold, failures)
    yield _memory(failures)


def _cold_start(config: ClusterConfig, cold: tuple[tuple[int, ...], ...], failures: Failures) -> Verdict:
    name, meaning = COLD_START, "after a power cut, fewer than all nodes can start the cluster"
    if failures.is_limited and not cold:
        text = "there are too many sets of nodes to try; no one or two are enough"
        return Verdict(name, meaning, Reachability.UNSETTLED, text, False)
    if not cold:
        return Verdict(
            name, "nodes that can start after a power cut", Reachability.CANNOT_HAPPEN, "none can", True
        )
    least = "; ".join(f"{_ids(nodeids)}{and_others(failures.alike(nodeids))}" for nodeids in cold[:4])
    if cold == (tuple(sorted(config.nodeids)),):
        text = "all nodes are needed: one that stays down keeps the others from quorum"
        return Verdict(name, meaning, Reachability.CANNOT_HAPPEN, text, False)
    return Verdict(name, meaning, Reachability.HAPPENS, f"the smallest sets that can: {least}", False)


def _memory(failures: Failures) -> Verdict:
    name, meaning = MEMORY, "the same failures end differently in another order or at another pace"
    stories = failures.memory()
    if stories is None:
        left_out = failures.orders_not_tried
        outcome = Reachability.NOT_WITHIN if left_out else Reachability.CANNOT_HAPPEN
        tried = (
            "no order was tried"
            if failures.has_too_many_orders
            else "up to three nodes were tried in every order"
        )
        return Verdict(name, meaning, outcome, tried, False, not_looked_at=left_out)
    one, other = (sorted(story[-1].quorate) for story in stories)
    text = f"quorate in the end: {_ids(one)} if they fail at once, {_ids(other)} if one by one"
    return Verdict(name, meaning, Reachability.HAPPENS, text, False, stories)


def _ids(nodeids: Iterable[int]) -> str:
    return " ".join(map(str, nodeids)) or "no node"
