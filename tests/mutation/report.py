"""The outcome of each mutant, by module, and what is known about the survivors.

Strategy: `judged.toml` lists survivors that need no test, each with the reason. Any other survivor needs a
test, and counts against the goal.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .operators import Mutant
from .running import Fate

JUDGED: Final = Path(__file__).parent / "judged.toml"

GOAL: Final = 0.95
"""The share of mutants that tests must notice, not counting those judged harmless."""

_COLUMNS: Final = ("noticed", "judged", "to be tested")


@dataclass(frozen=True)
class Result:
    """The fate of one mutant."""

    module: str
    mutant: Mutant
    fate: Fate


def judgements() -> dict[tuple[str, str], str]:
    """Why a survivor needs no test, by module and name."""
    entries = tomllib.loads(JUDGED.read_text()).get("survivor", [])
    return {(entry["module"], entry["mutant"]): entry["why"] for entry in entries}


def noticed(results: Iterable[Result]) -> float:
    """The share of noticed mutants, not counting those judged harmless; 1 if there are none."""
    known = judgements()
    counted = [each for each in results if (each.module, each.mutant.name) not in known]
    return sum(each.fate is not Fate.SURVIVED for each in counted) / len(counted) if counted else 1.0


def text(results: list[Result], seed: int) -> str:
    """The report, in Markdown."""
    known = judgements()
    lines = [f"Seed {seed}.", "", f"| module | mutants | {' | '.join(_COLUMNS)} |", "|---|--:|--:|--:|--:|"]
    for module in dict.fromkeys(each.module for each in results):
        count = Counter(_column(each, known) for each in results if each.module == module)
        cells = [count.total(), *(count[column] for column in _COLUMNS)]
        lines.append(f"| `{module}` | {' | '.join(map(str, cells))} |")
    for each in results:
        if each.fate is Fate.SURVIVED:
            why = known.get((each.module, each.mutant.name), "**needs a test**")
            lines += ["", f"`{each.module}` line {each.mutant.line}, {each.mutant.name}: {why}"]
    return "\n".join([*lines, "", f"Noticed, not counting judged ones: {noticed(results):.1%}"])


def _column(result: Result, known: dict[tuple[str, str], str]) -> str:
    if result.fate is not Fate.SURVIVED:
        return "noticed"
    return "judged" if (result.module, result.mutant.name) in known else "to be tested"
