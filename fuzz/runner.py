"""Runs a target against the clock, keeps its corpus, stores failures and replays them.

Strategy: rounds of one hypothesis run each, every round with a seed of its own, until the time is up. What
hypothesis found worth keeping stays in a directory, so the next run begins there. A failure is shrunk by
hypothesis and written as a small Python file that says what went wrong and holds the case; its name is all
that a replay needs. A target whose session can learn goes on behind its failures, others stop.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import runpy
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from .target import Session, Target

ROUND: Final = 100
"""Cases a round: few enough to look at the clock often, enough to be worth hypothesis's start."""

ROUND_OF_MACHINE: Final = 20
"""The same for a state machine, a case of which is many steps."""

HANGING: Final = 60.0
"""Seconds after which a case counts as failed because it does not end."""

SHRINKING: Final = 120.0
"""Seconds to spend on making a failure smaller. Where a case costs a daemon, that is some forty attempts."""

_PHASES: Final = (Phase.reuse, Phase.generate, Phase.shrink)


class Hangs(AssertionError):
    """A case did not end."""


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise Hangs(f"not done after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


STEPS: Final = 20
"""Steps of a state machine in a case, at most."""

_QUIET: Final = settings(
    deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False, print_blob=False
)


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

    @property
    def rate(self) -> float:
        """Cases a second."""
        return self.cases / self.seconds if self.seconds else 0.0


class _Run:
    """One target, run for a while."""

    def __init__(self, target: Target, directory: Path, progress: Callable[[Report], None]) -> None:
        self.target = target
        self.directory = directory
        self.progress = progress
        self.report = Report(target.name)
        self.failing: tuple[Any, BaseException] | None = None
        self._failed: dict[str, Exception] = {}
        self._shrink_until = 0.0
        self._start = time.monotonic()
        self._database = DirectoryBasedExampleDatabase(directory / target.name / "examples")

    def round(self, session: Session, seed_: int, examples: int, until: float) -> None:
        """One hypothesis run. What failed last, which is the shrunk case, is in `failing`."""
        self.failing = None
        self._failed.clear()
        how = settings(_QUIET, max_examples=examples, database=self._database, phases=_PHASES)
        if self.target.machine is not None:
            self._round_of_machine(session, seed_, how)
            return

        @seed(seed_)
        @settings(how)
        @given(self.target.cases)
        def property_holds(case: Any) -> None:
            if self.failing is None and time.monotonic() > until:
                return
            self._check(session, case)

        property_holds()

    def _round_of_machine(self, session: Session, seed_: int, how: settings) -> None:
        assert self.target.machine is not None
        cases: list[Any] = []

        def ended(case: Any) -> None:
            cases[:] = [case]
            self.report.cases += 1
            self.report.seconds = time.monotonic() - self._start
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
            # Shrinking: what has failed stays failed, however the wind blows, and there is an end to it.
            if key in self._failed:
                self.failing = case, self._failed[key]
                raise self._failed[key]
            if time.monotonic() > self._shrink_until:
                return
        self.report.cases += 1
        self.report.seconds = time.monotonic() - self._start
        try:
            with _alarm(HANGING):
                session.check(case)
        except Exception as error:
            if not self._failed:
                self._shrink_until = time.monotonic() + SHRINKING
            self._failed[key] = error
            self.failing = case, error
            raise
        self.progress(self.report)


def fuzz(
    target: Target,
    *,
    minutes: float,
    directory: Path,
    first_seed: int | None = None,
    progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Run a target for so many minutes. The report names the failures, which are stored in `directory`."""
    run = _Run(target, directory, progress)
    seeds = random.Random(first_seed)
    until = time.monotonic() + minutes * 60
    with target.session() as session:
        while time.monotonic() < until:
            examples = ROUND if target.machine is None else ROUND_OF_MACHINE
            if _failed(run, session, seeds.getrandbits(32), examples, until):
                case, error = run.failing or (None, AssertionError("not reproduced"))
                learn = getattr(session, "learn", None)
                case, words = learn(case) if learn and case is not None else (case, "")
                run.report.failures.append(store(target.name, case, error, directory, words))
                if not words:
                    break
            progress(run.report)
        summary = getattr(session, "summary", None)
        run.report.summary = summary() if summary else ""
    return run.report


def _failed(run: _Run, session: Session, seed_: int, examples: int, until: float) -> bool:
    try:
        run.round(session, seed_, examples, until)
    except Exception:
        if run.failing is None:
            raise
        return True
    return False


def run_examples(target: Target, session: Session, examples: int, seed_: int, *, shrink: bool = True) -> None:
    """A fixed number of cases, without a corpus: for tests. Raises what fails, shrunk."""
    phases = _PHASES if shrink else (Phase.generate,)
    how = settings(_QUIET, max_examples=examples, database=None, phases=phases)
    if target.machine is not None:
        run_machine(target.machine(session, lambda case: None), how, seed_)
        return

    @seed(seed_)
    @settings(how)
    @given(target.cases)
    def property_holds(case: Any) -> None:
        session.check(case)

    property_holds()


def run_machine(machine: type[RuleBasedStateMachine], how: settings, seed_: int) -> None:
    """Run a state machine. Raises what fails, shrunk."""
    seed(seed_)(machine)
    run_state_machine_as_test(machine, settings=settings(how, stateful_step_count=STEPS))


# --- failures ---


def store(target: str, case: Any, error: BaseException, directory: Path, words: str = "") -> str:
    """Write a failure down; its name."""
    text = repr(case)
    name = hashlib.sha256(text.encode()).hexdigest()[:8]
    path = failure_path(target, name, directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    trace = "".join(traceback.format_exception(error, limit=-3))
    comment = "\n".join(f"# {line}".rstrip() for line in (words + "\n" + trace).strip().splitlines())
    path.write_text(f"{comment}\n\nfrom fuzz.cases import *\n\nCASE = {text}\n")
    return name


def failure_path(target: str, name: str, directory: Path) -> Path:
    """Where the failure of that name is, or would be."""
    return directory / target / "failures" / f"{name}.py"


def replay(target: Target, name: str, directory: Path) -> None:
    """Check a stored case again. Raises what fails; FileNotFoundError when none has that name."""
    path = failure_path(target.name, name, directory)
    if not path.is_file():
        raise FileNotFoundError(f"no failure {name!r} of {target.name} in {path.parent}")
    case = runpy.run_path(str(path), dict(target.names))["CASE"]
    with target.session() as session:
        session.check(case)
