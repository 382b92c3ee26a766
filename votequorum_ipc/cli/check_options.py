"""The options of `check` that need more than a number, and the sections of its `--help`.

Strategy: there are many options, and few are used together, so `--help` groups them by purpose. The table
`SECTIONS` decides the order; a test checks that it is complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from ..check.likely import Chances, unavailability

SECTIONS: Final = {
    "What to check": ("running", "address", "device", "operator", "own"),
    "How far to look": ("faults", "seconds", "processes"),
    "What to print": ("as_json", "html", "no_remedies", "accepted"),
    "What to do with a story": ("replay", "vqsim", "confirm"),
    "How likely quorum is": ("down", "sites"),
    "Which configuration to choose": ("suggest", "nodes"),
}
"""The titles of `--help`, and the parameters below each; --help itself is in the last."""


class SectionedCommand(click.Command):
    """A command whose help has its options in `SECTIONS`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each title."""
        records = {
            param.name: record
            for param in self.get_params(ctx)
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)) is not None
        }
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([records.pop(name) for name in names])
        with formatter.section("Other"):
            formatter.write_dl(list(records.values()))


class SiteOption(click.ParamType):  # type: ignore[type-arg]
    """The ids of a site's nodes, such as 1,2."""

    name = "nodes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A tuple of node ids."""
        if isinstance(value, str) and re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", value):
            return tuple(sorted({int(nodeid) for nodeid in value.split(",")}))
        return self.fail(f"{value!r} is not a list of node ids such as 1,2", param, ctx)


_DOWN: Final = re.compile(r"(?:(?P<thing>node|site|link|device)(?P<number>\d+)?=)?(?P<value>[^=]+)")
_TIMES: Final = re.compile(r"(?P<mtbf>[\d.]+)(?P<every>[smhdy])/(?P<mttr>[\d.]+)(?P<within>[smhdy])")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "y": 365.25 * 86400.0}


@dataclass(frozen=True)
class Down:
    """One `--down`: the probability that something is down. `thing` "" means every node and the device."""

    thing: str
    number: int | None
    probability: float


class DownOption(click.ParamType):  # type: ignore[type-arg]
    """A probability, or MTBF/MTTR, for everything or for one kind of thing."""

    name = "[thing=]p"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A `Down`."""
        match = _DOWN.fullmatch(value) if isinstance(value, str) else None
        probability = None if match is None else _probability(match["value"])
        if match is None or probability is None or (match["thing"] == "device" and match["number"]):
            return self.fail(
                f"{value!r}: write a probability such as 0.01, or MTBF/MTTR such as 2000h/4h; to limit it, "
                "put node=, node3=, site=, site1=, link=, link1= or device= in front",
                param,
                ctx,
            )
        return Down(match["thing"] or "", int(match["number"]) if match["number"] else None, probability)


def _probability(text: str) -> float | None:
    """The probability, given as such or as MTBF/MTTR; None for anything else."""
    try:
        if times := _TIMES.fullmatch(text):
            mtbf = float(times["mtbf"]) * _SECONDS[times["every"]]
            return unavailability(mtbf, float(times["mttr"]) * _SECONDS[times["within"]])
        probability = float(text)
    except (ValueError, ZeroDivisionError):
        return None
    return probability if 0 <= probability <= 1 else None


def chances(told: Iterable[Down]) -> Chances:
    """All `--down` options together; a later one replaces an earlier one for the same thing."""
    fields: dict[str, Any] = {"nodes": {}, "sites": {}, "links": {}}
    for down in told:
        if down.number is not None:
            fields[f"{down.thing}s"][down.number] = down.probability
        elif down.thing:
            fields[down.thing] = down.probability
        else:
            fields["node"] = fields["device"] = down.probability
    return Chances(**fields)


def site_fault(nodeids: Sequence[int], sites: Sequence[Sequence[int]]) -> str:
    """What is wrong with `--site`; empty if every node is at exactly one site, or there are no sites."""
    listed = [nodeid for site in sites for nodeid in site]
    for nodeid in listed:
        if nodeid not in nodeids:
            return f"--site names node {nodeid}, which the cluster does not have"
        if listed.count(nodeid) > 1:
            return f"--site names node {nodeid} twice"
    missing = [nodeid for nodeid in nodeids if nodeid not in listed]
    return f"--site leaves out node {missing[0]}: name every node" if sites and missing else ""


def chances_fault(nodeids: Sequence[int], sites: Sequence[object], given: Chances) -> str:
    """What is wrong with `--down`; empty if the cluster has everything that it names."""
    areas = range(1, len(sites) + 1) if sites else nodeids
    for thing, numbers, known in (
        ("node", given.nodes, nodeids),
        ("link", given.links, areas),
        ("site", given.sites, areas if sites else ()),
    ):
        for number in numbers:
            if number not in known:
                return f"--down names {thing}{number}, which the cluster does not have"
    return "--down site= needs --site for each site" if given.site and not sites else ""
