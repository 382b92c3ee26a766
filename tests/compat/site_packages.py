"""The Python packages that the tests need, in a directory that a cell can import from.

Strategy: pyproject.toml says what is wanted. This machine's pip installs it for another Python version and
processor, from wheels alone, so nothing is built or fetched inside a cell. A package without one is left
out, and the tests that use it are skipped.
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

_SCRIPT = """#!/usr/bin/env python3
import sys
from {module} import {function}
sys.exit({function}())
"""
"""A command. pip would name this machine's Python in it, and does not add to a directory of commands."""

_EXTRAS = ("cli", "exporter", "live", "fuzz", "test")
_TOOLS = ("pip",)
"""What a virtual environment brings and a chroot of Debian lacks; the test of the wheel installs with it."""
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "s390x": "s390x", "i386": "i686"}
"""Debian's name of an architecture, and that of Python's wheels."""
_PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")


def wanted(pyproject: Path) -> list[str]:
    """What the package and its tests require, without the extras that name the package itself."""
    project = tomllib.loads(pyproject.read_text())["project"]
    extras = project["optional-dependencies"]
    every = [*project["dependencies"], *(need for extra in _EXTRAS for need in extras.get(extra, ()))]
    return [*(need for need in every if name_of(need) != project["name"]), *_TOOLS]


def name_of(requirement: str) -> str:
    """The package that a requirement such as "trio>=0.27" is for."""
    found = _NAME.match(requirement)
    return found[0] if found else requirement


def install(directory: Path, python: str, arch: str) -> list[str]:
    """Fill `directory` for a Python version such as "3.13" and an architecture such as "amd64".

    Gives the names of packages that were left out.

    Raises `CannotMake` with pip's last line.
    """
    if directory.exists():
        shutil.rmtree(directory)
    requirements = wanted(ROOT / "pyproject.toml")
    left_out: list[str] = []
    target = _target(directory, python, arch)
    if _pip(target, requirements):
        left_out = [name_of(need) for need in requirements if _pip([*target, "--dry-run"], [need])]
        shutil.rmtree(directory, ignore_errors=True)
        kept = [need for need in requirements if name_of(need) not in left_out]
        if problem := _pip(target, kept):
            raise CannotMake(f"pip cannot install for Python {python}: {problem}")
    # For its entry points: the package itself is imported from the checkout, which comes first.
    if problem := _run([f"--target={directory}", "--no-deps", str(ROOT)]):
        raise CannotMake(f"pip cannot build the package: {problem}")
    write_commands(ROOT / "pyproject.toml", directory / "bin")
    return left_out


def write_commands(pyproject: Path, directory: Path) -> None:
    """Write the package's commands, for the Python of whoever runs them."""
    directory.mkdir(exist_ok=True)
    for name, entry in tomllib.loads(pyproject.read_text())["project"]["scripts"].items():
        module, function = entry.split(":")
        command = directory / name
        command.write_text(_SCRIPT.format(module=module, function=function))
        command.chmod(0o755)


def _target(directory: Path, python: str, arch: str) -> list[str]:
    """The options of pip that name the directory, and the Python and processor that its wheels are for."""
    digits = python.replace(".", "")
    abis = (f"cp{digits}", "abi3", "none")
    platforms = [*(f"{name}_{_MACHINES[arch]}" for name in _PLATFORMS), "any"]
    return [
        f"--target={directory}",
        f"--python-version={python}",
        "--only-binary=:all:",
        "--implementation=cp",
        *(f"--abi={abi}" for abi in abis),
        *(f"--platform={platform}" for platform in platforms),
    ]


def _pip(target: Sequence[str], requirements: Sequence[str]) -> str:
    return _run([*target, *requirements])


def _run(arguments: Sequence[str]) -> str:
    """Run `pip install`; the last line of its complaint, empty where it had none."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stderr.strip().splitlines() or ["it failed without a word"]
    return lines[-1] if done.returncode else ""
