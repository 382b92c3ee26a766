"""One name for one thing: a name that two modules of the package define means the same in both.

The names come from the source: classes, functions, constants and types at a module's top level, without type
variables. A name with an underscore belongs to one module. But two modules must not have the same value as a
private constant, as that is one fact written twice.

`votequorum_ipc.blocking` is left out: it repeats the names that it mirrors, and another test compares the
two.
"""

from __future__ import annotations

import ast
import collections
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

import votequorum_ipc
from votequorum_ipc import types

ROOT = Path(votequorum_ipc.__file__).parent

PARALLEL: Mapping[str, str] = {
    # Each module of a family has the same part.
    "BACKEND": "each way to wait has one",
    "COMMANDS": "the subcommands of a group",
    "EVENT_DECODERS": "each client's events",
    "MESSAGES": "each service's messages; strategies.messages has all of them",
    "SERVICE": "each client's service",
    "TRACKSTART": "each service has its own message of this name, as in C",
    "TRACKSTART_RESPONSE": "as TRACKSTART",
    "TRACKSTOP": "as TRACKSTART",
    "TRACKSTOP_RESPONSE": "as TRACKSTART",
    "VALUE_MAXLEN": "cmap.py makes the limit of wire/cmap.py public",
    "command": "each subcommand's; cli.common.Subcommands looks it up",
}
"""Names that several modules define on purpose, and why."""


Definitions = list[tuple[str, str]]
"""Names, with the source of a constant's value; "" for a function or a class."""


def defined(tree: ast.Module) -> Definitions:
    """What a module defines at its top level, including under `if` and `try`."""
    found: Definitions = []
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        match pending.pop():
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.append((name, ""))
            case ast.Assign(targets=targets, value=value):
                found += [(node.id, ast.unparse(value)) for node in _names(targets)]
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found.append((name, ast.unparse(value)))
            case ast.If(body=body, orelse=orelse) | ast.Try(body=body, orelse=orelse):
                pending += [*body, *orelse]
    return found


def _names(targets: Iterable[ast.expr]) -> Iterator[ast.Name]:
    for target in targets:
        yield from (node for node in ast.walk(target) if isinstance(node, ast.Name))


def shared(modules: Mapping[str, Definitions]) -> dict[str, list[str]]:
    """Public names that several modules define, and private constants with the same value in several."""
    where = collections.defaultdict(set)
    for module, definitions in modules.items():
        for name, value in definitions:
            if value.startswith(("TypeVar(", "ParamSpec(")):
                continue
            if not name.startswith("_"):
                where[name, ""].add(module)
            elif name.isupper() and not name.startswith("__"):
                where[name, value].add(module)
    return {name: sorted(found) for (name, _), found in where.items() if len(found) > 1}


def package() -> dict[str, Definitions]:
    """Every module of the package, and its definitions."""
    return {
        str(path.relative_to(ROOT).with_suffix("")): defined(ast.parse(path.read_text()))
        for path in sorted(ROOT.rglob("*.py"))
        if path.parent.name != "blocking"
    }


def test_no_name_has_two_meanings() -> None:
    doubtful = {name: where for name, where in shared(package()).items() if name not in PARALLEL}
    assert doubtful == {}, "rename one, share one, or explain in PARALLEL why both are right"


def test_every_value_can_be_imported_from_types() -> None:
    values = {
        name
        for module, definitions in package().items()
        if module.startswith("types/")
        for name, _ in definitions
        if not name.startswith("_")
    }
    assert values - {"TYPE_CHECKING"} == {name for name in dir(types) if name in types._MODULES}
    assert {getattr(types, name).__module__ for name in values if isinstance(getattr(types, name), type)} == {
        f"{types.__name__}.{module}" for module in types._NAMES
    }
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        types.Nothing  # noqa: B018


def test_every_name_in_the_list_of_parallel_names_is_defined_by_several_modules() -> None:
    assert set(PARALLEL) - set(shared(package())) == set()


@pytest.mark.parametrize(
    "source",
    ["def name(): ...", "class name: ...", "name = 1", "name: int = 1", "if 1:\n  name = 1", "_NAME = 1"],
)
def test_a_name_in_two_modules_is_noticed(source: str) -> None:
    definitions = defined(ast.parse(source))
    [(name, _)] = definitions
    assert shared({"one": definitions, "other": definitions}) == {name: ["one", "other"]}


@pytest.mark.parametrize("source", ["def _name(): ...", "import name", "for name in (): ...", "__all__ = []"])
def test_private_and_imported_names_are_not_counted(source: str) -> None:
    definitions = defined(ast.parse(source))
    assert shared({"one": definitions, "other": definitions}) == {}


def test_private_constants_may_have_one_name_and_different_values() -> None:
    modules = {module: defined(ast.parse(f"_NAME = {module!r}")) for module in ("one", "other")}
    assert shared(modules) == {}


def test_a_star_import_of_types_has_every_public_name() -> None:
    found: dict[str, object] = {}
    exec("from votequorum_ipc.types import *", found)
    assert {name for names in types._NAMES.values() for name in names} <= {*found}
