"""Programs that documents print, run as their readers would run them."""

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
"""A test that needs none of them starts faster."""


def program_on(host: Host, program: str) -> subprocess.CompletedProcess[str]:
    """What a program, to its end, printed on a host."""
    return subprocess.run(
        host.command([sys.executable, "-c", program]),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def pytest_on(program: str, directory: Path) -> str:
    """What pytest printed of a file with tests, which is written to an empty directory."""
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
