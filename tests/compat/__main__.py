"""Run the matrix: `python -m tests.compat [CELL ...] [--corosync PREFIX]`, which `make compat` does."""

from __future__ import annotations

import argparse
import datetime
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from . import results, site_packages
from .cells import CELLS, Cell, Way, named
from .chroot import ROOT, CannotMake, Chroot, export
from .results import Outcome, Versions

_PROGRESS = re.compile(rb"\[ *(\d+)%\]")
_LOOK_INTERVAL = 15.0
"""Seconds between two lines of progress."""

_WRAPPER = """#!/bin/sh
# The corosync of another release, on the host's files that tests and daemon share.
root={root}
exec unshare --mount --propagation private sh -c '
    root=$1; shift
    for shared in dev sys proc tmp run; do mount --rbind /$shared "$root/$shared"; done
    if [ -e /etc/libqb/force-filesystem-sockets ]; then
        mkdir -p "$root/etc/libqb"
        mount --rbind /etc/libqb "$root/etc/libqb"
    fi
    exec chroot "$root" corosync "$@"' corosync "$root" "$@"
"""


class Matrix:
    """One run of cells, one after another."""

    def __init__(self, directory: Path, prefix: Path | None, workers: int, pytest_args: list[str]) -> None:
        self.directory = directory
        self._workers = workers
        self._prefix = prefix
        self._pytest_args = pytest_args

    def run(self, cell: Cell) -> Outcome:
        """Try one cell; a failure in preparing it is an outcome as well."""
        log = self.directory / f"{cell.name}.log"
        log.unlink(missing_ok=True)
        started = time.monotonic()
        print(f"{cell.name}: {cell.title} ({cell.way.value})", flush=True)
        try:
            outcome = self._run(cell, log)
        except (CannotMake, OSError, subprocess.CalledProcessError) as error:
            outcome = Outcome(cell, problem=str(error))
        seconds = time.monotonic() - started
        today = datetime.datetime.now(datetime.UTC).date()
        outcome = replace(outcome, seconds=seconds, date=today)
        results.store(self.directory, outcome)
        said = "good" if outcome.good else outcome.problem or f"{len(outcome.failures)} tests failed"
        print(f"{cell.name}: {said}, after {seconds / 60:.1f} minutes; log: {log}", flush=True)
        return outcome

    def _run(self, cell: Cell, log: Path) -> Outcome:
        if cell.way is Way.PREFIX:
            return self._from_prefix(cell, log)
        chroot = Chroot(cell, self.directory)
        print(f"{cell.name}: preparing {chroot.path}", flush=True)
        chroot.make(log)
        if cell.way is Way.DAEMON_ONLY:
            return self._against(cell, chroot, log)
        return self._inside(cell, chroot, log)

    def _from_prefix(self, cell: Cell, log: Path) -> Outcome:
        if self._prefix is None:
            return Outcome(cell, problem="no corosync was named: --corosync PREFIX, or COROSYNC=PREFIX")
        environment = {"COROSYNC_PREFIX": str(self._prefix)}
        described = subprocess.run(
            [str(self._prefix / "sbin/corosync"), "-v"],
            env=os.environ | {"LD_LIBRARY_PATH": str(self._prefix / "lib")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        report = self._here(cell, log, environment)
        return self._outcome(cell, report, Versions(_corosync_version(described), "", _python_here()))

    def _against(self, cell: Cell, chroot: Chroot, log: Path) -> Outcome:
        wrapper = self.directory / f"corosync-of-{cell.name}"
        wrapper.write_text(_WRAPPER.format(root=chroot.path))
        wrapper.chmod(0o755)
        report = self._here(cell, log, {"COROSYNC": str(wrapper)})
        versions = _versions_inside(chroot)
        return self._outcome(cell, report, Versions(versions.corosync, versions.libqb, _python_here()))

    def _here(self, cell: Cell, log: Path, environment: dict[str, str]) -> Path:
        """Run the tests with this machine's Python, from a copy: the checkout may change meanwhile."""
        checkout = self._checkout(cell)
        report = checkout / "report.xml"
        environment = {"PYTHONPATH": str(checkout), **environment}
        self._follow(self._pytest(cell, sys.executable, report), log, environment, report)
        return report

    def _checkout(self, cell: Cell) -> Path:
        checkout = self.directory / f"checkout-{cell.name}"
        export(checkout)
        return checkout

    def _inside(self, cell: Cell, chroot: Chroot, log: Path) -> Outcome:
        versions = _versions_inside(chroot)
        minor = ".".join(versions.python.split(".")[:2])
        packages = self.directory / f"packages-{minor}-{cell.arch}"
        left_out = site_packages.install(packages, minor, cell.arch)
        if left_out:
            print(f"{cell.name}: without {', '.join(left_out)}: no wheel for it", flush=True)
        chroot.import_from("/packages", minor)
        checkout = self._checkout(cell)
        report = checkout / "report.xml"
        argv = self._pytest(cell, "python3", Path("/checkout/report.xml"))
        command = chroot.command(argv, {checkout: "/checkout", packages: "/packages"})
        environment = {
            "HOME": "/root",
            "PYTHONPATH": "/checkout",
            "PATH": "/packages/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        self._follow(command, log, environment, report)
        return self._outcome(cell, report, versions)

    def _pytest(self, cell: Cell, python: str, report: Path) -> list[str]:
        # corosync has real-time priority, and an emulated one leaves little of a processor to anybody else.
        workers = [] if cell.emulator or self._workers < 2 else [f"--numprocesses={self._workers}"]
        timeout = 900 if cell.emulator else 300
        options = ["-v", "-p", "no:cacheprovider", f"--timeout={timeout}", f"--junitxml={report}", *workers]
        return [python, "-m", "pytest", *options, *self._pytest_args, *cell.paths]

    def _follow(self, argv: list[str], log: Path, environment: dict[str, str], report: Path) -> None:
        """Run the tests of a cell beside their report; how far they are is printed meanwhile."""
        shown = b""
        with log.open("ab") as output:
            process = subprocess.Popen(
                argv,
                cwd=report.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | environment,
            )
            try:
                while process.poll() is None:
                    try:
                        process.wait(_LOOK_INTERVAL)
                    except subprocess.TimeoutExpired:
                        percents = _PROGRESS.findall(log.read_bytes()) or [b"0"]
                        if percents[-1] != shown:
                            shown = percents[-1]
                            print(f"{log.stem}: {shown.decode()} %", flush=True)
            finally:
                process.terminate()
                process.wait()

    def _outcome(self, cell: Cell, report: Path, versions: Versions) -> Outcome:
        if not report.exists():
            return Outcome(cell, versions, problem="pytest ended without a report: see the cell's log")
        return Outcome(cell, versions, *results.read(report))


def _versions_inside(chroot: Chroot) -> Versions:
    script = (
        "corosync -v | head -1; dpkg-query -W -f '${Version}\\n' libqb100; "
        "python3 -c 'import platform; print(platform.python_version())'"
    )
    lines = chroot.run(["sh", "-c", script]).stdout.splitlines()
    if len(lines) != 3:
        raise CannotMake(f"{chroot.path} has no corosync, libqb or Python that runs")
    return Versions(_corosync_version(lines[0]), lines[1].split("-")[0], lines[2])


def _corosync_version(described: str) -> str:
    found = re.search(r"version '([^']*)'", described)
    return found[1] if found else "?"


def _python_here() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.compat", description=__doc__)
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"one of {', '.join(c.name for c in CELLS)}")
    parser.add_argument("--corosync", type=Path, default=os.environ.get("COROSYNC"), metavar="PREFIX")
    parser.add_argument("--directory", type=Path, default=ROOT / ".compat", help="where the chroots are kept")
    parser.add_argument("--out", type=Path, help="where the table goes; printed where left out")
    parser.add_argument("--workers", type=int, default=2, help="tests side by side; 2 if left out")
    parser.add_argument("--pytest", action="append", default=[], metavar="ARG", help="one more for pytest")
    arguments = parser.parse_args()
    try:
        cells = named(arguments.cells)
    except ValueError as error:
        parser.error(str(error))
    if any(arguments.directory.resolve().is_relative_to(place) for place in ("/tmp", "/run")):
        parser.error("--directory must not be below /tmp or /run: hosts of the tests have their own there")
    arguments.directory.mkdir(parents=True, exist_ok=True)
    prefix = Path(arguments.corosync) if arguments.corosync else None
    matrix = Matrix(arguments.directory.resolve(), prefix, arguments.workers, arguments.pytest)
    outcomes = [matrix.run(cell) for cell in cells]
    text = results.table(results.stored(matrix.directory))
    if arguments.out:
        arguments.out.write_text(text)
    else:
        print(text)
    sys.exit(not all(outcome.good for outcome in outcomes))


if __name__ == "__main__":
    main()
