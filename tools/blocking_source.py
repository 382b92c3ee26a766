"""Writes the blocking clients, `votequorum_ipc/blocking/`, from the asynchronous ones.

  python tools/blocking_source.py          write the files
  python tools/blocking_source.py --check  list the outdated files; exit code 1 if there are any

Strategy: each public `async def` of a client class becomes a method with the same name, parameters,
annotations and docstring, plus a `timeout`. It returns what the coroutine returns. Where the texts must
differ, a table here says so. The base class of all clients, `Handle`, is written by hand.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "votequorum_ipc"
TARGET = SOURCE / "blocking"

CLIENTS = {"votequorum": "Votequorum", "quorum": "Quorum", "cmap": "Cmap", "cfg": "Cfg"}
"""Module: class."""

WORDS = [
    ("plain or async functions of one event", "functions of one event"),
    ("Awaitable[None] | None", "None"),
    ("async with await ", "with "),
    ("await ", ""),
    ("async for ", "for "),
    ("Any number of tasks may call at once. Cancelling a call leaves the handle usable.", ""),
]
"""Wording that differs in a program without an event loop."""


def reworded(text: str) -> str:
    """A text of the asynchronous class, worded for the blocking one."""
    for before, after in WORDS:
        text = text.replace(before, after)
    return text


def source(module: str) -> str:
    """The blocking module, not formatted yet."""
    tree = ast.parse((SOURCE / f"{module}.py").read_text())
    name = CLIENTS[module]
    [cls] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    [base] = [ast.unparse(base) for base in cls.bases]
    body = "\n".join(textwrap.indent(part, "    ") for part in _members(cls, name))
    imports = "\n".join(_imports(tree, module, {*_names(f"class _({base}):\n{body}")}))
    return f'''"""{_opening(name, module)}"""

from __future__ import annotations

{imports}
from ..{module} import {name} as Async{name}
from .handle import Handle, call


class {name}({base}):
    """{_opening(name, module)}

    It belongs to the thread that made it, and makes one call at a time. See `Handle` for `timeout`.
    """

    _handle: Async{name}

{body}
'''


def _opening(name: str, module: str) -> str:
    return f"A blocking handle on the {module} service: `votequorum_ipc.{name}` without an event loop."


def _names(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name):
            yield node.id


def _imports(tree: ast.Module, module: str, wanted: set[str]) -> Iterator[str]:
    """The source's imports of those names, one level deeper; names it defines come from the source itself."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            names = sorted(
                alias.name for alias in node.names if alias.name in wanted and alias.name != "Handle"
            )
            found |= set(names)
            if names:
                dots = "." * (node.level + 1 if node.level else 0)
                yield f"from {dots}{node.module or ''} import {', '.join(names)}"
    own = {
        target.id if isinstance(target, ast.Name) else "" for node in tree.body for target in _targets(node)
    } | {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    if names := sorted((own & wanted) - found - {CLIENTS[module]}):
        yield f"from ..{module} import {', '.join(names)}"


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign) else []


def _members(cls: ast.ClassDef, name: str) -> Iterator[str]:
    for at, node in enumerate(cls.body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if not node.target.id.startswith("_"):
                yield _attribute(node, cls.body[at + 1])
        elif isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield _method(node, name)


def _attribute(node: ast.AnnAssign, text: ast.stmt) -> str:
    assert isinstance(node.target, ast.Name)
    doc = ast.unparse(text)[1:-1] if isinstance(text, ast.Expr) else ""
    return (
        f"@property\ndef {node.target.id}(self) -> {ast.unparse(node.annotation)}:\n"
        f'    """{doc}"""\n    return self._handle.{node.target.id}\n'
    )


def _method(node: ast.AsyncFunctionDef, name: str) -> str:
    is_class_method = any(ast.unparse(each) == "classmethod" for each in node.decorator_list)
    passed = [*(arg.arg for arg in node.args.args[1:])]
    passed += [f"{arg.arg}={arg.arg}" for arg in node.args.kwonlyargs]
    node.args.kwonlyargs.append(ast.arg("timeout", ast.parse("float | None", mode="eval").body))
    node.args.kw_defaults.append(ast.Constant(None))
    head = f"def {node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns or ast.Constant(None))}:"
    doc = ast.get_docstring(node, clean=True) or ""
    # A docstring of several lines has its closing quotes on a separate line.
    doc += "\n" if "\n" in doc else ""
    target = f"Async{name}" if is_class_method else "self._handle"
    result = f"call({target}.{node.name}({', '.join(passed)}), timeout)"
    if is_class_method:
        result = f"cls({result})"
    returns = "" if ast.unparse(node.returns or ast.Constant(None)) == "None" else "return "
    lines = ["@classmethod"] if is_class_method else []
    lines += [reworded(head), textwrap.indent(f'"""{reworded(doc)}"""', "    "), f"    {returns}{result}", ""]
    return "\n".join(lines)


def formatted(text: str) -> str:
    """The text, formatted by ruff."""
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--fix", "--quiet", "--select", "I"], ["format"]):
        text = subprocess.run(
            [*ruff, *command, "--stdin-filename", str(TARGET / "client.py"), "-"],
            input=text,
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
        ).stdout
    return text


def main() -> int:
    """Write the files, or compare them."""
    outdated = []
    for module in CLIENTS:
        text, path = formatted(source(module)), TARGET / f"{module}.py"
        if path.exists() and path.read_text() == text:
            continue
        outdated.append(path)
        if "--check" not in sys.argv:
            path.write_text(text)
    for path in outdated:
        print(path.relative_to(ROOT))
    return int("--check" in sys.argv and bool(outdated))


if __name__ == "__main__":
    sys.exit(main())
