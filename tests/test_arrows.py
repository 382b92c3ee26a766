"""The arrows of the house run downwards, and there are no circles. Both come from the code's own imports.

`ROOMS` is the order of the rooms, from the top. A module may import modules of its own room and of rooms
below it. grimp reads the imports out of the source, so an import inside a function counts like any other.
"""

from __future__ import annotations

import functools
import graphlib
from collections.abc import Iterable, Mapping

import grimp
import pytest

PACKAGE = "votequorum_ipc"
CHECKOUT = ("fuzz", "bench", "protocol_specs")
"""Packages of the checkout, which import the library and are imported by nothing in it."""

ROOMS: tuple[tuple[str, ...], ...] = (
    ("__main__", "cli", "exporter", "live"),  # what people run
    ("testing",),  # a simulated cluster for other programs' tests
    ("", "blocking"),  # the names that programs import: votequorum_ipc itself
    ("check",),  # what a configuration survives
    ("qdevice", "watch", "follow", "nodelist"),  # on top of the clients
    ("votequorum", "quorum", "cmap", "cfg"),  # the clients
    ("handle", "retry"),  # what the clients have in common
    ("daemon",),  # libqb's server half, and the services
    ("ipc", "exception_groups"),  # libqb's client half
    ("strategies",),  # hypothesis strategies
    ("attack",),  # the steps of a hostile client
    ("ring",),  # the shared-memory ring
    ("wire",),  # bytes and values
    ("cluster",),  # votequorum's rules
    ("sockets",),  # where a service's socket is
    ("types", "errors"),  # values and errors: these import nothing of ours
)
"""Rooms from the top down. "" is the package itself. Some rooms are planned and not built yet."""

ALONE: Mapping[str, frozenset[str]] = {
    "cluster": frozenset({"types", "errors"}),
    "check": frozenset({"cluster", "types", "errors"}),
    "wire": frozenset({"types", "errors"}),
    "ring": frozenset({"wire", "types", "errors"}),
    "ipc": frozenset({"ring", "wire", "sockets", "types", "errors", "exception_groups"}),
    "strategies": frozenset({"attack", "cluster", "wire", "sockets", "types", "errors"}),
    "daemon": frozenset({"cluster", "ring", "wire", "sockets", "types", "errors", "exception_groups"}),
    "sockets": frozenset({"errors"}),
    "types": frozenset({"errors"}),
    "errors": frozenset(),
}
"""Rooms that may import these others and nothing else, whatever is below them."""

Imports = Mapping[str, Iterable[str]]


def room(module: str) -> str:
    """The room of a module that is named without the package."""
    return module.partition(".")[0]


def level(module: str) -> int:
    """How far down a module's room is."""
    for number, rooms in enumerate(ROOMS):
        if room(module) in rooms:
            return number
    raise AssertionError(f"{PACKAGE}.{module} has no room: add {room(module)!r} to ROOMS")


def forbidden(imports: Imports) -> set[tuple[str, str]]:
    """The imports that lead upwards, or out of a room that stands alone."""
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
    """Modules that import one another in a circle, if there are any."""
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


@functools.cache
def graph(*packages: str) -> dict[str, frozenset[str]]:
    """Every module of the packages, and what it imports of them."""
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


def test_the_library_imports_nothing_of_the_checkout() -> None:
    everything = graph(PACKAGE, *CHECKOUT)
    upwards = {
        (module, imported)
        for module, others in everything.items()
        for imported in others
        if module.startswith(PACKAGE) and not imported.startswith(PACKAGE)
    }
    assert upwards == set()


def test_an_import_inside_of_a_function_counts() -> None:
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
