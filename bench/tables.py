"""`python -m bench.tables FILE...`: the table of docs/performance.md, from the JSON of several runs.

Each row has the value from every run, and the sides' figures from the last file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from .report import number

Row = Mapping[str, Any]


def table(runs: Sequence[Sequence[Row]]) -> Iterator[str]:
    """The lines of a Markdown table. All runs have the same rows in the same order."""
    yield "| row | what | goal | measured | holds | sides |"
    yield "|---|---|--:|--:|---|---|"
    for same in zip(*runs, strict=True):
        last = same[-1]
        cells = (f"`{last['key']}`", last["what"], _goal(last), _values(same), _verdict(same), _sides(last))
        yield f"| {' | '.join(cells)} |"


def _goal(row: Row) -> str:
    return "".join(
        f"{'≤' if kind == 'at most' else '≥'} {limit:g}" for kind, limit in row.get("goal", {}).items()
    )


def _values(same: Sequence[Row]) -> str:
    unit = same[-1]["unit"]
    values = " / ".join(number(row["value"]) if "value" in row else "left out" for row in same)
    return values if unit in ("x", "") else f"{values} {unit}"


def _verdict(same: Sequence[Row]) -> str:
    if "goal" not in same[-1]:
        return ""
    held = sum(bool(row.get("holds")) for row in same)
    return {0: "no", len(same): "yes"}.get(held, f"{held} of {len(same)}")


def _sides(row: Row) -> str:
    if "sides" not in row:
        return str(row["left out"])
    sides = ", ".join(f"{name} {number(figure)}" for name, figure in row["sides"].items())
    return f"{sides} {row['unit of sides']}".strip()


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def main(files: tuple[Path, ...]) -> None:
    """Print the table of docs/performance.md from the JSON of several runs."""
    for line in table([json.loads(file.read_text())["rows"] for file in files]):
        click.echo(line)


if __name__ == "__main__":
    main()
