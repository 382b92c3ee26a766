"""`votequorum-ipc health`: one line and an exit code, as in the Monitoring Plugins' guidelines.

Strategy: a table of figures, each with a range in which all is well. A figure outside its range is a problem
and has a sentence. The worst problem decides the exit code, and the sentences make up the line. If a figure
with a range is unknown, the state is UNKNOWN, unless something is worse. Quorum comes first: without quorum
the state is CRITICAL, and if quorum is unknown it is UNKNOWN. Source:
https://www.monitoring-plugins.org/doc/guidelines.html.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import click

from ..errors import CsError
from ..explain import configuration_warnings, connectivity_remarks, nodes_label, why_not_quorate
from ..overview import Observer, Overview
from ..types import ClusterStatus
from .common import (
    DEFAULT_TIMEOUT,
    FunctionT,
    options,
    print_json,
    printable,
    run_without_loop,
    timeout_option,
    utc_now,
)
from .json_values import error_json


class HealthState(enum.IntEnum):
    """The exit codes and their words."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


_WORST_FIRST: Final = (HealthState.CRITICAL, HealthState.WARNING, HealthState.UNKNOWN, HealthState.OK)


@dataclass(frozen=True, slots=True)
class Range:
    """A figure's allowed values in the guidelines' notation: "10" is 0 to 10, "1:" from 1, "@2:4" not 2 to
    4."""

    text: str
    low: float
    high: float
    inverted: bool

    @classmethod
    def parse(cls, text: str) -> Range:
        """Raises `ValueError` if the text is not a range."""
        match = _RANGE.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a range: write 10, 1:, ~:5, 1:5 or @1:5")
        inverted, low, high = match["at"], match["low"], match["high"]
        lowest = float("-inf") if low == "~" else float(low or 0)
        highest = float(high) if high else float("inf")
        if lowest > highest:
            raise ValueError(f"{text!r} is not a range: it ends before it begins")
        return cls(text, lowest, highest, bool(inverted))

    def allows(self, value: float) -> bool:
        """Whether a value raises no alert."""
        return (self.low <= value <= self.high) is not self.inverted


_NUMBER: Final = r"-?\d+(?:\.\d+)?"
_RANGE: Final = re.compile(rf"(?P<at>@)?(?:(?P<low>~|{_NUMBER})?:)?(?P<high>{_NUMBER})?(?<!^)")


@dataclass(frozen=True, slots=True)
class Reading:
    """The source of the figures."""

    overview: Overview
    status: ClusterStatus


@dataclass(frozen=True, slots=True)
class Figure:
    """A number shown as performance data, with a sentence for when it is out of range."""

    value: Callable[[Reading], float | None]
    """None if it is unknown."""
    sentence: Callable[[Reading], str]
    """The meaning of a value out of range."""
    warning: str = ""
    """The default range without a warning; empty if every value is fine."""
    unit: str = ""
    applies: Callable[[Reading], bool] = lambda _: True
    """Whether the figure applies to this cluster."""


def _total_votes(reading: Reading) -> float | None:
    return reading.status.info.total_votes if reading.status.info else None


def _margin(reading: Reading) -> float | None:
    return reading.status.margin.nodes if reading.status.margin else None


def _down(reading: Reading) -> list[str]:
    return [
        f"link {link.number} to node {link.node_id}"
        for link in reading.overview.links or ()
        if not link.status.connected
    ]


def _remarks(reading: Reading) -> list[str]:
    """How this node's links and its membership disagree."""
    return connectivity_remarks(reading.status, reading.overview.links or ())


def _latency(reading: Reading) -> float | None:
    """The slowest link's latency in milliseconds."""
    averages = [
        link.statistics.latency_ave
        for link in reading.overview.links or ()
        if link.status.connected and link.statistics and link.statistics.latency_ave
    ]
    return max(averages) / 1000 if averages else None


def _token_losses(reading: Reading) -> float | None:
    statistics = reading.overview.statistics
    return statistics.totem.token_losses if statistics and statistics.totem else None


def _device_votes(reading: Reading) -> float:
    device = reading.status.device
    return device.votes if device and device.casts_vote else 0


def _has_device(reading: Reading) -> bool:
    return reading.status.info is not None and reading.status.info.qdevice_votes > 0


def _many_nodes(reading: Reading) -> bool:
    return len(reading.status.configured) > 1


FIGURES: Final[Mapping[str, Figure]] = {
    "votes": Figure(
        _total_votes,
        lambda reading: f"{_total_votes(reading):g} votes are present",
    ),
    "margin": Figure(
        _margin,
        lambda reading: str(reading.status.margin),
        warning="1:",
        applies=_many_nodes,
    ),
    "missing": Figure(
        lambda reading: len(reading.status.missing),
        lambda reading: f"missing: {nodes_label(reading.status.missing)}",
        warning="0",
    ),
    "device_votes": Figure(
        _device_votes,
        lambda reading: "the quorum device does not vote on this node",
        warning="1:",
        applies=_has_device,
    ),
    "links_down": Figure(
        lambda reading: None if reading.overview.links is None else len(_down(reading)),
        lambda reading: f"not connected: {', '.join(_down(reading))}",
        warning="0",
        applies=_many_nodes,
    ),
    "connectivity": Figure(
        lambda reading: len(_remarks(reading)),
        lambda reading: "; ".join(_remarks(reading)),
        warning="0",
        # Where links are unknown, links_down says so.
        applies=lambda reading: bool(reading.overview.links),
    ),
    "latency": Figure(
        _latency,
        lambda reading: f"the slowest link takes {_latency(reading):.1f} ms",
        unit="ms",
        applies=_many_nodes,
    ),
    "token_losses": Figure(
        _token_losses,
        lambda reading: f"the token was lost {_token_losses(reading):g} times",
        unit="c",
    ),
    "configuration": Figure(
        lambda reading: len(configuration_warnings(reading.status)),
        lambda reading: "; ".join(configuration_warnings(reading.status).values()),
        warning="0",
    ),
}
"""Every figure, by its name in performance data, `--warning` and `--critical`."""

Ranges = Mapping[str, Range]


class _RangeOption(click.ParamType):  # type: ignore[type-arg]
    """FIGURE=RANGE."""

    name = "figure=range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, _, text = value.partition("=")
        if name not in FIGURES:
            self.fail(f"there is no figure {name!r}; the figures are {', '.join(FIGURES)}", param, ctx)
        try:
            return name, Range.parse(text) if text else None
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _range_option(name: str, help_text: str) -> Callable[[FunctionT], FunctionT]:
    kind = _RangeOption()
    return click.option(name, name[2:], multiple=True, type=kind, metavar="FIGURE=RANGE", help=help_text)


@click.command("health")
@_range_option(
    "--warning",
    "Warn if a figure is outside a range, such as margin=2: or latency=20. FIGURE= turns a default off. "
    f"Figures: {', '.join(FIGURES)}.",
)
@_range_option("--critical", "The same for the state CRITICAL.")
@timeout_option(DEFAULT_TIMEOUT)
@options
@click.pass_context
def command(
    context: click.Context,
    warning: tuple[tuple[str, Range | None], ...],
    critical: tuple[tuple[str, Range | None], ...],
    timeout: float,
    as_json: bool,
    address: str | None,
) -> None:
    """Summarise this node's cluster in one line: exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.

    CRITICAL: no quorum. WARNING: one more failure would end quorum, a node is missing, a link is down, links
    and membership disagree, the quorum device does not vote, or members' configurations differ. UNKNOWN:
    quorum is unknown.
    """
    defaults = {name: Range.parse(figure.warning) for name, figure in FIGURES.items() if figure.warning}
    health = judged(
        run_without_loop(_read(address, timeout), as_json=as_json),
        _given({**defaults, **dict(warning)}),
        _given(dict(critical)),
    )
    if as_json:
        print_json({"time": utc_now(), **health.shape()})
    else:
        click.echo(printable(health.line()))
    context.exit(health.state)


def _given(ranges: Mapping[str, Range | None]) -> Ranges:
    return {name: range_ for name, range_ in ranges.items() if range_ is not None}


async def _read(address: str | None, seconds: float) -> Reading | CsError:
    async with Observer(address, seconds=seconds) as observer:
        overview = await observer.read()
        if overview.status is None:
            return overview.errors["quorum"]
        return Reading(overview, overview.status)


@dataclass(frozen=True, slots=True)
class Health:
    """The state, why, and the figures with their ranges."""

    state: HealthState
    sentences: tuple[str, ...]
    figures: Mapping[str, float | None]
    warning: Ranges
    critical: Ranges
    error: CsError | None = None

    def line(self) -> str:
        """The state, the sentences, and the performance data."""
        text = f"QUORUM {self.state.name} - {'; '.join(self.sentences)}".replace("|", "/")
        data = [self._data(name, value) for name, value in self.figures.items() if value is not None]
        return f"{text} | {' '.join(data)}" if data else text

    def _data(self, name: str, value: float) -> str:
        ranges = [ranges[name].text if name in ranges else "" for ranges in (self.warning, self.critical)]
        return f"{name}={value:g}{FIGURES[name].unit};{ranges[0]};{ranges[1]};0"

    def shape(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "state": self.state.name,
            "sentences": self.sentences,
            "figures": self.figures,
            "warning": {name: range_.text for name, range_ in self.warning.items()},
            "critical": {name: range_.text for name, range_ in self.critical.items()},
            "error": self.error and error_json(self.error),
        }


def judged(reading: Reading | CsError, warning: Ranges, critical: Ranges) -> Health:
    """The state of a cluster according to these ranges; UNKNOWN for an error."""
    if isinstance(reading, CsError):
        return Health(HealthState.UNKNOWN, (str(reading),), {}, warning, critical, reading)
    figures = {name: figure.value(reading) for name, figure in FIGURES.items() if figure.applies(reading)}
    problems = (
        [(HealthState.OK, _summary(reading))] if reading.status.quorate else [_no_quorum(reading.status)]
    )
    for name, value in figures.items():
        state = _state(value, warning.get(name), critical.get(name))
        if state is HealthState.UNKNOWN:
            problems.append((state, f"{name} is unknown"))
        elif state is not HealthState.OK and (reading.status.quorate or name not in _PART_OF_NO_QUORUM):
            problems.append((state, FIGURES[name].sentence(reading)))
    states = [state for state, _ in problems]
    worst = min(states, key=_WORST_FIRST.index)
    return Health(worst, tuple(text for _, text in problems), figures, warning, critical)


_PART_OF_NO_QUORUM: Final = frozenset({"margin", "missing", "device_votes"})
"""Figures that the sentence about missing quorum already covers."""


def _no_quorum(status: ClusterStatus) -> tuple[HealthState, str]:
    return HealthState.CRITICAL, f"no quorum: {why_not_quorate(status)}"


def _summary(reading: Reading) -> str:
    info = reading.status.info
    votes = f"{info.total_votes} of {info.node_expected_votes} votes" if info else "votes unknown"
    margin = reading.status.margin
    if margin is None or not margin.nodes or not _many_nodes(reading):
        return f"quorate with {votes}"
    return f"quorate with {votes}, {margin}"


def _state(value: float | None, warning: Range | None, critical: Range | None) -> HealthState:
    if value is None:
        return HealthState.UNKNOWN if warning or critical else HealthState.OK
    if critical and not critical.allows(value):
        return HealthState.CRITICAL
    return HealthState.WARNING if warning and not warning.allows(value) else HealthState.OK
