"""The Python packages that the tests need, in a directory that every processor can import from.

Strategy: pyproject.toml says what is wanted. This machine's pip installs it for another Python version: only
pure Python, so that one directory serves each processor, and nothing is built or fetched inside a cell. A
package without a pure wheel (`uvloop`) is left out, and the tests that use it are skipped.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from .chroot import ROOT, CannotMake

_EXTRAS = ("cli", "fuzz", "test")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_PURE = ("--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none")


def wanted(pyproject: Path) -> list[str]:
    """What the package and its tests require, without the extras that name the package itself."""
    project = tomllib.loads(pyproject.read_text())["project"]
    extras = project["optional-dependencies"]
    every = [*project["dependencies"], *(need for extra in _EXTRAS for need in extras.get(extra, ()))]
    return [need for need in every if name_of(need) != project["name"]]


def name_of(requirement: str) -> str:
    """The package that a requirement such as "trio>=0.27" is for."""
    found = _NAME.match(requirement)
    return found[0] if found else requirement


def install(directory: Path, python: str) -> list[str]:
    """Fill `directory` for a Python version such as "3.13". Gives the names of packages that were left out.

    Raises `CannotMake` with pip's last line.
    """
    if directory.exists():
        shutil.rmtree(directory)
    requirements = wanted(ROOT / "pyproject.toml")
    left_out: list[str] = []
    if _pip(directory, python, requirements):
        left_out = [name_of(need) for need in requirements if _pip(directory, python, [need], "--dry-run")]
        shutil.rmtree(directory, ignore_errors=True)
        kept = [need for need in requirements if name_of(need) not in left_out]
        if problem := _pip(directory, python, kept):
            raise CannotMake(f"pip cannot install for Python {python}: {problem}")
    # For its entry points: the package itself is imported from the checkout, which comes first.
    if problem := _run([f"--target={directory}", "--no-deps", str(ROOT)]):
        raise CannotMake(f"pip cannot build the package: {problem}")
    return left_out


def _pip(directory: Path, python: str, requirements: Sequence[str], *options: str) -> str:
    return _run([f"--target={directory}", f"--python-version={python}", *_PURE, *options, *requirements])


def _run(arguments: Sequence[str]) -> str:
    """Run `pip install`; the last line of its complaint, empty where it had none."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stderr.strip().splitlines() or ["it failed without a word"]
    return lines[-1] if done.returncode else ""
