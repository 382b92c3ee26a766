"""What people read of a check: rules, table, verdicts, stories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import click
from rich.table import Table
from rich.text import Text

from ..check import Failure, Reachability, Report, Story, Verdict
from ..check.remedies import Remedy
from ..check.story import StoryStep, folded
from .common import printable
from .tables import console

_STYLES: Final = {
    Reachability.CANNOT_HAPPEN: "green",
    Reachability.HAPPENS: "bold red",
    Reachability.NOT_WITHIN: "yellow",
    Reachability.UNSETTLED: "bold yellow",
}
_ROWS: Final = 24
"""Failures that the table shows; all are in --json."""


def print_report(report: Report, warnings: Sequence[str], remedies: Mapping[str, Sequence[Remedy]]) -> None:
    """Print a report."""
    _section("Rules in force", [*report.in_words, *_device(report)])
    _section("Switched off or ignored", [*warnings, *report.ignored])
    _print_failures(report)
    for verdict in report.verdicts:
        _print_verdict(verdict, remedies.get(verdict.name, ()))
    click.echo(_effort(report))


def story_lines(story: Story) -> Iterator[str]:
    """A story, two lines a step."""
    for number, step in enumerate(folded(story)):
        yield f"{number:4}. {step.text}"
        yield f"      {situation(step)}"


def situation(step: StoryStep) -> str:
    """Who is quorate, partition by partition."""
    parts = []
    for side in step.sides:
        members = " ".join(map(str, side.members))
        if side.quorate == side.members:
            parts.append(f"{{{members}}} quorate")
        elif side.quorate:
            parts.append(f"{{{members}}} of which only {' '.join(map(str, side.quorate))} quorate")
        else:
            parts.append(f"{{{members}}} not quorate{', waiting for all' if side.waiting_for_all else ''}")
    if step.down:
        parts.append(f"down: {' '.join(map(str, step.down))}")
    return "; ".join(parts)


def _section(title: str, lines: Iterable[str]) -> None:
    shown = list(lines)
    if shown:
        click.echo(title)
        for line in shown:
            click.echo(f"  {printable(line)}")
        click.echo()


def _device(report: Report) -> Iterator[str]:
    if report.device is not None:
        yield f"The device is taken to vote as: {report.device} (another kind: --device)."


def _print_failures(report: Report) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 2), title_justify="left")
    for title in ("if these fail", "who goes on", "and as many like it"):
        table.add_column(title)
    for failure in report.failures[:_ROWS]:
        alike = f"{failure.alike - 1}" if failure.alike > 1 else ""
        table.add_row(str(failure), _goes_on(failure), alike)
    out = console()
    with out.capture() as captured:
        out.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().rstrip().splitlines()))
    if len(report.failures) > _ROWS:
        click.echo(f"  ... and {len(report.failures) - _ROWS} more: see --json")
    fatal = "; ".join(map(str, report.fatal_sets[:6]))
    click.echo(f"  Least failures that end it: {fatal}{' ...' if len(report.fatal_sets) > 6 else ''}\n")


def _goes_on(failure: Failure) -> Text:
    if failure.is_fatal:
        return Text("nobody", "bold red")
    return Text(" ".join(map(str, failure.goes_on)), "green")


def _print_verdict(verdict: Verdict, remedies: Sequence[Remedy]) -> None:
    out = console()
    good = verdict.outcome is Reachability.HAPPENS and not verdict.is_bad
    style = "cyan" if good or not verdict.is_bad else _STYLES[verdict.outcome]
    out.print(Text.assemble((verdict.name, "bold"), ": ", (verdict.answer, style)))
    click.echo(f"  ({verdict.meaning})")
    click.echo(f"  {printable(verdict.text)}")
    for what in verdict.not_looked_at:
        click.echo(f"  not looked at: {what}")
    for story in verdict.stories:
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
