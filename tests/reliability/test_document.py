"""docs/reliability.md names a test for each of its lines: they are all there."""

from __future__ import annotations

import re

from tests.real.host import ROOT

TEXT = (ROOT / "docs" / "reliability.md").read_text()
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert len(named) > 25
    assert [name for name in sorted(named) if f"def {name}(" not in TESTS] == []


def test_every_line_about_a_fault_names_its_test() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and line.count(" | ") >= 3]
    lines = [row for row in rows if not row.startswith("| fault |")]
    assert len(lines) > 25
    assert [
        row for row in lines if not re.search(r"\| [^|]*(`test_|`tests/|the same|as with)[^|]*\|$", row)
    ] == []
