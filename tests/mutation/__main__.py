"""`python -m tests.mutation`: run mutants and report; exit code 1 if the tests notice less than the goal."""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from .operators import Mutant, mutants
from .plan import PLAN
from .report import GOAL, Result, noticed, text
from .running import PACKAGE, ROOT, Copy, Fate


@click.command()
@click.argument("modules", nargs=-1, type=click.Choice(list(PLAN)))
@click.option("--sample", default=25, show_default=True, help="Mutants per module; 0 for all.")
@click.option("--seed", default=0, show_default=True, help="Seed of the sample.")
@click.option("--match", default="", help="Only mutants whose name contains this.")
@click.option("--report", "file", type=click.Path(path_type=Path), help="Also write the report to this file.")
def main(modules: tuple[str, ...], sample: int, seed: int, match: str, file: Path | None) -> None:
    """Change the modules that decide in small ways, and check that the tests notice."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as directory, Progress(console=Console(stderr=True)) as progress:
        copy = Copy(Path(directory))
        for module in modules or PLAN:
            tests = PLAN[module]
            limit = 3 * copy.baseline(tests) + 10
            for mutant in progress.track(_chosen(module, sample, seed, match), description=module):
                fate = copy.fate(module, mutant.source, tests, limit)
                results.append(Result(module, mutant, fate))
                if fate is Fate.SURVIVED:
                    progress.console.print(f"survived: {module}:{mutant.line} {mutant.name}", markup=False)
    report = text(results, seed)
    click.echo(report)
    if file:
        file.write_text(f"# Mutants\n\n{report}\n")
    sys.exit(int(noticed(results) < GOAL))


def _chosen(module: str, sample: int, seed: int, match: str) -> list[Mutant]:
    every = [each for each in mutants((ROOT / PACKAGE / module).read_text()) if match in each.name]
    if not sample or sample >= len(every):
        return every
    chosen = random.Random(f"{seed} {module}").sample(every, sample)
    return sorted(chosen, key=lambda mutant: mutant.line)


if __name__ == "__main__":
    main()
