"""Runs a target against the clock, keeps its corpus, and stores failures.

Strategy: rounds of one hypothesis run each, every round with a seed of its own, until the time is up or the
cases are done. Examples that hypothesis found worth keeping stay in a directory, so the next run begins
there. hypothesis shrinks a failure, then the failure is checked again a few times and stored. A target whose
session can learn goes on behind its failures; others stop at the first. In a guided run the edges that a
daemon takes choose the cases (`edges`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from .clock import HANGING, Deadline
from .edges import Guide
from .failures import Repetition, case_file, left_behind, opened, repeat, store, under_way, words_of
from .target import Session, Target

ROUND: Final = 100
"""Cases a round: few enough to look at the clock often, enough to be worth hypothesis's start."""

ROUND_OF_MACHINE: Final = 20
"""The same for a state machine, a case of which is many steps."""

SHRINKING: Final = 120.0
"""Seconds to spend on making a failure smaller. Where a case costs a daemon, that is some forty attempts."""

STEPS: Final = 20
"""Steps of a state machine in a case, at most."""

_PHASES: Final = (Phase.reuse, Phase.generate, Phase.shrink)

_QUIET: Final = settings(
    deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False, print_blob=False
)

_CUT_SHORT: Final = "The run's time ended before this case was made smaller or checked again."


class NotCounting(Exception):
    """A run cannot be guided, because nothing counts edges. The text says what to do."""


@dataclass
class Report:
    """What a run did."""

    target: str
    cases: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    """Names, for `replay`."""
    summary: str = ""
    """What the session measured, where it measures anything."""
    interrupted: bool = False
    """Whether somebody ended it before its time."""

    @property
    def rate(self) -> float:
        """Cases a second."""
        return self.cases / self.seconds if self.seconds else 0.0


class _Run:
    """One target, run for a while."""

    def __init__(
        self,
        target: Target,
        deadline: Deadline,
        most_cases: int | None,
        directory: Path,
        progress: Callable[[Report], None],
        guided: bool,
    ) -> None:
        self.target = target
        self.guided = guided
        self.deadline = deadline
        self.most_cases = most_cases
        self.directory = directory
        self.progress = progress
        self.report = Report(target.name)
        self.failing: tuple[Any, Exception] | None = None
        """What failed and is not stored yet: at the end of a round, the shrunk case."""
        self._failed: dict[str, Exception] = {}
        self._shrink_until = 0.0
        self._start = time.monotonic()
        self._database = DirectoryBasedExampleDatabase(directory / target.name / "examples")
        self.case_file = case_file(target, directory)
        self.case_file.parent.mkdir(parents=True, exist_ok=True)

    @property
    def over(self) -> bool:
        """Whether the run's time is up, or its cases are done."""
        done = self.most_cases is not None and self.report.cases >= self.most_cases
        return done or self.deadline.over

    def go(self, session: Session, seeds: random.Random) -> None:
        """Rounds to the end, or to the first failure of a session that does not learn."""
        guide = self._guide(session, seeds.getrandbits(32)) if self.guided else None
        try:
            while not self.over:
                if self._round_fails(session, seeds.getrandbits(32), guide):
                    self._record(session)
                    if not hasattr(session, "learn"):
                        break
                self.progress(self.report)
        finally:
            self.report.summary = getattr(session, "summary", str)()

    def _guide(self, session: Session, seed_: int) -> Guide:
        edges = getattr(session, "edges", None)
        if edges is not None:
            edges.take()
        if edges is None or not edges.reached:
            raise NotCounting(
                f"the program under {self.target.name} does not count its edges; "
                "build a corosync with tools/sanitized-corosync and name it in COROSYNC"
            )
        return Guide(edges, self.directory / self.target.name / "guided", seed_)

    def _round_fails(self, session: Session, seed_: int, guide: Guide | None) -> bool:
        try:
            self._round(session, seed_, guide)
        except Exception:
            if self.failing is None:
                raise
            return True
        return False

    def _round(self, session: Session, seed_: int, guide: Guide | None) -> None:
        self.failing = None
        self._failed.clear()
        examples = ROUND if self.target.machine is None else ROUND_OF_MACHINE
        how = settings(_QUIET, max_examples=examples, database=self._database, phases=_PHASES)
        if self.target.machine is not None:
            self._round_of_machine(session, seed_, how)
            return
        unknown_part = getattr(session, "unknown_part", lambda case: case)

        @seed(seed_)
        @settings(how)
        @given(self.target.cases)
        def property_holds(case: Any) -> None:
            if self._failed or not self.over:
                self._check(session, unknown_part(case))

        if guide is None:
            property_holds()
            return
        try_out: Any = property_holds  # hypothesis adds the attribute, and no type for it
        for _ in range(ROUND):
            if self.over:
                break
            guide.step(try_out.hypothesis.fuzz_one_input)

    def _round_of_machine(self, session: Session, seed_: int, how: settings) -> None:
        assert self.target.machine is not None
        cases: list[Any] = []

        def ended(case: Any) -> None:
            cases[:] = [case]
            self._count()
            self.progress(self.report)

        try:
            run_machine(self.target.machine(session, ended), how, seed_)
        except Exception as error:
            # hypothesis ends with the shrunk case.
            self.failing = cases[0], error
            raise

    def _check(self, session: Session, case: Any) -> None:
        key = repr(case)
        if self._failed:
            # Shrinking: what has failed stays failed, even where a race would let it pass, and there is an
            # end.
            if key in self._failed:
                self.failing = case, self._failed[key]
                raise self._failed[key]
            if time.monotonic() > self._shrink_until:
                return
        self._count()
        try:
            with under_way(self.case_file, case), self.deadline.case(HANGING):
                session.check(case)
        except Exception as error:
            if not self._failed:
                self._shrink_until = min(time.monotonic() + SHRINKING, self.deadline.until)
            self._failed[key] = error
            self.failing = case, error
            raise
        self.progress(self.report)

    def _count(self) -> None:
        self.report.cases += 1
        self.report.seconds = time.monotonic() - self._start

    def _record(self, session: Session) -> None:
        """Let the session learn from what failed, see how often it repeats, and store it."""
        assert self.failing is not None
        case, error = self.failing
        words = ""
        if learn := getattr(session, "learn", None):
            case, words = learn(case, self.deadline.until)
            self.failing = case, error
        repetition = repeat(session, case, self.deadline)
        self._store(case, f"{words}\n{words_of(error)}", repetition)

    def _store(self, case: Any, words: str, repetition: Repetition) -> None:
        self.report.failures.append(store(self.target.name, case, words, repetition, self.directory))
        self.failing = None

    def end(self) -> Report:
        """Store what is left when the time is up. Gives the report."""
        if self.failing:
            case, error = self.failing
            self._store(case, f"{_CUT_SHORT}\n{words_of(error)}", Repetition(1, 1))
        self.report.seconds = time.monotonic() - self._start
        return self.report


def fuzz(
    target: Target,
    *,
    minutes: float,
    directory: Path,
    cases: int | None = None,
    first_seed: int | None = None,
    progress: Callable[[Report], None] = lambda report: None,
    guided: bool = False,
) -> Report:
    """Run a target for that many minutes, or until it has checked that many cases.

    With `guided`, cases that reach something new are stored and changed. Raises `NotCounting` where nothing
    counts what a case reaches.

    The report names the failures, which are stored in `directory`. An interrupt from the keyboard ends the
    run with a report, too.
    """
    deadline = Deadline(minutes * 60)
    run = _Run(target, deadline, cases, directory, progress, guided)
    run.report.failures += left_behind(target, directory)
    with deadline.enforced():
        try:
            with opened(target, directory) as session:
                run.go(session, random.Random(first_seed))
        except KeyboardInterrupt:
            run.report.interrupted = True
        except BaseException:
            # An alarm in the middle of other code may end as any exception.
            if not deadline.rang:
                raise
    return run.end()


def run_examples(target: Target, session: Session, examples: int, seed_: int, *, shrink: bool = True) -> None:
    """A fixed number of cases, without a corpus: for tests. Raises what fails, shrunk."""
    phases = _PHASES if shrink else (Phase.generate,)
    how = settings(_QUIET, max_examples=examples, database=None, phases=phases)
    if target.machine is not None:
        run_machine(target.machine(session, lambda case: None), how, seed_)
        return
    unknown_part = getattr(session, "unknown_part", lambda case: case)

    @seed(seed_)
    @settings(how)
    @given(target.cases)
    def property_holds(case: Any) -> None:
        session.check(unknown_part(case))

    property_holds()


def run_machine(machine: type[RuleBasedStateMachine], how: settings, seed_: int) -> None:
    """Run a state machine. Raises what fails, shrunk."""
    seed(seed_)(machine)
    run_state_machine_as_test(machine, settings=settings(how, stateful_step_count=STEPS))
