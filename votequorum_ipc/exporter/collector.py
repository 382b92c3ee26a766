"""The collector that Prometheus's client library calls at each scrape.

Strategy: `prometheus_client` needs a collector whose `collect` yields families. This one asks for an overview
and turns it into families by the table in `metrics`. It describes nothing beforehand: that would ask corosync
at the start.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ..overview import Overview
from .metrics import METRICS, Metric, Snapshot

_RING_ID = "ring_id"

Family = CounterMetricFamily | GaugeMetricFamily


class CorosyncCollector(Collector):
    """One node's corosync."""

    def __init__(self, ask: Callable[[], Overview], *, ring_id: bool = False) -> None:
        """`ask` returns a current overview. With `ring_id`, `rings` has that label, new at each
        membership."""
        self._ask = ask
        self._errors: collections.Counter[str] = collections.Counter()
        self._plan = [_planned(metric, ring_id=ring_id) for metric in METRICS]

    def describe(self) -> Iterable[Family]:
        """Nothing: the metrics are described at each scrape."""
        return []

    def collect(self) -> Iterable[Family]:
        """The families that have samples."""
        overview = self._ask()
        self._errors.update(overview.errors.keys())
        snapshot = Snapshot(overview, self._errors)
        for metric, make, kept in self._plan:
            samples = list(metric.samples(snapshot))
            if not samples:
                continue
            family = make()
            for values, sample in samples:
                family.add_metric([_utf8(values[number]) for number in kept], sample)
            yield family


def _planned(metric: Metric, *, ring_id: bool) -> tuple[Metric, Callable[[], Family], Sequence[int]]:
    """A metric, the function that makes its family, and the labels that are kept."""
    kept = [number for number, label in enumerate(metric.labels) if label != _RING_ID or ring_id]
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    labels = [metric.labels[number] for number in kept]
    return metric, partial(kind, metric.name, metric.meaning, labels=labels), kept


def _utf8(text: str) -> str:
    """A name as valid UTF-8: names come from corosync.conf and may be anything."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def registry_of(collector: CorosyncCollector) -> CollectorRegistry:
    """A registry with this collector and nothing else."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry
