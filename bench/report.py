"""The outcome of a run, as a table and as JSON.

A run holds each benchmark's outcome: results by row, and the reason for each row without one. The JSON has
the figures of every round, so that the medians can be checked.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from .registry import Benchmark
from .rows import Result, Row

_VERDICTS: Final = {True: "[green]holds[/]", False: "[red]does not[/]", None: ""}


@dataclass
class Run:
    """The benchmarks that were run, and their outcome."""

    machine: dict[str, str]
    rounds: int
    calls: int
    results: dict[str, Result] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """Why a row is missing, by row."""
    rows: list[Row] = field(default_factory=list)

    def add(self, benchmark: Benchmark, results: list[Result], reason: str | None) -> None:
        """Add a benchmark's results; `reason` says why some are missing."""
        self.rows += benchmark.rows
        self.results |= {result.key: result for result in results}
        for row in benchmark.rows:
            if row.key not in self.results:
                self.left_out[row.key] = reason or "not measured"

    def verdict(self, row: Row) -> bool | None:
        """Whether a row meets its goal; None if there is no goal or no result."""
        result = self.results.get(row.key)
        return None if result is None or row.goal is None else row.goal.holds(result.value)


def print_table(run: Run, console: Console) -> None:
    """Print the table with goals and verdicts; below it the rows left out, and the machine."""
    table = Table(
        title=f"{run.rounds} rounds of {run.calls} calls; medians of paired ratios, quartiles in brackets"
    )
    table.add_column("what", min_width=30)
    for column in ("goal", "measured", "", "ours", "against"):
        table.add_column(column, justify="right" if column in ("goal", "measured") else "left")
    for row in run.rows:
        table.add_row(*_cells(run, row))
    console.print(table)
    for reason in dict.fromkeys(run.left_out.values()):
        rows = [key for key, why in run.left_out.items() if why == reason]
        console.print(f"left out: {', '.join(rows)}: {reason}", markup=False)
    console.print("; ".join(f"{name} {value}" for name, value in run.machine.items()), markup=False)


def _cells(run: Run, row: Row) -> Iterator[str]:
    result = run.results.get(row.key)
    yield row.what
    yield f"{'≤' if row.goal.kind == 'at most' else '≥'} {row.goal.limit:g} {row.unit}" if row.goal else ""
    if result is None:
        yield from ("left out", "", "", "")
        return
    spread = f" [{number(result.low)}, {number(result.high)}]" if result.low != result.high else ""
    yield f"{number(result.value)} {row.unit}{spread}".replace("[", r"\[")
    yield _VERDICTS[run.verdict(row)]
    yield _side(result, "ours")
    yield ", ".join(f"{name} {_side(result, name)}" for name in result.sides if name != "ours")


def _side(result: Result, name: str) -> str:
    return f"{number(result.sides[name])} {result.unit}".strip()


def number(value: float) -> str:
    """A number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def as_json(run: Run) -> dict[str, Any]:
    """Everything, for `bench/results`."""
    return {
        "machine": run.machine,
        "rounds": run.rounds,
        "calls": run.calls,
        "rows": [_row_as_json(run, row) for row in run.rows],
    }


def _row_as_json(run: Run, row: Row) -> dict[str, Any]:
    described: dict[str, Any] = {"key": row.key, "what": row.what, "unit": row.unit}
    if row.goal:
        described["goal"] = {row.goal.kind: row.goal.limit}
    result = run.results.get(row.key)
    if result is None:
        return {**described, "left out": run.left_out[row.key]}
    measured = dataclasses.asdict(result) | {"unit of sides": result.unit}
    return described | {"holds": run.verdict(row)} | {k: v for k, v in measured.items() if k not in described}


def write_json(run: Run, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(_rounded(as_json(run)), indent=1) + "\n")


def _rounded(value: Any) -> Any:
    """Round each number to six digits: the rest is noise, and makes files long."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value
