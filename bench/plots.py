"""The pictures for the README, from a run's JSON: PNG and SVG.

They set a light background, so that they look the same on a dark page.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

_INK: Final = "#24292f"
_PAPER: Final = "#ffffff"
_OURS: Final = "#1f6feb"
_OTHERS: Final = "#9aa4af"
_NAMES: Final = {
    "ours": "votequorum_ipc",
    "C": "libvotequorum, C",
    "ctypes": "libvotequorum, ctypes",
    "quorumtool": "corosync-quorumtool -s, parsed",
}
_PLACEMENTS: Final = {
    "free": "scheduler's own",
    "one CPU": "all on one CPU",
    "two CPUs": "daemon on a\nCPU of its own",
}
_STYLE: Final[Any] = {
    "font.size": 11,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#d0d7de",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "figure.facecolor": _PAPER,
    "axes.facecolor": _PAPER,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "figure.constrained_layout.w_pad": 0.15,
    "figure.constrained_layout.h_pad": 0.15,
    "svg.hashsalt": "votequorum_ipc",
}

Rows = Mapping[str, Mapping[str, Any]]


def draw(report: Mapping[str, Any], stem: Path) -> list[Path]:
    """Write `<stem>.png` and `<stem>.svg`, unless the rows they show are missing."""
    rows: Rows = {row["key"]: row for row in report["rows"] if "sides" in row}
    if not {"quorumtool", "getinfo.median.free", "pipelined.free"} <= rows.keys():
        return []
    with mpl.rc_context(_STYLE):
        figure, (ask, many) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
        _draw_ask(ask, rows)
        _draw_many(many, rows)
        machine = report["machine"]
        figure.supxlabel(
            f"corosync {machine['corosync']}, Python {machine['python'].split()[-1]}, "
            f"{machine['CPUs']} CPUs {machine['processor']}; "
            f"medians of {report['rounds']} alternating rounds of {report['calls']} calls",
            fontsize=8.5,
        )
        files = [stem.with_suffix(suffix) for suffix in (".png", ".svg")]
        for file in files:
            plain = {"Date": None} if file.suffix == ".svg" else None
            figure.savefig(file, dpi=160, metadata=plain)
        plt.close(figure)
    return files


def _draw_ask(axes: Axes, rows: Rows) -> None:
    """One query, on a logarithmic scale: a subprocess takes hundreds of times longer."""
    sides = rows["getinfo.median.free"]["sides"]
    times = {name: sides[name] for name in _NAMES if name in sides}
    times["quorumtool"] = rows["quorumtool"]["sides"]["quorumtool"]
    names = sorted(times, key=lambda name: times[name], reverse=True)
    bars = axes.barh([_NAMES[name] for name in names], [times[name] for name in names], color=_colours(names))
    axes.bar_label(bars, [_duration(times[name]) for name in names], padding=4)
    axes.set_xscale("log")
    axes.set_xlim(1, max(times.values()) * 8)
    axes.set_xlabel("microseconds (logarithmic): less is better")
    axes.set_title("Time of one getinfo", loc="left", weight="bold", pad=42)
    axes.text(0, 1.1, "one after another, placed by the scheduler", transform=axes.transAxes, fontsize=9)
    axes.tick_params(axis="y", length=0)


def _draw_many(axes: Axes, rows: Rows) -> None:
    """Calls per second, by placement."""
    placements = [name for name in _PLACEMENTS if f"pipelined.{name}" in rows]
    height = 0.38
    for offset, side, label in (
        (height / 2, "ours", "votequorum_ipc, 32 tasks on one connection"),
        (-height / 2, "C", "libvotequorum in C, one after another"),
    ):
        rates = [rows[f"pipelined.{name}"]["sides"][side] / 1000 for name in placements]
        bars = axes.barh(
            [offset - i for i in range(len(placements))], rates, height, color=_colours([side]), label=label
        )
        axes.bar_label(bars, [f"{rate:.0f}k" for rate in rates], padding=4)
    axes.set_yticks([-i for i in range(len(placements))], [_PLACEMENTS[name] for name in placements])
    axes.set_xlabel("thousand calls a second: more is better")
    axes.set_title("Calls a second", loc="left", weight="bold", pad=42)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=9, borderaxespad=0.2)
    axes.margins(x=0.14)
    axes.tick_params(axis="y", length=0)


def _colours(names: list[str]) -> list[str]:
    return [_OURS if name == "ours" else _OTHERS for name in names]


def _duration(microseconds: float) -> str:
    return f"{microseconds:.0f} µs" if microseconds < 1000 else f"{microseconds / 1000:.0f} ms"
