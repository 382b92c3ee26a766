"""One line for each cut, from one side's announcement to the other's: red while both sides say QUORATE.

matplotlib is in the `bench` extra, so it is imported only for drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from .figures import Cut, Series

_INK: Final = "#24292f"
_BOTH: Final = "#cf222e"
_NEITHER: Final = "#1a7f37"
_BOUND: Final = "#9aa4af"
_STYLE: Final[Any] = {
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#d0d7de",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "figure.facecolor": "#ffffff",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "votequorum_ipc",
}


def draw(series: Sequence[Series], file: Path) -> None:
    """Write an SVG with a panel for each series."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with mpl.rc_context(_STYLE):
        figure, panels = plt.subplots(
            len(series), 1, figsize=(8, 2.4 * len(series) + 0.6), layout="constrained", squeeze=False
        )
        for axes, one in zip(panels[:, 0], series, strict=True):
            _panel(axes, one)
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=1, frameon=False, fontsize=9)
        figure.savefig(file, metadata={"Date": None})
        plt.close(figure)


def _panel(axes: Any, series: Series) -> None:
    cuts = sorted(series.cuts, key=lambda cut: cut.overlap)
    others = [cut.others_announced for cut in cuts]
    axes.hlines(
        range(len(cuts)), others, [_stopped(cut) for cut in cuts], colors=[_colour(cut) for cut in cuts]
    )
    axes.axvline(
        series.bound, color=_BOUND, linestyle="--", linewidth=1, label="token + consensus after the cut"
    )
    axes.scatter(others, range(len(cuts)), s=9, color=_INK, label="the others say: quorate without the node")
    for colour, label in (
        (_BOTH, "the cut-off node stops saying QUORATE: after the others, both said it"),
        (_NEITHER, "the cut-off node stops saying QUORATE: before the others"),
    ):
        rows = [row for row, cut in enumerate(cuts) if _colour(cut) == colour]
        axes.scatter([_stopped(cuts[row]) for row in rows], rows, s=9, color=colour, marker="D", label=label)
    axes.set_title(series.title, loc="left", fontsize=10, weight="bold")
    axes.set_xlabel("seconds after the cut")
    axes.set_ylabel(f"{len(cuts)} cuts")
    axes.set_yticks([])
    axes.set_xlim(left=0)


def _stopped(cut: Cut) -> float:
    return cut.others_announced + cut.overlap


def _colour(cut: Cut) -> str:
    return _BOTH if cut.overlap > 0 else _NEITHER
