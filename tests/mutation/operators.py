"""The possible changes to a module: one small change at a time, which alters what the code does.

Strategy: a table of swaps for operators, and a few rules for statements. The module is parsed again for each
mutant and written by `ast.unparse`, so that mutants do not affect one another. Docstrings, annotations,
texts, `__repr__` and code for the type checker are not changed.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

_COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}

Change = Callable[[ast.AST], ast.AST]
"""Takes a node of a fresh tree and returns its replacement."""


@dataclass(frozen=True)
class Mutant:
    """One change to one module."""

    where: str
    """The function or class, as a dotted name."""
    line: int
    what: str
    """The code before and after."""
    source: str
    """The whole module with the change."""

    @property
    def name(self) -> str:
        """A name that stays the same as long as the surrounding code does."""
        return f"{self.where}: {self.what}"


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a module, in line order. Mutants with the same name are numbered."""
    found: list[Mutant] = []
    alike: Counter[tuple[str, str]] = Counter()
    for number, (node, where) in enumerate(_places(ast.parse(source))):
        for change in _changes(node):
            tree = ast.parse(source)
            target = [each for each, _ in _places(tree)][number]
            before = _text(target)
            replacement = change(target)
            changed = _Replace(target, replacement).visit(tree)
            text = ast.unparse(ast.fix_missing_locations(changed))
            what = f"`{before}` becomes `{_text(replacement)}`"
            alike[where, what] += 1
            if alike[where, what] > 1:
                what += f", {alike[where, what]}"
            found.append(Mutant(where, getattr(node, "lineno", 0), what, text))
    return sorted(found, key=lambda mutant: mutant.line)


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self._target = target
        self._replacement = replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return self._replacement if node is self._target else self.generic_visit(node)


def _places(node: ast.AST, where: str = "module") -> Iterator[tuple[ast.AST, str]]:
    """The nodes that run, each with its function or class."""
    for child in _children(node):
        inside = where
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if child.name == "__repr__":
                continue
            inside = child.name if where == "module" else f"{where}.{child.name}"
        yield child, inside
        yield from _places(child, inside)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """The child nodes without annotations, docstrings, decorators, texts and code for the type checker."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "bases", "type_params"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_passive(child):
                yield child


def _is_passive(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return True
    return isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr)


def _changes(node: ast.AST) -> Iterator[Change]:
    for rule in (_of_comparison, _of_arithmetic, _of_logic, _of_constant, _of_statement):
        yield from rule(node)


def _of_comparison(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        for other in _COMPARISONS.get(type(node.ops[0]), ()):

            def swap(target: ast.AST, other: type[ast.cmpop] = other) -> ast.AST:
                assert isinstance(target, ast.Compare)
                return ast.Compare(target.left, [other(), *target.ops[1:]], target.comparators)

            yield swap


def _of_arithmetic(node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.BinOp | ast.AugAssign) or type(node.op) not in _ARITHMETIC:
        return
    other = _ARITHMETIC[type(node.op)]

    def swap(target: ast.AST) -> ast.AST:
        if isinstance(target, ast.BinOp):
            return ast.BinOp(target.left, other(), target.right)
        assert isinstance(target, ast.AugAssign)
        return ast.AugAssign(target.target, other(), target.value)

    yield swap


def _of_logic(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield lambda target: ast.BoolOp(other, target.values)  # type: ignore[attr-defined]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield lambda target: target.operand  # type: ignore[attr-defined]
    elif isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(
        node.test, ast.Compare | ast.UnaryOp
    ):
        yield _negated


def _negated(target: ast.AST) -> ast.AST:
    test = ast.UnaryOp(ast.Not(), target.test)  # type: ignore[attr-defined]
    if isinstance(target, ast.IfExp):
        return ast.IfExp(test, target.body, target.orelse)
    kind = ast.If if isinstance(target, ast.If) else ast.While
    return kind(test, target.body, target.orelse)  # type: ignore[attr-defined]


def _of_constant(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        other: float = not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        other = node.value + 1
    else:
        return
    yield lambda _: ast.Constant(other)


def _of_statement(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Expr | ast.AugAssign | ast.Raise | ast.Delete) or _sets_attribute(node):
        yield lambda _: ast.Pass()
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield lambda _: ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Break):
        yield lambda _: ast.Continue()
    elif isinstance(node, ast.Continue):
        yield lambda _: ast.Break()


def _sets_attribute(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _text(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(node)).splitlines()[0]
