"""Running a target against the clock: cases are counted, failures shrunk, stored, replayed, and learned
from.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from fuzz import __main__ as command
from fuzz import clock, failures, runner
from fuzz.failures import replay
from fuzz.findings.corosync_3_1_7 import missing_doorbell
from fuzz.known import FILE, what_matters
from fuzz.runner import Report, fuzz, run_examples
from fuzz.target import Target
from fuzz.targets.corosync import Corosync
from fuzz.targets.together import Together, TwoClients
from votequorum_ipc.attack import Connect, Send

MOMENT = 0.02
"""Minutes: 1.2 seconds. Runs that end with their first failure get a whole minute, for busy machines."""


class Bounded:
    """A session in which numbers from 1000 on are failures."""

    def __init__(self) -> None:
        self.bound = 1000

    def check(self, case: int) -> None:
        if case >= self.bound:
            raise ValueError(f"{case} is too much")


class Learning(Bounded):
    """The same, but a run goes on with smaller and smaller numbers that it does not know to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.known: set[int] = set()

    def unknown_part(self, case: int) -> int:
        return 0 if case in self.known else case

    def learn(self, case: int, until: float) -> tuple[int, str]:
        self.known.add(case)
        return case, f"from now on {case} is known"

    def label(self, case: int) -> str:
        return "known: it is large" if case >= self.bound else ""


class Sturdy:
    def check(self, case: int) -> None:
        assert case >= 0


class Measuring(Sturdy):
    def __init__(self) -> None:
        self.largest = 0

    def check(self, case: int) -> None:
        self.largest = max(self.largest, case)

    def summary(self) -> str:
        return f"the largest was {self.largest}"


def target(session: Callable[[], Any]) -> Target:
    return Target(
        "numbers", "Numbers are small.", st.integers(0, 10_000), lambda: contextlib.nullcontext(session())
    )


def test_a_run_without_failures_counts_its_cases(tmp_path: Path) -> None:
    seen: list[int] = []
    report = fuzz(
        target(Sturdy), minutes=MOMENT, directory=tmp_path, progress=lambda report: seen.append(report.cases)
    )
    assert report.failures == []
    assert seen == sorted(seen)
    assert report.cases == seen[-1] > 0
    assert report.rate > 0


def test_what_a_session_measured_is_in_the_report(tmp_path: Path) -> None:
    report = fuzz(target(Measuring), minutes=MOMENT, directory=tmp_path)
    assert report.summary.startswith("the largest was ")
    assert report.summary != "the largest was 0"


def test_a_failure_is_shrunk_stored_and_replayed_by_its_name(tmp_path: Path) -> None:
    report = fuzz(target(Bounded), minutes=1, directory=tmp_path)
    [name] = report.failures
    text = failures.path_of("numbers", name, tmp_path).read_text()
    assert "ValueError: 1000 is too much" in text
    assert text.endswith("CASE = 1000\n")
    again = replay(target(Bounded), name, tmp_path)
    assert str(again.error) == "1000 is too much"
    assert (str(again.now), str(again.saved)) == ("5 of 5 times", "5 of 5 times")
    assert replay(target(Sturdy), name, tmp_path).error is None
    with pytest.raises(FileNotFoundError, match="no failure 'other' of numbers"):
        replay(target(Bounded), "other", tmp_path)


def test_a_session_that_learns_goes_on_behind_its_failures(tmp_path: Path) -> None:
    report = fuzz(target(Learning), minutes=MOMENT * 3, directory=tmp_path)
    assert len(report.failures) > 1
    text = failures.path_of("numbers", report.failures[0], tmp_path).read_text()
    assert text.startswith("# from now on 1000 is known\n")


def test_a_replay_checks_exactly_what_it_is_given_also_where_it_is_known(tmp_path: Path) -> None:
    report = fuzz(target(Learning), minutes=MOMENT, directory=tmp_path)
    session = Learning()
    session.known.update(range(10_001))
    again = replay(target(lambda: session), report.failures[0], tmp_path)
    assert str(again.now) == "5 of 5 times"
    assert again.label == "known: it is large"


class Keeping(Learning):
    """The same, with what earlier runs have learnt."""

    def keep_in(self, directory: Path) -> None:
        self.file = directory / "known"
        if self.file.exists():
            self.known.update(map(int, self.file.read_text().split()))

    def learn(self, case: int, until: float) -> tuple[int, str]:
        learnt = super().learn(case, until)
        self.file.write_text(" ".join(map(str, self.known)))
        return learnt


def test_what_a_run_has_learnt_is_kept_in_its_corpus(tmp_path: Path) -> None:
    def first_failure(corpus: str) -> str:
        report = fuzz(target(Keeping), minutes=1, directory=tmp_path / corpus, cases=20, first_seed=1)
        return failures.path_of("numbers", report.failures[0], tmp_path / corpus).read_text()

    assert first_failure("one").endswith("CASE = 1000\n")
    assert not first_failure("one").endswith("CASE = 1000\n")
    assert first_failure("another").endswith("CASE = 1000\n")


def test_corosync_is_known_to_fail_of_what_the_corpus_names(tmp_path: Path) -> None:
    case = missing_doorbell.STEPS
    features = sorted(what_matters(case))
    (tmp_path / FILE).write_text(json.dumps([features]))
    no_daemon: Any = None
    session = Corosync(no_daemon)
    session.keep_in(tmp_path)
    assert session.label(case) == f"known: {' and '.join(features)}"
    assert session.unknown_part(case) != case


def test_a_known_combination_of_two_clients_is_left_out_whoever_completes_it() -> None:
    connect = Connect(0, "votequorum")
    ask, stop = (Send(0, b"", about=f"votequorum {name} request") for name in ("getinfo", "trackstop"))
    no_nodes: Any = None
    session = TwoClients(no_nodes)
    session.learn(Together((connect, ask), (connect, stop), "nothing"), until=0)
    case = Together((connect, stop, ask), (connect, stop), "the network is cut")
    assert session.unknown_part(case) == Together((connect, stop), (connect, stop), "the network is cut")
    assert session.label(case) == "known: votequorum getinfo request and votequorum trackstop request"


class Moody:
    """A session that fails every other time."""

    calls = 0

    def check(self, case: int) -> None:
        Moody.calls += 1
        if case >= 1000 and Moody.calls % 2:
            raise ValueError("not today")


def test_a_failure_that_does_not_repeat_every_time_says_how_often_it_did(tmp_path: Path) -> None:
    [name] = fuzz(target(Moody), minutes=MOMENT, directory=tmp_path).failures
    Moody.calls = 0
    again = replay(target(Moody), name, tmp_path, times=7)
    assert str(again.now) == "4 of 7 times"
    assert again.saved.times == 5
    assert again.saved.failed in (2, 3)


def test_a_run_ends_at_its_deadline_whatever_a_session_is_doing(tmp_path: Path) -> None:
    class Dawdling(Learning):
        def learn(self, case: int, until: float) -> tuple[int, str]:
            while True:
                time.sleep(0.01)

    report = fuzz(target(Dawdling), minutes=MOMENT, directory=tmp_path)
    [name] = report.failures
    text = failures.path_of("numbers", name, tmp_path).read_text()
    assert "The run's time ended before this case was made smaller or checked again." in text
    assert replay(target(Bounded), name, tmp_path).error is not None


def test_a_run_ends_at_its_deadline_while_a_session_starts(tmp_path: Path) -> None:
    def start() -> Any:
        while True:
            time.sleep(0.01)

    report = fuzz(target(start), minutes=MOMENT, directory=tmp_path)
    assert (report.cases, report.failures) == (0, [])


def test_a_run_ends_although_the_alarm_was_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(Sturdy):
        def check(self, case: int) -> None:
            with contextlib.suppress(clock.OutOfTime):
                while True:
                    pass
            while True:
                pass

    # The case's own time is over between the first alarm and the second.
    monkeypatch.setattr(clock, "GRACE", 0.1)
    for module in (clock, runner):
        monkeypatch.setattr(module, "HANGING", MOMENT * 60 + 0.3)
    report = fuzz(target(Deaf), minutes=MOMENT, directory=tmp_path)
    assert (report.cases, report.failures) == (1, [])


def test_a_run_may_be_bounded_by_its_cases(tmp_path: Path) -> None:
    assert fuzz(target(Sturdy), minutes=math.inf, cases=250, directory=tmp_path).cases == 250


def test_an_interrupted_run_reports_what_it_has_done(tmp_path: Path) -> None:
    class Interrupted(Measuring):
        def check(self, case: int) -> None:
            super().check(case)
            if case >= 1000:
                raise KeyboardInterrupt

    report = fuzz(target(Interrupted), minutes=math.inf, directory=tmp_path)
    assert report.interrupted
    assert report.failures == []
    assert report.summary.startswith("the largest was ")


DEADLY = """
import os, sys
from hypothesis import strategies as st

CASES = st.integers(0, 10_000)


def check(case: int) -> None:
    if case >= 1000:
        os._exit(7)
"""


def test_a_case_that_ends_the_process_is_found_by_the_next_run(tmp_path: Path) -> None:
    own = tmp_path / "deadly.py"
    own.write_text(DEADLY)
    argv = [sys.executable, "-m", "fuzz", str(own), "--corpus", str(tmp_path)]
    first = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert first.returncode == 7, first.stderr
    own.write_text(DEADLY.replace("os._exit(7)", "pass"))
    second = subprocess.run([*argv, "--cases", "1"], capture_output=True, text=True, check=False)
    assert second.returncode == 1, second.stderr
    [line] = [line for line in second.stdout.splitlines() if line.startswith("failed: ")]
    text = Path(line.removeprefix("failed: ")).read_text()
    assert "The process ended while it checked this case" in text
    assert int(text.rpartition("CASE = ")[2]) >= 1000


def test_a_case_that_another_process_is_checking_is_left_to_it(tmp_path: Path) -> None:
    directory = tmp_path / "numbers"
    directory.mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        file = directory / f"under_way.{other.pid}"
        file.write_text("7\n")
        assert fuzz(target(Sturdy), minutes=math.inf, cases=1, directory=tmp_path).failures == []
        assert file.exists()
        other.communicate(b"\n")
    assert len(fuzz(target(Sturdy), minutes=math.inf, cases=1, directory=tmp_path).failures) == 1
    assert not file.exists()


def test_a_case_that_does_not_end_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        def check(self, case: int) -> None:
            while case >= 100:
                pass

    monkeypatch.setattr(runner, "HANGING", 0.05)
    monkeypatch.setattr(failures, "HANGING", 0.05)
    monkeypatch.setattr(runner, "SHRINKING", 0.5)
    report = fuzz(target(Endless), minutes=MOMENT, directory=tmp_path)
    [name] = report.failures
    assert "Hangs: not done after 0.05 seconds" in failures.path_of("numbers", name, tmp_path).read_text()


def test_the_same_seed_gives_the_same_cases() -> None:
    class Recording:
        def __init__(self) -> None:
            self.cases: list[int] = []

        def check(self, case: int) -> None:
            self.cases.append(case)

    recordings = [Recording(), Recording(), Recording()]
    for recording, seed in zip(recordings, (1, 1, 2), strict=True):
        run_examples(target(Recording), recording, 30, seed)
    assert recordings[0].cases == recordings[1].cases != recordings[2].cases


def machine(session: Bounded, ended: Callable[[Any], None]) -> type[RuleBasedStateMachine]:
    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.steps: list[int] = []

        @rule(number=st.integers(0, 10_000))
        def add(self, number: int) -> None:
            self.steps.append(number)
            session.check(number)

        def teardown(self) -> None:
            ended(tuple(self.steps))

    return Machine


def test_the_steps_of_a_state_machine_are_a_case(tmp_path: Path) -> None:
    whole = Target(
        "steps",
        "Numbers are small.",
        st.nothing(),
        lambda: contextlib.nullcontext(Bounded()),
        machine=machine,
    )
    report = fuzz(whole, minutes=1, directory=tmp_path)
    [name] = report.failures
    assert failures.path_of("steps", name, tmp_path).read_text().endswith("CASE = (1000,)\n")


# --- the command ---


@pytest.fixture
def only_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.target.find_targets", lambda: {"numbers": target(Bounded)})


def run(*arguments: str) -> Any:
    """The command's exit code and output, through `main`."""

    @click.command(context_settings={"ignore_unknown_options": True})
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def invoked(words: tuple[str, ...]) -> None:
        command.main(list(words))

    return CliRunner().invoke(invoked, arguments)


def test_the_command_lists_the_targets_with_their_properties(only_numbers: None) -> None:
    result = run()
    assert result.exit_code == 0
    assert result.output == "numbers\n    Numbers are small.\n"


def test_the_command_names_what_failed_and_replays_it(only_numbers: None, tmp_path: Path) -> None:
    result = run("numbers", "--minutes", "1", "--seed", "5", "--corpus", str(tmp_path))
    assert result.exit_code == 1
    assert "numbers, seed 5" in result.stderr
    [line] = [line for line in result.stdout.splitlines() if line.startswith("failed: ")]
    path = Path(line.removeprefix("failed: "))
    assert path.read_text().endswith("CASE = 1000\n")
    again = run("numbers", "--replay", path.stem, "--corpus", str(tmp_path))
    assert again.exit_code == 1
    assert again.output == (
        f"{path.stem} fails 5 of 5 times (when it was saved, it failed 5 of 5 times): "
        "ValueError: 1000 is too much\n"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("no-such",), "no target 'no-such'; the targets are numbers"),
        (("numbers", "--replay", "none"), "no failure 'none' of numbers"),
        (("numbers", "--minutes", "0"), "Invalid value for '--minutes'"),
    ],
)
def test_wrong_usage_is_exit_code_64(only_numbers: None, arguments: tuple[str, ...], complaint: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 64
    assert complaint in result.stderr


def test_a_machine_without_corosync_is_exit_code_64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = run("corosync-shm", "--cases", "1")
    assert result.exit_code == 64
    assert "corosync-shm tests a real corosync: run tools/install-test-deps, as root" in result.stderr


OWN_TARGET = """
\"\"\"Numbers stay below 1000.\"\"\"

from dataclasses import dataclass

from hypothesis import strategies as st


@dataclass(frozen=True)
class Number:
    value: int


CASES = st.builds(Number, st.integers(0, 10_000))


def check(case: Number) -> None:
    assert case.value < 1000
"""


def test_a_target_of_ones_own_is_a_file_with_cases_and_a_check(tmp_path: Path) -> None:
    own = tmp_path / "my_target.py"
    own.write_text(OWN_TARGET)
    arguments = (str(own), "--corpus", str(tmp_path))
    result = run(*arguments, "--minutes", "1")
    assert result.exit_code == 1, result.output
    [line] = [line for line in result.stdout.splitlines() if line.startswith("failed: ")]
    path = Path(line.removeprefix("failed: "))
    assert path.parent == tmp_path / "my_target" / "failures"
    assert path.read_text().endswith("CASE = Number(value=1000)\n")
    again = run(*arguments, "--replay", path.stem)
    assert again.exit_code == 1, again.output


def test_the_error_for_a_file_without_a_check_says_what_a_target_needs(tmp_path: Path) -> None:
    own = tmp_path / "half.py"
    own.write_text("CASES = None\n")
    result = run(str(own))
    assert result.exit_code == 64
    assert "does not define check" in result.stderr


def test_a_report_has_a_rate() -> None:
    assert Report("numbers", cases=10, seconds=4.0).rate == 2.5
    assert Report("numbers").rate == 0.0
