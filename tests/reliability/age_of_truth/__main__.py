"""`python -m tests.reliability.age_of_truth`: measure, print the summary, write JSON and a drawing."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from tests.real import leftovers, requirements

from . import figures
from .cutting import measure
from .drawing import draw
from .series import PLANS


@click.command()
@click.option("--cuts", default=50, show_default=True, help="How many times each cluster is cut.")
@click.option(
    "--series", "names", multiple=True, type=click.Choice(list(PLANS)), help="Only this series; repeatable."
)
@click.option("--out", type=click.Path(path_type=Path), help="Write OUT.json and OUT.svg; keep other series.")
@click.option("--seed", default=0, show_default=True, help="Seed for the moments of the cuts.")
@click.option("--redraw", is_flag=True, help="Do not measure: print and draw OUT.json.")
def main(cuts: int, names: tuple[str, ...], out: Path | None, seed: int, redraw: bool) -> None:
    """Measure how long a node that is cut off still reports quorum."""
    kept = figures.read(out.with_suffix(".json")) if out else {}
    if not redraw:
        os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
        if reason := requirements.missing():
            raise click.ClickException(reason)
        leftovers.reap()
        with Progress(console=Console(stderr=True)) as progress:
            for name in names or PLANS:
                task = progress.add_task(PLANS[name].title, total=cuts)
                kept[name] = measure(PLANS[name], cuts, seed, partial(progress.advance, task))
    kept = {name: kept[name] for name in PLANS if name in kept}
    for series in kept.values():
        click.echo(figures.table(series) + "\n")
    if out:
        figures.write(out.with_suffix(".json"), kept)
        draw(list(kept.values()), out.with_suffix(".svg"))


if __name__ == "__main__":
    main()
