"""A soak's counts, a display of them during the run if rich is installed, and the final report."""

from __future__ import annotations

import contextlib
import importlib.util
import platform
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median_low


@dataclass
class Report:
    """The results of one soak so far."""

    minutes: float
    seed: int
    began: float = field(default_factory=time.monotonic)
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    memory: dict[str, list[int]] = field(default_factory=dict)
    """Kilobytes of each client process, after each of its rounds."""
    slowest: float = 0.0
    """Seconds of the slowest answered call."""
    violations: list[str] = field(default_factory=list)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def summary(self) -> str:
        """One line about the current state."""
        return (
            f"round {self.rounds}, {self.faults.total()} faults, {self.counts['calls answered']:,} calls, "
            f"{self.counts['events']:,} events, {self.checked['histories']:,} histories, "
            f"{len(self.violations)} violations"
        )

    def _growth(self) -> dict[str, str]:
        kept = [sizes for sizes in self.memory.values() if len(sizes) > 1]
        if not kept:
            return {}
        growth = sorted(sizes[-1] - sizes[1] for sizes in kept)
        longest = max(kept, key=len)
        return {
            "clients": f"{len(kept)}",
            "growth": f"median {median_low(growth):,} KiB, most {growth[-1]:,} KiB",
            "the one that lived longest": f"{len(longest)} rounds, {longest[1]:,} to {longest[-1]:,} KiB",
        }

    def text(self) -> str:
        """The report, in Markdown."""
        sections: dict[str, Mapping[str, object]] = {
            "Faults": self.faults,
            "Clients": self.counts,
            "Compared": self.checked,
            "Resident memory, from a client's second round to its last": self._growth(),
        }
        lines = [
            f"{self.elapsed / 60:.1f} minutes, {self.rounds} rounds, Python {platform.python_version()}, "
            f"seed {self.seed}; slowest answer {self.slowest:.2f} s",
            "",
        ]
        for title, values in sections.items():
            lines += [f"**{title}**", ""]
            lines += [f"- {name}: {_figure(value)}" for name, value in sorted(values.items())]
            lines.append("")
        lines += ["**Violations**", ""]
        lines += [f"- {violation}" for violation in self.violations] or ["none"]
        return "\n".join(lines)


def _figure(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


@contextlib.contextmanager
def display(report: Report) -> Iterator[None]:
    """Show progress on the terminal within the block; without a terminal or rich, print a line per minute."""
    ended = threading.Event()
    shower = threading.Thread(target=_shown_in_lines if _is_plain() else _shown_as_bar, args=(report, ended))
    shower.start()
    try:
        yield
    finally:
        ended.set()
        shower.join()


def _is_plain() -> bool:
    return not sys.stdout.isatty() or importlib.util.find_spec("rich") is None


def _shown_in_lines(report: Report, ended: threading.Event) -> None:
    while not ended.wait(60):
        print(f"{report.elapsed / 60:.0f} of {report.minutes:g} minutes: {report.summary()}", flush=True)


def _shown_as_bar(report: Report, ended: threading.Event) -> None:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()) as progress:
        task = progress.add_task("soak", total=report.minutes * 60)
        while not ended.wait(0.5):
            progress.update(task, completed=report.elapsed, description=report.summary())
