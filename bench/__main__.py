"""`python -m bench`: run benchmarks, print the table, write JSON and plots.

A full run takes some minutes and updates `bench/results`. A quick or partial run writes only where `--json`
says.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from . import benchmarks as _registered  # noqa: F401
from . import machine
from .registry import BENCHMARKS, Benchmark, measured
from .report import Run, as_json, print_table, write_json
from .stage import FULL, QUICK, Scale, Stage

RESULTS: Final = Path(__file__).parent / "results"

WIDTH: Final = 150
"""Columns of a table that goes to a file."""


@click.command()
@click.option("--quick", is_flag=True, help="A few short rounds: checks that it runs, not how fast.")
@click.option("--only", "names", multiple=True, metavar="NAME", help="Only this benchmark; may be repeated.")
@click.option("--json", "file", type=click.Path(path_type=Path), metavar="FILE", help="Where to write JSON.")
@click.option("--name", default="latest", show_default=True, help="File name stem in bench/results.")
@click.option("--list", "listing", is_flag=True, help="List the benchmarks and exit.")
def main(quick: bool, names: tuple[str, ...], file: Path | None, name: str, listing: bool) -> None:
    """Compare the client with C programs, ctypes and corosync-quorumtool, on a real corosync."""
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    if listing:
        for benchmark in BENCHMARKS.values():
            console.print(f"{benchmark.name:16} {benchmark.summary}", markup=False, highlight=False)
        return
    if unknown := set(names) - BENCHMARKS.keys():
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: see --list", param_hint="--only")
    chosen = [BENCHMARKS[wanted] for wanted in names] or list(BENCHMARKS.values())
    run = run_benchmarks(chosen, QUICK if quick else FULL)
    print_table(run, console)
    complete = not quick and not names
    for target in filter(None, [file, RESULTS / f"{name}.json" if complete else None]):
        write_json(run, target)
        console.print(f"written: {target}", markup=False)
    if complete:
        _draw(run, RESULTS / name, console)


def run_benchmarks(chosen: list[Benchmark], scale: Scale) -> Run:
    """Run benchmarks one after another, and show progress on standard error."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed} rounds"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=None)
        with Stage(scale, lambda: progress.advance(task)) as stage:
            run = Run(machine.facts(), scale.rounds, scale.calls)
            for number, benchmark in enumerate(chosen, 1):
                progress.reset(task, description=f"{number}/{len(chosen)} {benchmark.name}", total=None)
                run.add(benchmark, *measured(benchmark, stage))
    return run


def _draw(run: Run, stem: Path, console: Console) -> None:
    # matplotlib logs a line for every font that it looks at.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        from .plots import draw
    except ModuleNotFoundError as missing:
        console.print(f"no plots: {missing}; pip install 'votequorum-ipc[bench]'", markup=False)
        return
    for file in draw(as_json(run), stem):
        console.print(f"written: {file}", markup=False)


if __name__ == "__main__":
    main()
