"""`python -m fuzz [TARGET]`: run a fuzz target for a while, or replay a failure that it has stored.

Strategy: everything is in the modules beside this one. Here are options, a line of progress, and exit codes.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Final

try:
    import click
except ImportError:
    sys.exit("fuzzing needs click: pip install -e '.[test]' in the checkout")

if TYPE_CHECKING:
    from .failures import Replay
    from .runner import Report
    from .target import Target

FAILED: Final = 1
USAGE: Final = 64
"""EX_USAGE of sysexits.h, as in `votequorum-ipc`."""

INTERRUPTED: Final = 130
"""128 and the number of SIGINT, as a shell has it."""

_NEEDED: Final = ("hypothesis", "pytest", "rich")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", metavar="[TARGET]", required=False)
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="How long to run, starting and shrinking included. By default 1, or as long as --cases takes.",
)
@click.option("--cases", type=click.IntRange(1), help="End after this many cases.")
@click.option("--seed", type=int, help="Begin with this seed, which a run prints.")
@click.option(
    "--guided",
    is_flag=True,
    help="Keep what takes new edges of the corosync that tools/sanitized-corosync built, and change it.",
)
@click.option("--replay", metavar="FAILURE", help="Check a stored failure again, by its name.")
@click.option("--times", type=click.IntRange(1), default=5, show_default=True, help="How often to replay it.")
@click.option(
    "--corpus",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".fuzz"),
    show_default=True,
    help="Where examples and failures are kept.",
)
def command(
    name: str | None,
    minutes: float | None,
    cases: int | None,
    seed: int | None,
    guided: bool,
    replay: str | None,
    times: int,
    corpus: Path,
) -> None:
    """Run the fuzz target TARGET, or the one in the file TARGET (my_target.py). Without it, list the targets.

    Exit codes: 0 nothing failed, 1 something did, 64 wrong usage or nothing to run, 130 interrupted.
    """
    if missing := [package for package in _NEEDED if find_spec(package) is None]:
        raise click.UsageError(
            f"fuzzing needs {', '.join(missing)}: pip install -e '.[test]' in the checkout"
        )
    from .target import NoTarget, find_target, find_targets

    if name is None:
        _list(find_targets())
        return
    try:
        target = find_target(name)
    except NoTarget as problem:
        raise click.UsageError(str(problem)) from None
    if target.needs_corosync and (reason := _why_no_corosync()):
        raise click.UsageError(
            f"{reason}\n{name} tests a real corosync: run tools/install-test-deps, as root"
        )
    if replay is not None:
        _replay(target, replay, times, corpus)
    else:
        minutes = minutes or (1.0 if cases is None else math.inf)
        seed = secrets.randbits(32) if seed is None else seed
        _run(target, minutes, cases, seed, corpus, guided)


def _list(targets: dict[str, Target]) -> None:
    for target in targets.values():
        property_ = " ".join(target.property.strip().split("\n\n")[0].split())
        click.echo(f"{target.name}\n    {property_}")


def _why_no_corosync() -> str | None:
    from tests.real.requirements import missing

    if not which("strace"):
        return "strace is not installed, which shows the signals that end a daemon"
    return missing()


def _run(target: Target, minutes: float, cases: int | None, seed: int, corpus: Path, guided: bool) -> None:
    from rich.console import Console

    from .runner import NotCounting, fuzz

    console = Console(stderr=True)
    bounds = [f"{minutes:g} minutes"] if minutes < math.inf else []
    bounds += [f"{cases} cases"] if cases else []
    console.print(f"{target.name}, seed {seed}, {' or '.join(bounds)}")
    with console.status("starting") as status, _explained(NotCounting):
        report = fuzz(
            target,
            minutes=minutes,
            cases=cases,
            directory=corpus,
            first_seed=seed,
            guided=guided,
            progress=lambda report: status.update(_line(report)),
        )
    click.echo(_line(report))
    if report.summary:
        click.echo(report.summary)
    for failure in report.failures:
        click.echo(f"failed: {corpus / target.name / 'failures' / failure}.py")
    if report.interrupted:
        click.echo("interrupted")
    sys.exit(FAILED if report.failures else INTERRUPTED if report.interrupted else 0)


@contextlib.contextmanager
def _explained(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind as problem:
        raise click.UsageError(str(problem)) from None


def _line(report: Report) -> str:
    number = len(report.failures)
    failures = f", {number} failure{'s' * (number > 1)}" if number else ""
    return f"{report.target}: {report.cases} cases in {report.seconds:.0f} s, {report.rate:.0f}/s{failures}"


def _replay(target: Target, failure: str, times: int, corpus: Path) -> None:
    from .failures import replay

    try:
        outcome = replay(target, failure, corpus, times)
    except FileNotFoundError as problem:
        raise click.UsageError(str(problem)) from None
    if outcome.label:
        click.echo(outcome.label)
    if outcome.error is None:
        click.echo(f"{failure} passes {outcome.now.times} of {outcome.now.times} times{_when_saved(outcome)}")
        return
    error = f"{type(outcome.error).__name__}: {outcome.error}"
    click.echo(f"{failure} fails {outcome.now}{_when_saved(outcome)}: {error}")
    sys.exit(FAILED)


def _when_saved(outcome: Replay) -> str:
    return f" (when it was saved, it failed {outcome.saved})" if outcome.saved.times else ""


def main(arguments: list[str] | None = None) -> None:
    """Run the command. Exits as `command` says."""
    try:
        command.main(arguments, prog_name="python -m fuzz", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(FAILED)
    except click.Abort:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
