"""How long a year quorum is missing, drawn as SVG: the curve over the probability that a node is down.

Strategy: an SVG in the page, made of text, needs no plotting library and nothing from the network, follows
the page's colours and prints sharply. Both axes are logarithmic. The dashed line is a single node without a
cluster, to compare with; the dot is what was asked for.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from math import log10
from typing import Final

from .likely import Availability, Estimate

_LEAST, _MOST = -4, -0.5
"""Powers of ten of the probability that a node is down, from left to right."""

_POINTS: Final = 36
_WIDTH: Final = 480
_HEIGHT: Final = 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 12, 44
_YEAR: Final = 365.25 * 24 * 60

_TIMES: Final = {
    1 / 60: "1 second",
    1: "1 minute",
    60: "1 hour",
    24 * 60: "1 day",
    30 * 24 * 60: "30 days",
}
"""Marks of the upright axis, in minutes a year."""


def plot(estimate: Estimate) -> str:
    """The picture, as an `svg` element."""
    points = [10 ** (_LEAST + (_MOST - _LEAST) * at / _POINTS) for at in range(_POINTS + 1)]
    line = _line(points, [_minutes(found) for found in estimate.curve(points)])
    single = _line(points, [point * _YEAR for point in points])
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"<title>Time a year without quorum, by how likely a node is down</title>{''.join(_axes())}"
        f'<polyline class="single" points="{single}"/><polyline class="line" points="{line}"/>'
        f"{_dot(estimate)}</svg>"
    )


def _minutes(found: Availability) -> float:
    return found.minutes_a_year


def _x(point: float) -> float:
    return _LEFT + (log10(point) - _LEAST) / (_MOST - _LEAST) * (_WIDTH - _LEFT - _RIGHT)


def _y(minutes: float) -> float:
    low, high = log10(min(_TIMES)), log10(_YEAR)
    place = (min(max(log10(max(minutes, 1e-9)), low), high) - low) / (high - low)
    return _HEIGHT - _BOTTOM - place * (_HEIGHT - _TOP - _BOTTOM)


def _line(points: Sequence[float], minutes: Sequence[float]) -> str:
    return " ".join(f"{_x(point):.1f},{_y(value):.1f}" for point, value in zip(points, minutes, strict=True))


def _axes() -> Iterator[str]:
    floor = _HEIGHT - _BOTTOM
    for minutes, words in _TIMES.items():
        y = _y(minutes)
        yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{html.escape(words)}</text>'
    for power in range(_LEAST, 0):
        x = _x(10**power)
        yield f'<path class="grid" d="M{x:.1f} {_TOP}V{floor}"/>'
        yield f'<text x="{x:.1f}" y="{floor + 16}" text-anchor="middle">{100 * 10**power:g} %</text>'
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield f'<text x="{middle:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">how likely each node is down</text>'


def _dot(estimate: Estimate) -> str:
    node = estimate.chances.node
    if not 10**_LEAST <= node <= 10**_MOST:
        return ""
    return f'<circle class="dot" cx="{_x(node):.1f}" cy="{_y(_minutes(estimate.found)):.1f}" r="5"/>'
