"""The arrows of the house run downwards, without circles. Both are checked on the code's own imports.

`house.ROOMS` is the order of the rooms, from the top. A module may import modules of its own room and of
lower rooms. grimp reads the imports from the source, so it also sees imports inside functions.
"""

from __future__ import annotations

import functools
import graphlib
import re
from collections.abc import Iterable, Mapping

import grimp
import pytest

from tests.house import ALONE, CHECKOUT, DOCUMENT, PACKAGE, ROOMS, ROOT, drawing, drawn

Imports = Mapping[str, Iterable[str]]


def room(module: str) -> str:
    """The room of a module, which is named without the package."""
    return module.partition(".")[0]


def level(module: str) -> int:
    """The level of a module's room, counted from the top."""
    for number, (rooms, _) in enumerate(ROOMS):
        if room(module) in rooms:
            return number
    raise AssertionError(f"{PACKAGE}.{module} has no room: add {room(module)!r} to ROOMS")


def forbidden(imports: Imports) -> set[tuple[str, str]]:
    """The imports that lead upwards, or from a room to one that `ALONE` does not allow."""
    return {
        (module, imported)
        for module, others in imports.items()
        for imported in others
        if room(module) != room(imported)
        and (
            level(imported) < level(module)
            or (room(module) in ALONE and room(imported) not in ALONE[room(module)])
        )
    }


def circle(imports: Imports) -> list[str]:
    """Modules that import one another in a circle, if there is one."""
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


@functools.cache
def graph(*packages: str) -> dict[str, frozenset[str]]:
    """Every module of the packages, with its imports from these packages."""
    built = grimp.build_graph(*packages, cache_dir=None)
    return {module: frozenset(built.find_modules_directly_imported_by(module)) for module in built.modules}


def library() -> dict[str, frozenset[str]]:
    """The library's imports, with names without the package."""

    def short(module: str) -> str:
        return module.removeprefix(PACKAGE).removeprefix(".")

    return {short(module): frozenset(map(short, others)) for module, others in graph(PACKAGE).items()}


def test_arrows_run_downwards() -> None:
    assert forbidden(library()) == set()


@pytest.mark.parametrize("packages", [(PACKAGE,), (PACKAGE, *CHECKOUT)], ids=["library", "checkout"])
def test_there_are_no_circles(packages: tuple[str, ...]) -> None:
    assert circle(graph(*packages)) == []


def test_the_library_imports_nothing_from_the_checkout() -> None:
    everything = graph(PACKAGE, *CHECKOUT)
    upwards = {
        (module, imported)
        for module, others in everything.items()
        for imported in others
        if module.startswith(PACKAGE) and not imported.startswith(PACKAGE)
    }
    assert upwards == set()


def test_an_import_inside_a_function_counts() -> None:
    # `votequorum_ipc.cli` imports its table of commands when it runs.
    assert "cli.app" in library()["cli"]


def test_an_arrow_that_runs_upwards_is_noticed() -> None:
    assert forbidden({"wire.layout": ["errors", "ipc.shm"]}) == {("wire.layout", "ipc.shm")}
    assert forbidden({"daemon.shm": ["ring", "ipc.shm"]}) == {("daemon.shm", "ipc.shm")}


def test_a_circle_is_noticed() -> None:
    assert set(circle({"a": ["b"], "b": ["c"], "c": ["a"]})) == {"a", "b", "c"}


def test_a_module_without_a_room_is_noticed() -> None:
    with pytest.raises(AssertionError, match="add 'attic' to ROOMS"):
        forbidden({"attic": ["wire"]})


def test_the_drawing_in_the_document_is_of_this_house() -> None:
    assert drawn() == DOCUMENT.read_text(encoding="utf-8"), "run python -m tests.house"
    assert drawing() in DOCUMENT.read_text(encoding="utf-8")


def test_the_document_describes_every_room() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    built = [
        path
        for path in (ROOT / PACKAGE).iterdir()
        if not path.name.startswith("_") and path.suffix in ("", ".py")
    ]
    names = [f"{path.name}/" if path.is_dir() else path.name for path in built]
    assert [name for name in names if f"`{name}`" not in text] == [], (
        "docs/architecture.md has tables of them"
    )


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_file_that_a_guide_names_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w.]+/)+[\w.]*|[\w]+\.(?:py|md|toml))`", text))
    assert named
    named = {path for path in named if not path.startswith("build/")}  # what `make` writes
    missing = {path for path in named if not any((root / path).exists() for root in (ROOT, ROOT / PACKAGE))}
    assert missing == set()
