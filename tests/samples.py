"""Runs programs printed in documents, as readers would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from .real.host import ROOT, Host
from .real.waiting import DEADLINE

_ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(ROOT)}

_WITHOUT_PLUGINS: Final = [
    f"-pno:{name}" for name in ("anyio", "asyncio", "hypothesispytest", "trio", "xdist")
]
"""A test that needs none of these plugins starts faster."""


def program_on(host: Host, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end on a host."""
    return subprocess.run(
        host.command([sys.executable, "-c", program]),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def pytest_on(program: str, directory: Path) -> str:
    """Write a file of tests to an empty directory, run pytest on it, and return the output."""
    (directory / "test_sample.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *_WITHOUT_PLUGINS, str(directory)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        cwd=directory,
        env=_ENVIRONMENT,
    )
    return done.stdout
