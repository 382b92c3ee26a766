"""Programs that tests run as separate processes: `python -c`, and its result."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.real.daemon import Daemon
from tests.real.host import ROOT

Result = subprocess.CompletedProcess[str]


def run(daemon: Daemon, program: str, *options: str) -> Result:
    """Run a program on the daemon's host; `options` are the interpreter's."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return daemon.run([sys.executable, *options, "-c", program], env=environment)
