"""Each program in the tutorial and the guides runs, prints what the page shows, and passes strict mypy."""

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
PAGES = [
    *(ROOT / "docs" / "tutorial").glob("*.md"),
    *(ROOT / "docs" / "howto").glob("*.md"),
    ROOT / "docs" / "reference" / "c-api.md",
]
PRINTED = re.compile(r"```python\n((?:(?!```).)*)```(?:(?!```).)*```text\n((?:(?!```).)*)```", re.DOTALL)


class Sample(NamedTuple):
    """A program, and the output that the page shows for it."""

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
    for page in PAGES:
        for number, program in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)):
            names.append(f"{page.stem.replace('-', '_')}_{number}.py")
            (tmp_path / names[-1]).write_text(program)
    # The two halves of one guide: a program and its test.
    (tmp_path / "test_your_program_1.py").write_text(
        "from test_your_program_0 import may_write\n" + (tmp_path / "test_your_program_1.py").read_text()
    )
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
