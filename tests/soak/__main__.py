"""`python -m tests.soak --minutes 60`: soak, show progress, and report. Exit code 1 with violations."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

from tests.real import leftovers, requirements

from .chaos import soak
from .report import Report, display


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--keep", type=Path, help="a directory for logs and the clients' reports")
    chosen = parser.parse_args()
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    if reason := requirements.missing():
        print(f"no soak: {reason}", file=sys.stderr)
        return 2
    leftovers.reap()
    report = Report(chosen.minutes, chosen.seed)
    with tempfile.TemporaryDirectory() as temporary, display(report):
        directory = chosen.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        soak(report, directory)
    print(report.text())
    return int(bool(report.violations))


if __name__ == "__main__":
    sys.exit(main())
