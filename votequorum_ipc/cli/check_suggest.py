"""`check --suggest`: the configurations that survive the given failures, best first."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from ..check import Progress, Reachability
from ..check.report_json import verdict_json
from ..check.suggest import Suggestion, Wanted, Wish, quorum_section, suggestions
from .check_options import site_fault
from .common import print_json


def nodes_wanted(nodeids: Sequence[int], count: int | None, sites: Sequence[Sequence[int]]) -> Sequence[int]:
    """The nodes of the cluster: those of a file, or nodes 1 to `count`, or those at the sites."""
    if nodeids:
        return nodeids
    if count is not None:
        return range(1, count + 1)
    return sorted({nodeid for site in sites for nodeid in site})


def suggest(
    wish: str,
    nodeids: Sequence[int],
    sites: Sequence[tuple[int, ...]],
    *,
    seconds: float,
    processes: int,
    as_json: bool,
) -> int:
    """Print the suggestions, and return the exit code. Raises `ValueError` for a senseless request."""
    if fault := site_fault(nodeids, sites):
        raise ValueError(fault)
    wanted = Wanted(Wish(wish), tuple(nodeids), tuple(sites))
    progress = _progress if sys.stderr.isatty() else None
    found = suggestions(wanted, seconds=seconds, processes=processes, progress=progress)
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    if as_json:
        print_json(
            {"wish": wanted.wish, "nodes": nodeids, "sites": sites, "suggestions": list(map(_json, found))}
        )
    else:
        click.echo(f"Wanted: {wanted}\n")
        click.echo("\n".join(map(_text, range(1, len(found) + 1), found)) if found else "Nothing was found.")
    return min((one.report.exit_code for one in found), key=(0, 3, 2).index, default=2)


def _progress(name: str, progress: Progress) -> None:
    click.echo(f"\r\033[K{name}: {progress.states} states, {progress.seconds:.0f} s", nl=False, err=True)


def _text(number: int, suggestion: Suggestion) -> str:
    lines = [f"{number}. {suggestion.name}"]
    lines += [f"   - {cost}" for cost in suggestion.costs]
    lines += [f"   {line}" for line in _verdicts(suggestion)]
    lines += [f"     {line}" for line in quorum_section(suggestion).splitlines()]
    return "\n".join([*lines, ""])


def _verdicts(suggestion: Suggestion) -> Iterator[str]:
    """The result of the check; properties with the same outcome share a line."""
    for outcome in Reachability:
        names = [one.name for one in suggestion.report.verdicts if one.is_bad and one.outcome is outcome]
        if names:
            yield f"checked, {outcome}: {', '.join(names)}"


def _json(suggestion: Suggestion) -> dict[str, Any]:
    return {
        "name": suggestion.name,
        "quorum": quorum_section(suggestion),
        "nodes_to_add": list(suggestion.nodeids_to_add),
        "costs": list(suggestion.costs),
        "device": suggestion.device,
        "failures_without_device": suggestion.without_device,
        "exit_code": suggestion.report.exit_code,
        "verdicts": [verdict_json(one, ()) for one in suggestion.report.verdicts],
    }
