"""The report of a run's rows, with and without results."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from bench.registry import Benchmark
from bench.report import Run, as_json, print_table, write_json
from bench.rows import Result, Row, at_most
from bench.stage import Stage
from bench.tables import table

_ROWS = (
    Row("good", "what is good", "x", at_most(2)),
    Row("bad", "what is not", "x", at_most(1)),
    Row("no", "none", "x"),
)


def _nothing(_: Stage) -> Iterator[Result]:
    yield from ()


def _run() -> Run:
    run = Run({"kernel": "K"}, 1, 1)
    results = [
        Result(key, 1.5, 1.25, 1.75, "us", {"ours": 3.0, "C": 2.0}, {"ours": [3.0]})
        for key in ("good", "bad")
    ]
    run.add(Benchmark("b", _ROWS, _nothing), results, "there is no compiler")
    return run


def test_the_table_says_which_goals_hold_and_why_a_row_is_left_out() -> None:
    text = io.StringIO()
    print_table(_run(), Console(file=text, width=150))
    lines = text.getvalue().splitlines()

    assert "holds" in next(line for line in lines if "what is good" in line)
    assert "does not" in next(line for line in lines if "what is not" in line)
    assert "left out" in next(line for line in lines if "none" in line)
    assert "left out: no: there is no compiler" in lines
    assert "1.5 x [1.25, 1.75]" in text.getvalue()


def test_the_json_has_every_row_and_every_round(tmp_path: Path) -> None:
    write_json(_run(), tmp_path / "r.json")
    rows = {row["key"]: row for row in json.loads((tmp_path / "r.json").read_text())["rows"]}

    assert rows["good"]["holds"] is True
    assert rows["bad"]["holds"] is False
    assert rows["good"]["rounds"] == {"ours": [3.0]}
    assert rows["no"]["left out"] == "there is no compiler"


def test_the_table_of_several_runs_has_the_value_of_each_and_the_sides_of_the_last() -> None:
    first, last = as_json(_run())["rows"], as_json(_run())["rows"]
    first[1] |= {"value": 0.5, "holds": True}

    assert list(table([first, last]))[2:] == [
        "| `good` | what is good | ≤ 2 | 1.5 / 1.5 | yes | ours 3, C 2 us |",
        "| `bad` | what is not | ≤ 1 | 0.5 / 1.5 | 1 of 2 | ours 3, C 2 us |",
        "| `no` | none |  | left out / left out |  | there is no compiler |",
    ]
