"""Each program in the tutorial and the guides runs, prints what the page says, and passes strict mypy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.real.host import ROOT
from tests.real.waiting import DEADLINE

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
PAGES = [*(ROOT / "docs" / "tutorial").glob("*.md")]
PRINTED = re.compile(r"```python\n((?:(?!```).)*)```(?:(?!```).)*```text\n((?:(?!```).)*)```", re.DOTALL)


class Sample(NamedTuple):
    """A program, and what the page says that it prints."""

    name: str
    program: str
    output: str


SAMPLES = [
    Sample(f"{page.stem}-{number}", program, output)
    for page in sorted(PAGES)
    for number, (program, output) in enumerate(PRINTED.findall(page.read_text()), 1)
]


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
def test_a_program_prints_what_the_page_says(sample: Sample) -> None:
    done = subprocess.run(
        [sys.executable, "-c", sample.program],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.stderr, done.stdout) == ("", sample.output)


def test_each_program_passes_mypy(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    names = []
    for sample in SAMPLES:
        names.append(f"{sample.name.replace('-', '_')}.py")
        (tmp_path / names[-1]).write_text(sample.program)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file="),
            f"--cache-dir={ROOT / '.mypy_cache' / 'samples'}",
            *names,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
    )
    assert done.stdout + done.stderr == ""
