"""`votequorum-ipc fuzz [TARGET]`: run a fuzz target for a while, or replay a failure that it has stored.

Strategy: everything is in `votequorum_ipc.fuzzing`; here are options, a line of progress, and exit codes. The
targets are in the directory `fuzz` of a checkout.
"""

from __future__ import annotations

import secrets
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from ..fuzzing.runner import Report
    from ..fuzzing.targets import Target

FAILED: Final = 1


@click.command("fuzz")
@click.argument("name", metavar="[TARGET]", required=False)
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=1.0, help="How long to run.")
@click.option("--seed", type=int, help="Begin with this seed, which a run prints.")
@click.option("--replay", metavar="FAILURE", help="Check a stored failure again, by its name.")
@click.option(
    "--corpus",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".fuzz"),
    show_default=True,
    help="Where examples and failures are kept.",
)
def command(name: str | None, minutes: float, seed: int | None, replay: str | None, corpus: Path) -> None:
    """Run the fuzz target TARGET; without it, list the targets.

    Exit codes: 0 nothing failed, 1 something did, 2 wrong usage or nothing to run.
    """
    targets = _targets()
    if name is None:
        for target in targets.values():
            property_ = " ".join(target.property.strip().split("\n\n")[0].split())
            click.echo(f"{target.name}\n    {property_}")
        return
    if name not in targets:
        raise click.UsageError(f"no target {name!r}; there are {', '.join(targets)}")
    if replay is not None:
        _replay(targets[name], replay, corpus)
    else:
        _run(targets[name], minutes, secrets.randbits(32) if seed is None else seed, corpus)


def _targets() -> dict[str, Target]:
    if find_spec("hypothesis") is None:
        raise click.UsageError(
            "fuzzing needs hypothesis: pip install 'votequorum-ipc[fuzz]', or '.[fuzz]' in a checkout"
        )
    from ..fuzzing.targets import NoCheckout, find_targets

    try:
        return find_targets()
    except NoCheckout as error:
        raise click.UsageError(str(error)) from None


def _run(target: Target, minutes: float, seed: int, corpus: Path) -> None:
    from rich.console import Console

    from ..fuzzing.runner import fuzz

    console = Console(stderr=True)
    console.print(f"{target.name}, seed {seed}, {minutes:g} minutes")
    with console.status("starting") as status:
        report = fuzz(
            target,
            minutes=minutes,
            directory=corpus,
            first_seed=seed,
            progress=lambda report: status.update(_line(report)),
        )
    click.echo(_line(report))
    if report.summary:
        click.echo(report.summary)
    for failure in report.failures:
        click.echo(f"failed: {corpus / target.name / 'failures' / failure}.py")
    sys.exit(FAILED if report.failures else 0)


def _line(report: Report) -> str:
    failures = f", {len(report.failures)} failures" if report.failures else ""
    return f"{report.target}: {report.cases} cases in {report.seconds:.0f} s, {report.rate:.0f}/s{failures}"


def _replay(target: Target, failure: str, corpus: Path) -> None:
    from ..fuzzing.runner import replay

    try:
        replay(target, failure, corpus)
    except FileNotFoundError as error:
        raise click.UsageError(str(error)) from None
    except Exception as error:
        click.echo(f"{failure} fails still: {type(error).__name__}: {error}")
        sys.exit(FAILED)
    click.echo(f"{failure} passes now")
