"""What came of each cell, kept between runs, and the table of it.

Strategy: a cell takes up to an hour, so a run may be of some cells only. Each outcome is stored beside its
chroot; the table has the last outcome of every cell, with its date. A test that failed beside others is
run again by itself, as workers on a busy machine can fail one another's tests. The table lists both kinds,
and a failure is explained beside its cell, in `cells`, or it is not explained.
"""

from __future__ import annotations

import datetime
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .cells import CELLS, EVERYTHING, Cell, Way


@dataclass(frozen=True)
class Versions:
    """What a cell ran with; a text is empty where it does not apply."""

    corosync: str = ""
    libqb: str = ""
    python: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of one cell."""

    cell: Cell
    versions: Versions = field(default_factory=Versions)
    passed: int = 0
    """Tests that passed beside others."""
    alone: tuple[str, ...] = ()
    """Tests that failed beside others and passed alone."""
    skipped: int = 0
    failures: tuple[str, ...] = ()
    """The tests that failed both times, or could not be run."""
    problem: str = ""
    """Why the cell could not be run; empty where it was."""
    seconds: float = 0.0
    date: datetime.date | None = None
    """The day of the run."""

    @property
    def good(self) -> bool:
        """Whether tests ran, and each that failed twice is explained."""
        return not self.problem and not self.unexplained and self.passed > 0

    @property
    def unexplained(self) -> list[str]:
        return [failure for failure in self.failures if not self.cell.explanation(failure)]


@dataclass(frozen=True)
class Report:
    """What pytest reported: the ids of the tests that passed and failed, as its command line takes them."""

    passed: tuple[str, ...] = ()
    skipped: int = 0
    failed: tuple[str, ...] = ()


def read(file: Path) -> Report:
    """Read a JUnit report of pytest, of the family xunit1.

    Raises `OSError` or `ParseError` where there is none.
    """
    passed, failed = [], []
    skipped = 0
    for case in ET.parse(file).iter("testcase"):
        name = f"{case.get('file')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed.append(name)
    # A test that passes and whose fixture then fails is reported twice.
    return Report(
        tuple(name for name in passed if name not in set(failed)), skipped, tuple(dict.fromkeys(failed))
    )


def store(directory: Path, outcome: Outcome) -> None:
    """Keep an outcome for later tables, in place of the cell's last one."""
    values: dict[str, Any] = asdict(outcome)
    values["cell"] = outcome.cell.name
    values["date"] = outcome.date.isoformat() if outcome.date else None
    (directory / f"{outcome.cell.name}.json").write_text(json.dumps(values, indent=1) + "\n")


def stored(directory: Path) -> list[Outcome]:
    """The last outcome of each cell, in the order of the matrix; a cell that never ran is left out."""
    outcomes = []
    for cell in CELLS:
        file = directory / f"{cell.name}.json"
        if file.exists():
            values = json.loads(file.read_text())
            values["cell"] = cell
            values["versions"] = Versions(**values["versions"])
            for tests in ("alone", "failures"):
                values[tests] = tuple(values.get(tests, ()))
            values["date"] = datetime.date.fromisoformat(values["date"]) if values["date"] else None
            outcomes.append(Outcome(**values))
    return outcomes


_HEAD = """# Compatibility

`make compat` runs the tests on other releases, Pythons and architectures, each in a chroot that it makes
itself, and writes this table. *Inside* means the release's own Python and corosync. *Client against it* means
a newer Python against that corosync. *Selected* tests are named below.

A test that fails is run again by itself, except on emulated processors, where tests never run side by side.
*Alone* counts those that then pass, *failed* the others.

| system | how | tests | corosync, libqb | Python | passed | alone | skipped | failed | minutes | date |
|---|---|---|---|---|--:|--:|--:|--:|--:|---|
"""

_HOW = {
    Way.INSIDE: "inside",
    Way.DAEMON_ONLY: "client against it",
    Way.PREFIX: "client against it",
    Way.REFUSAL: "refuses, as it must",
}


def table(outcomes: Iterable[Outcome]) -> str:
    """The document: the table, what each selection is, then what failed or could not be run."""
    outcomes = list(outcomes)
    lines = [_HEAD + "\n".join(map(_row, outcomes)), ""]
    ran = {outcome.cell.name for outcome in outcomes}
    missing = [cell.title for cell in CELLS if cell.name not in ran]
    if missing:
        lines += [f"No row yet, because the cell has not been run to its end: {', '.join(missing)}.", ""]
    for outcome in outcomes:
        notes = _notes(outcome)
        if notes:
            lines += [f"## {outcome.cell.title}", "", *notes]
    return "\n".join(lines)


def _row(outcome: Outcome) -> str:
    cell, versions = outcome.cell, outcome.versions
    daemon = ", ".join(filter(None, [versions.corosync, versions.libqb])) or "-"
    how = _HOW[cell.way] + (", emulated" if cell.emulator else "")
    tests = "all" if cell.paths == EVERYTHING else "selected"
    failed = "not run" if outcome.problem else len(outcome.failures)
    date = outcome.date.isoformat() if outcome.date else "-"
    minutes = f"{outcome.seconds / 60:.1f}"
    counts = [outcome.passed, len(outcome.alone), outcome.skipped, failed, minutes]
    return (
        f"| {' | '.join(map(str, [cell.title, how, tests, daemon, versions.python or '-', *counts, date]))} |"
    )


def _notes(outcome: Outcome) -> list[str]:
    """What a cell's row does not say, as paragraphs that end with an empty line."""
    cell = outcome.cell
    notes = [cell.note, ""] if cell.note else []
    if cell.paths not in ((), EVERYTHING):
        notes += ["Tests: " + ", ".join(f"`{path}`" for path in cell.paths) + ".", ""]
    if outcome.problem:
        notes += [outcome.problem, ""]
    if outcome.failures:
        notes += ["Failed:", ""]
        notes += [f"- `{test}`: {cell.explanation(test) or 'not explained'}" for test in outcome.failures]
        notes += [""]
    if outcome.alone:
        notes += [
            "Failed beside others, and passed alone:",
            "",
            *(f"- `{test}`" for test in outcome.alone),
            "",
        ]
    return notes
