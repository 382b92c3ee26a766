"""The operators make the right mutants, and the report judges survivors correctly."""

from __future__ import annotations

from pathlib import Path

import pytest

from .operators import mutants
from .plan import PLAN
from .report import Result, noticed, text
from .running import PACKAGE, ROOT, Fate

SOURCE = '''
def least(values: list[int], other: bool = True) -> int:
    """Docstring: 1 < 2."""
    found = values[0]
    for value in values:
        if value < found and other:
            found = value
    note(found)
    return found
'''


def test_no_two_mutants_are_the_same() -> None:
    sources = [each.source for each in mutants(SOURCE)]
    assert len(set(sources)) == len(sources) > 5


@pytest.mark.parametrize(
    "change",
    ["`value < found` becomes `value <= found`", "`note(found)` becomes `pass`", "`True` becomes `False`"],
)
def test_comparisons_statements_and_constants_are_changed(change: str) -> None:
    assert f"least: {change}" in [each.name for each in mutants(SOURCE)]


def test_texts_and_annotations_are_left_alone() -> None:
    assert all("Docstring: 1 < 2." in each.source for each in mutants(SOURCE))
    assert all("values: list[int]" in each.source for each in mutants(SOURCE))


@pytest.mark.parametrize("module", ["ipc/waiting.py", "qdevice/schedule.py"])
def test_the_mutants_of_a_module_have_unique_names_and_compile(module: str) -> None:
    every = mutants((ROOT / PACKAGE / module).read_text())
    assert len({each.name for each in every}) == len(every) > 20
    for each in every:
        compile(each.source, module, "exec")


def test_every_planned_module_and_its_tests_exist() -> None:
    paths = [
        *(Path(PACKAGE, module) for module in PLAN),
        *(Path(test) for tests in PLAN.values() for test in tests),
    ]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_a_survivor_without_a_judgement_needs_a_test() -> None:
    mutant = mutants(SOURCE)[0]
    results = [Result("ipc/waiting.py", mutant, fate) for fate in (Fate.SURVIVED, Fate.NOTICED)]
    assert noticed(results) == 0.5
    assert "**needs a test**" in text(results, seed=0)
