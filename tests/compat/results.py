"""What came of each cell, and the table of it."""

from __future__ import annotations

import datetime
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .cells import Cell


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
    skipped: int = 0
    failures: tuple[str, ...] = ()
    """The tests that failed, or could not be run."""
    problem: str = ""
    """Why the cell could not be run; empty where it was."""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether tests ran, and none failed."""
        return not self.problem and not self.failures and self.passed > 0


def read(report: Path) -> tuple[int, int, tuple[str, ...]]:
    """How many tests passed, how many were skipped, and which failed, from a JUnit report of pytest.

    Raises `OSError` or `ParseError` where there is none.
    """
    passed = skipped = 0
    failures = []
    for case in ET.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failures.append(f"{case.get('classname')}::{case.get('name')}")
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, skipped, tuple(failures)


_HEAD = """# Compatibility

`make compat` runs the tests on other releases, Pythons and architectures, each in a chroot that it makes
itself. It wrote this table on {date}. *Inside* means the release's own Python and corosync. *Client against
it* means a newer Python against that corosync, because the release's own is too old for this package.
Emulated processors run the tests that depend on byte order, word size, the C library and the memory model.

| system | how | corosync, libqb | Python | passed | skipped | failed | minutes |
|---|---|---|---|--:|--:|--:|--:|
"""

_HOW = {
    "INSIDE": "inside",
    "DAEMON_ONLY": "client against it",
    "PREFIX": "client against it",
    "REFUSAL": "refuses, as it must",
}


def table(outcomes: Iterable[Outcome], date: datetime.date) -> str:
    """The document: the table, then what failed or could not be run."""
    outcomes = list(outcomes)
    lines = [_HEAD.format(date=date.isoformat()) + "\n".join(map(_row, outcomes))]
    for outcome in outcomes:
        if not outcome.good:
            lines.append(f"\n## {outcome.cell.title}\n")
            lines.append(outcome.problem or "These tests failed:\n")
            lines += [f"- `{failure}`" for failure in outcome.failures]
    return "\n".join(lines) + "\n"


def _row(outcome: Outcome) -> str:
    versions = outcome.versions
    daemon = ", ".join(filter(None, [versions.corosync, versions.libqb])) or "-"
    how = _HOW[outcome.cell.way.name] + (", emulated" if outcome.cell.emulator else "")
    counts = [outcome.passed, outcome.skipped, len(outcome.failures) or ("not run" if outcome.problem else 0)]
    cells = [outcome.cell.title, how, daemon, versions.python or "-", *counts, f"{outcome.seconds / 60:.1f}"]
    return f"| {' | '.join(map(str, cells))} |"
