"""Files and functions have a size that suits a reader: no fragments, and nothing that needs scrolling."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.house import PACKAGE, ROOT

LEAST_LINES = 40
MOST_FUNCTION_LINES = 50
"""One screen, including the docstring."""

SHORT: Mapping[str, str] = {
    "cli/votes.py": "imports votequorum, which `common` must not: some subcommands do not need it",
    "daemon/limits.py": "a table of all limits",
    "exception_groups.py": "both halves of libqb need it, and neither may import the other",
}
"""Files with fewer lines than `LEAST_LINES`, and why. Packages' `__init__` and subcommands need no reason."""


def files() -> dict[str, str]:
    """The package's files, and their text."""
    package = ROOT / PACKAGE
    return {str(path.relative_to(package)): path.read_text() for path in sorted(package.rglob("*.py"))}


def is_subcommand(text: str) -> bool:
    return "\ndef command(" in text


def long_functions(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno
            if node.end_lineno - node.lineno >= MOST_FUNCTION_LINES:
                yield node.name


def test_a_short_file_has_a_reason() -> None:
    short = {
        name
        for name, text in files().items()
        if len(text.splitlines()) < LEAST_LINES
        and not Path(name).name.startswith("__")
        and not is_subcommand(text)
    }
    assert short == set(SHORT), "merge it, or explain in SHORT why it stands alone"


def test_no_function_needs_scrolling() -> None:
    long = {f"{name}: {function}" for name, text in files().items() for function in long_functions(text)}
    assert long == set()
