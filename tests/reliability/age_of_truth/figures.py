"""The numbers of each cut, the JSON file that keeps them, and the summary for the document.

All times are seconds since the cut. The summary uses nearest-rank percentiles, so each figure is a measured
one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True)
class Cut:
    """One cut, in seconds since it was made."""

    node: int
    """The node that was cut off."""
    took: float
    """How long the command that cut took; time 0 is when it ended."""
    others_announced: float
    """When the first of the others announced a quorate partition without the node."""
    others_answered: float
    """When the first `getinfo` on one of the others no longer counted the node's vote."""
    announced: float
    """When the cut-off node announced that it is not quorate."""
    last_quorate_answer: float
    """When the cut-off node last answered `getinfo` with QUORATE."""

    @property
    def overlap(self) -> float:
        """How long both sides said QUORATE; negative if the cut-off node stopped first."""
        return max(self.announced, self.last_quorate_answer) - self.others_announced


@dataclass(frozen=True)
class Series:
    """Cuts of one cluster."""

    title: str
    totem: Mapping[str, int]
    """Effective timeouts in milliseconds, by their names in `runtime.config.totem`."""
    cuts: tuple[Cut, ...]

    @property
    def bound(self) -> float:
        """Seconds that totem allows from the last token to a new membership: token + consensus."""
        return (self.totem["token"] + self.totem["consensus"]) / 1000


ROWS: Final[Mapping[str, Callable[[Cut], float]]] = {
    "the others announce a quorate partition without the node": lambda cut: cut.others_announced,
    "the others' `getinfo` no longer counts its vote": lambda cut: cut.others_answered,
    "the cut-off node announces that it is not quorate": lambda cut: cut.announced,
    "the cut-off node's last `getinfo` that says QUORATE": lambda cut: cut.last_quorate_answer,
    "**both sides say QUORATE for** (negative: the cut-off node stopped first)": lambda cut: cut.overlap,
}


@dataclass(frozen=True)
class Spread:
    """Minimum, median, 90th percentile and maximum."""

    least: float
    median: float
    p90: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Takes at least one value."""
        ranked = sorted(values)
        return cls(ranked[0], _percentile(ranked, 50), _percentile(ranked, 90), ranked[-1])


def _percentile(ranked: Sequence[float], percent: int) -> float:
    return ranked[math.ceil(len(ranked) * percent / 100) - 1]


def table(series: Series) -> str:
    """The summary of a series in Markdown, in seconds."""
    lines = [
        f"{series.title}: {len(series.cuts)} cuts, token {series.totem['token']} ms, "
        f"consensus {series.totem['consensus']} ms, hold {series.totem['hold']} ms",
        "",
        "| seconds after the cut | min | median | p90 | max |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, value in ROWS.items():
        spread = Spread.of([value(cut) for cut in series.cuts])
        lines.append(
            f"| {name} | {spread.least:.3f} | {spread.median:.3f} | {spread.p90:.3f} | {spread.most:.3f} |"
        )
    both = sum(cut.overlap > 0 for cut in series.cuts)
    said = f"In {both} of {len(series.cuts)} cuts the cut-off node was the last to notice."
    return "\n".join([*lines, "", said])


def read(file: Path) -> dict[str, Series]:
    """The series in a file, by name; empty if the file does not exist yet."""
    if not file.exists():
        return {}
    return {
        name: Series(kept["title"], kept["totem"], tuple(Cut(**cut) for cut in kept["cuts"]))
        for name, kept in json.loads(file.read_text()).items()
    }


def write(file: Path, series: Mapping[str, Series]) -> None:
    """Write series to a file, rounded to microseconds, one line per cut."""
    parts = []
    for name, one in series.items():
        cuts = ",\n".join(f"    {json.dumps(_rounded(cut))}" for cut in one.cuts)
        head = f'"title": {json.dumps(one.title)}, "totem": {json.dumps(dict(one.totem))}'
        parts.append(f'  {json.dumps(name)}: {{\n    {head},\n    "cuts": [\n{cuts}\n  ]}}')
    file.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def _rounded(cut: Cut) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(cut).items()}
