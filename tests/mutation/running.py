"""Copies of the tree, and pytest on them.

Strategy: each worker has a copy of the files that git knows, so that mutants never touch the working tree.
The tests run once without a mutant. That run must succeed, and gives the time limit. A run beyond the limit
counts as noticed: the mutant hangs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = "votequorum_ipc"

_TESTS_FAILED: Final = (1, 2)
"""pytest's exit codes for failed tests, and for modules that cannot be imported."""


class Fate(Enum):
    """The outcome of a mutant."""

    NOTICED = "noticed"
    HANGS = "noticed: hangs"
    SURVIVED = "survived"


class Copy:
    """A copy of the tree."""

    def __init__(self, directory: Path) -> None:
        self._root = directory / "tree"
        directory.chmod(0o755)  # some tests run as another user
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
        for name in filter(None, listed.decode().split("\0")):
            if (ROOT / name).is_file():
                target = self._root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)

    def baseline(self, tests: Sequence[str]) -> float:
        """Seconds that the tests take without a mutant. Raises `RuntimeError` if they fail."""
        began = time.monotonic()
        code = self._pytest(tests, None)
        if code != 0:
            raise RuntimeError(f"pytest {' '.join(tests)} ends with {code} without any mutant")
        return time.monotonic() - began

    def fate(self, module: str, source: str, tests: Sequence[str], limit: float) -> Fate:
        """Run the tests on a mutant, for at most `limit` seconds."""
        file = self._root / PACKAGE / module
        original = file.read_text()
        file.write_text(source)
        try:
            code = self._pytest(tests, limit)
        finally:
            file.write_text(original)
        if code is None:
            return Fate.HANGS
        if code not in (0, *_TESTS_FAILED):
            raise RuntimeError(f"pytest ends with {code}")
        return Fate.NOTICED if code else Fate.SURVIVED

    def _pytest(self, tests: Sequence[str], limit: float | None) -> int | None:
        """pytest's exit code; None if it exceeds the limit."""
        argv = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTHONPATH": str(self._root)}
        process = subprocess.Popen(
            argv,
            cwd=self._root,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # This also kills processes that a test left running.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
