"""The table of metrics in docs/monitoring.md: `python -m tests.exporter.document` writes it from the code."""

from __future__ import annotations

import re
from typing import Final

from tests.real.host import ROOT
from votequorum_ipc.exporter.metrics import METRICS, Metric

DOCUMENT: Final = ROOT / "docs" / "monitoring.md"
ALERTS: Final = (ROOT / "contrib" / "monitoring" / "alerts.yml").read_text(encoding="utf-8")
_TABLE: Final = re.compile(r"(<!-- metrics -->\n)(.*?)(<!-- /metrics -->)", re.DOTALL)
_ALERT: Final = re.compile(r"- alert: (\w+)\n +expr: (.*)")

NAME: Final = re.compile(r"\bha_cluster_\w+")
"""A metric in an expression."""


def alerts() -> dict[str, set[str]]:
    """Each alert, and the metrics in its expression."""
    return {name: set(NAME.findall(expression)) for name, expression in _ALERT.findall(ALERTS)}


def table() -> str:
    """The table, in Markdown."""
    lines = ["| metric | type | labels | meaning | alerts |", "|---|---|---|---|---|"]
    lines += [_row(metric) for metric in METRICS]
    return "\n".join(lines) + "\n"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    used = ", ".join(name for name, metrics in alerts().items() if metric.name in metrics)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} | {used} |"


def document() -> str:
    """The document with an up-to-date table."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return _TABLE.sub(lambda found: f"{found[1]}{table()}{found[3]}", text, count=1)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
