"""Each benchmark runs, in one short round. `make bench` measures how fast anything is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import benchmarks as _registered  # noqa: F401
from bench import machine
from bench.registry import BENCHMARKS, measured
from bench.report import Run, as_json
from bench.side import ROOT, Side, SideError
from bench.stage import Scale, Stage
from tests.conftest import cannot
from tests.real.waiting import DEADLINE

_MAY_BE_LEFT_OUT = {
    "event.notification": "on a busy machine, no instant of a notification may be measurable",
    "event.change": "as above",
    "ways.event.trio": "as above",
    "ways.event.asyncio": "as above",
    "ways.event.blocking": "as above",
}


SMOKE = Scale(rounds=1, calls=4, seconds=0.02, connections=4)


@pytest.fixture(scope="module")
def stage(real_corosync: None) -> Iterator[Stage]:
    """The stage for all benchmarks, made once."""
    if shutil.which("cc") is None:
        cannot("there is no C compiler")
    with Stage(SMOKE) as made:
        yield made


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_fills_in_its_rows(stage: Stage, name: str) -> None:
    run = Run(machine.facts(), SMOKE.rounds, SMOKE.calls)
    run.add(BENCHMARKS[name], *measured(BENCHMARKS[name], stage))
    rows = as_json(run)["rows"]
    assert [row["key"] for row in rows] == [row.key for row in BENCHMARKS[name].rows]
    left_out = {row["key"]: row["left out"] for row in rows if "left out" in row}
    unexpected = {
        key: reason
        for key, reason in left_out.items()
        # A missing program, or a single CPU, is no failure of the benchmark.
        if key not in _MAY_BE_LEFT_OUT and not reason.startswith("there is")
    }
    assert not unexpected


def test_the_program_runs_the_chosen_benchmark_and_writes_json(tmp_path: Path) -> None:
    file = tmp_path / "quick.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--only", "codec", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    measured_rows = [row["key"] for row in json.loads(file.read_text())["rows"] if "left out" not in row]
    assert measured_rows == [row.key for row in BENCHMARKS["codec"].rows]
    assert f"written: {file}" in done.stdout


def test_a_side_that_fails_says_why() -> None:
    code = "import sys; input(); sys.exit('no daemon')"
    with (
        Side("failing", [sys.executable, "-c", code]) as side,
        pytest.raises(SideError, match="failing ended with 1: no daemon"),
    ):
        side.ask("open", 1)
