"""A check's report for people: rules, table, verdicts, stories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import click
from rich.table import Table
from rich.text import Text

from ..check import Failure, Reachability, Report, Story, Verdict
from ..check.remedies import Remedy
from ..check.story import folded, situation
from ..check.words import and_others, device_in_words
from .common import printable
from .tables import console

_STYLES: Final = {
    Reachability.CANNOT_HAPPEN: "green",
    Reachability.HAPPENS: "bold red",
    Reachability.NOT_WITHIN: "yellow",
    Reachability.UNSETTLED: "bold yellow",
}
_ROWS: Final = 24
"""How many failures the table shows; --json has all of them."""

_WAYS: Final = ("one way", "another way")
_SETS: Final = 6
"""How many sets of failures are listed; --json has all of them."""


def print_report(report: Report, warnings: Sequence[str], remedies: Mapping[str, Sequence[Remedy]]) -> None:
    """Print a report."""
    print_section("Rules in force", [*report.in_words, *device_in_words(report.device)])
    print_section("Switched off or ignored", [*warnings, *report.ignored])
    _print_failures(report)
    for verdict in report.verdicts:
        _print_verdict(verdict, remedies.get(verdict.name, ()))
    click.echo(_effort(report))


def print_comparison(names: Sequence[str], reports: Sequence[Report]) -> None:
    """Print verdicts and sizes side by side."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    for name in names:
        table.add_column(printable(name))
    properties = dict.fromkeys(one.name for report in reports for one in report.verdicts)
    for name in properties:
        table.add_row(name, *(_cell(report, name) for report in reports))
    fatal = [min((one.size for one in report.fatal_sets), default=0) for report in reports]
    table.add_row("failures that end quorum", *map(str, fatal))
    table.add_row(
        "nodes needed to start", *(str(min(map(len, report.cold_start), default=0)) for report in reports)
    )
    out = console()
    with out.capture() as captured:
        out.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().rstrip().splitlines()))


def _cell(report: Report, name: str) -> str:
    verdict: Verdict | None = next((one for one in report.verdicts if one.name == name), None)
    return "" if verdict is None else verdict.answer


def story_lines(story: Story) -> Iterator[str]:
    """A story, with two lines for each step."""
    for number, step in enumerate(folded(story)):
        yield f"{number:4}. {step.text}"
        yield f"      {situation(step)}"


def print_section(title: str, lines: Iterable[str]) -> None:
    """Print a title with lines below it; nothing if there are no lines."""
    shown = list(lines)
    if shown:
        click.echo(title)
        for line in shown:
            click.echo(f"  {printable(line)}")
        click.echo()


def _print_failures(report: Report) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 2), title_justify="left")
    has_others = any(failure.alike > 1 for failure in report.failures)
    for title in ("if these fail", "these stay quorate", *(["same for others"] if has_others else [])):
        table.add_column(title)
    for failure in report.failures[:_ROWS]:
        others = [str(failure.alike - 1 or "")] if has_others else []
        table.add_row(str(failure), _goes_on(failure), *others)
    out = console()
    with out.capture() as captured:
        out.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().rstrip().splitlines()))
    if len(report.failures) > _ROWS:
        click.echo(f"  ... and {len(report.failures) - _ROWS} more: see --json")
    fatal = "; ".join(f"{one}{and_others(one.alike)}" for one in report.fatal_sets[:_SETS])
    more = " ..." if len(report.fatal_sets) > _SETS else ""
    click.echo(f"  Smallest sets of failures that end quorum: {fatal}{more}\n")


def _goes_on(failure: Failure) -> Text:
    if failure.is_fatal:
        return Text("none", "bold red")
    return Text(" ".join(map(str, failure.goes_on)), "green")


def _print_verdict(verdict: Verdict, remedies: Sequence[Remedy]) -> None:
    out = console()
    style = _STYLES[verdict.outcome] if verdict.is_bad else "cyan"
    out.print(Text.assemble((verdict.name, "bold"), ": ", (verdict.answer, style)))
    click.echo(f"  ({verdict.meaning})")
    click.echo(f"  {printable(verdict.text)}")
    for what in verdict.not_looked_at:
        click.echo(f"  not looked at: {what}")
    for way, story in zip(_WAYS, verdict.stories, strict=False):
        if len(verdict.stories) > 1:
            click.echo(f"  {way}:")
        for line in story_lines(story):
            click.echo(line)
    for remedy in remedies:
        still = f" (still: {', '.join(remedy.still_bad)})" if remedy.still_bad else ""
        click.echo(f"  remedy, checked: {remedy.text}{still}")
    click.echo()


def _effort(report: Report) -> str:
    effort = report.effort
    rate = f"{effort.states} states, {effort.changes} changes, {effort.seconds:.1f} s"
    within = "" if effort.faults is None else f" (faults: up to {effort.faults})"
    windows = "" if effort.windows_in_order else "; windows that run pass together"
    return f"{effort.stopped}{within}: {rate}; looked at: {effort.reach}{windows}"
