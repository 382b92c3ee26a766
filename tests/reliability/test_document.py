"""docs/reliability.md names a test for each of its lines: each test exists. And its program runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.conftest import StartDaemon
from tests.real.config import Config
from tests.real.host import ROOT

TEXT = (ROOT / "docs" / "reliability.md").read_text()
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


def test_every_named_test_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert len(named) > 25
    assert [name for name in sorted(named) if f"def {name}(" not in TESTS] == []


def test_every_line_about_a_fault_names_its_test() -> None:
    tables = [block.splitlines() for block in TEXT.split("\n\n") if block.startswith("| fault |")]
    lines = [row for table in tables for row in table[2:]]
    assert len(lines) > 25
    assert [
        row for row in lines if not re.search(r"\| [^|]*(`test_|`tests/|the same|as with)[^|]*\|$", row)
    ] == []


def test_the_program_that_stays_connected_runs_as_printed(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(Config())
    [program] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    argv = daemon.host.command([sys.executable, "-u", "-c", program])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    lost = r"unknown for \d+\.\d s: Lost\(error=Library\(.*\)\)\n"

    def watch() -> subprocess.Popen[str]:
        return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)

    with watch() as process:
        assert process.stdout
        try:
            assert re.fullmatch(r"quorate for \d+\.\d s: Connected\(\)\n", process.stdout.readline())
            daemon.kill()
            assert re.fullmatch(lost, process.stdout.readline())
            assert process.stdout.readline() == "stop what needs quorum\n"
        finally:
            process.kill()
    with watch() as process:
        assert process.stdout
        try:
            # If there is no daemon at the start, this is the first view.
            assert re.fullmatch(lost, process.stdout.readline())
        finally:
            process.kill()
