"""The picture in docs/monitoring.md, drawn by `python -m tests.exporter.pictures`: a simulated day.

Strategy: `day` makes the day. A real Prometheus evaluates the expressions of the dashboard and of the alerts
over it. matplotlib, from the extra `bench`, draws each panel where Grafana would put it.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import trio

from tests.real.host import ROOT
from tests.real.waiting import eventually

from . import day
from .document import ALERTS

PICTURE: Final = ROOT / "docs" / "monitoring-day.svg"
DASHBOARD: Final = json.loads((ROOT / "contrib" / "monitoring" / "dashboard.json").read_text())

_RULE: Final = re.compile(r"- alert: (\w+)\n +expr: (.*)")
_GOOD, _BAD, _INK, _LINE = "#1a7f37", "#cf222e", "#24292f", "#d0d7de"
_STYLE: Final[Any] = {
    "font.size": 8,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.titlesize": 9,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "votequorum_ipc",
    "svg.fonttype": "none",
}

Series = Sequence[tuple[str, Mapping[float, float]]]
"""Names, each with its values by the hour."""
Query = Callable[[str], list[Any]]


@contextlib.contextmanager
def prometheus_with(text: str) -> Iterator[Query]:
    """A Prometheus with the data of this OpenMetrics text; yields a function that queries the whole day."""
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        free.close()
        here = Path(directory)
        (here / "day").write_text(text)
        (here / "prometheus.yml").write_text("{}")
        blocks = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", "day", "data"]
        subprocess.run(blocks, cwd=here, check=True, stdout=subprocess.DEVNULL)
        argv = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
        argv += ["--storage.tsdb.retention.time=100y", f"--web.listen-address=127.0.0.1:{port}"]
        with subprocess.Popen([*argv, "--log.level=error"], cwd=here) as process:
            try:
                yield _asking(port)
            finally:
                process.terminate()


def _asking(port: int) -> Query:
    def ask(expression: str) -> list[Any]:
        end = day.BEGIN + (day.STEPS - 1) * day.STEP
        query = {"query": expression, "start": day.BEGIN, "end": end, "step": day.STEP}
        url = f"http://127.0.0.1:{port}/api/v1/query_range?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
        return found

    def ready() -> bool:
        with contextlib.suppress(OSError):
            return bool(ask("ha_cluster_scrape_success"))
        return False

    eventually(ready, otherwise="Prometheus answers")
    return ask


def series_of(query: Query, expression: str) -> Series:
    """The values of an expression over the day."""
    expression = expression.replace("$job", ".*").replace("$__rate_interval", f"{4 * day.STEP}s")
    return [(_label(each["metric"]), _by_hour(each["values"])) for each in query(expression)]


def _by_hour(values: Sequence[Sequence[Any]]) -> dict[float, float]:
    return {(float(time) - day.BEGIN) / 3600: float(value) for time, value in values}


def _label(metric: Mapping[str, str]) -> str:
    parts = [metric[key] for key in ("instance", "type", "state", "node") if metric.get(key)]
    link = metric.get("link")
    return " ".join(parts) + (f" link {link}" if link is not None else "")


def alerts_of(query: Query) -> Series:
    """Each alert, with 0 for the times at which its expression holds on some node."""
    found = []
    for name, expression in _RULE.findall(ALERTS):
        times: dict[float, float] = {}
        for each in query(expression.strip("'")):
            times |= dict.fromkeys(_by_hour(each["values"]), 0.0)
        found.append((name, times))
    return found


# --- drawing ---


def draw(query: Query, file: Path) -> None:
    """Write the picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = sorted({panel["gridPos"]["y"] for panel in DASHBOARD["panels"]})
    with mpl.rc_context(_STYLE):
        figure = plt.figure(figsize=(12, _ROW * (len(rows) + 1)))
        for panel in DASHBOARD["panels"]:
            place = panel["gridPos"]
            axes = _axes(figure, panel["type"], rows.index(place["y"]), len(rows) + 1, place["x"], place["w"])
            found = [one for target in panel["targets"] for one in series_of(query, target["expr"])]
            _PANELS[panel["type"]](axes, found)
            _finish(axes, panel["title"])
        axes = _axes(figure, "state-timeline", len(rows), len(rows) + 1, 0, _COLUMNS)
        _states(axes, alerts_of(query))
        _finish(axes, "Alerts: when their expressions hold on some node")
        figure.savefig(file, metadata={"Date": None})
        plt.close(figure)


_ROW: Final = 2.2
"""Inches."""

_COLUMNS: Final = 24
"""The width of Grafana's grid."""


def _axes(figure: Any, kind: str, row: int, rows: int, x: int, width: int) -> Any:
    """The place where Grafana has the panel, with room for its labels."""
    left = 3.2 if kind == "state-timeline" else 0.9
    bottom = 1 - (row + 1) / rows
    return figure.add_axes(
        ((x + left) / _COLUMNS, bottom + 0.2 / rows, (width - left - 0.3) / _COLUMNS, 0.62 / rows)
    )


def _finish(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlim(0, 24)
    axes.set_xticks(range(0, 25, 6), [f"{hour:02}:00" for hour in range(0, 25, 6)])


def _lines(axes: Any, series: Series) -> None:
    for name, values in series:
        axes.plot(*_changes(values), drawstyle="steps-post", linewidth=1, label=name)
    axes.set_ylim(bottom=0)
    if 0 < len(series) <= _MOST_NAMES:
        axes.legend(loc="upper left", fontsize=6, frameon=False, ncols=3)


_MOST_NAMES: Final = 9


def _changes(values: Mapping[float, float]) -> tuple[list[float], list[float]]:
    """The points of a line without those inside a constant level; a gap where there is no sample."""
    hours, found = [*values], [*values.values()]
    kept: list[tuple[float, float]] = []
    for number, (hour, value) in enumerate(zip(hours, found, strict=True)):
        gap = number and hour - hours[number - 1] > 1.5 * day.STEP / 3600
        if gap:
            kept.append((hours[number - 1], float("nan")))
        last = number + 1 == len(found)
        if gap or last or number == 0 or value != found[number - 1] or value != found[number + 1]:
            kept.append((hour, value))
    return [hour for hour, _ in kept], [value for _, value in kept]


def _states(axes: Any, series: Series) -> None:
    """A bar for each series: green where it is not 0, red where it is 0, empty where it is unknown."""
    step = day.STEP / 3600
    for row, (_, values) in enumerate(series):
        for colour, wanted in ((_GOOD, True), (_BAD, False)):
            hours = [hour for hour, value in values.items() if bool(value) is wanted]
            axes.broken_barh(_runs(hours, step), (row - 0.4, 0.8), color=colour)
    axes.set_yticks(range(len(series)), [name for name, _ in series], fontsize=6)
    axes.set_ylim(len(series) - 0.5, -0.5)


def _runs(hours: Sequence[float], step: float) -> list[tuple[float, float]]:
    """Start and length of each run of hours without a gap."""
    runs: list[tuple[float, float]] = []
    for hour in sorted(hours):
        if runs and hour - sum(runs[-1]) < step / 2:
            runs[-1] = (runs[-1][0], hour + step - runs[-1][0])
        else:
            runs.append((hour, step))
    return runs


_PANELS: Final[Mapping[str, Callable[[Any, Series], None]]] = {
    "stat": _lines,
    "timeseries": _lines,
    "state-timeline": _states,
}


def main() -> None:
    """Draw the picture again."""
    assert shutil.which("prometheus"), "Debian's package prometheus is not installed"
    with prometheus_with(trio.run(day.told)) as query:
        draw(query, PICTURE)


if __name__ == "__main__":
    main()
