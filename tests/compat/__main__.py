"""Run the matrix: `python -m tests.compat [CELL ...] [--corosync PREFIX]`, which `make compat` does."""

from __future__ import annotations

import argparse
import datetime
import functools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import results, site_packages
from .cells import CELLS, Cell, Way, named
from .chroot import ROOT, CannotMake, Chroot, export
from .machine import Machine, last_report
from .results import Outcome, Versions

REPORT = "report.xml"

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


@dataclass(frozen=True)
class Place:
    """Where the tests of a cell run."""

    checkout: Path
    """A copy of this checkout, which may change meanwhile."""
    seen_as: Path
    """The copy's path for the tests."""
    python: str
    environment: dict[str, str]
    enter: Callable[[list[str]], list[str]] = list
    """What a command is wrapped in."""
    console: bool = False
    """Whether the report comes out through the log, as no file does."""


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
        if not self._pytest_args:  # they may have left tests out
            results.store(self.directory, outcome)
        said = "good" if outcome.good else outcome.problem or f"{len(outcome.unexplained)} tests failed"
        print(f"{cell.name}: {said}, after {seconds / 60:.1f} minutes; log: {log}", flush=True)
        for test in outcome.failures:
            print(f"{cell.name}: failed: {test}", flush=True)
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
        described = subprocess.run(
            [str(self._prefix / "sbin/corosync"), "-v"],
            env=os.environ | {"LD_LIBRARY_PATH": str(self._prefix / "lib")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        place = self._here(cell, {"COROSYNC_PREFIX": str(self._prefix)})
        return self.tried(cell, place, log, Versions(_corosync_version(described), "", _python_here()))

    def _against(self, cell: Cell, chroot: Chroot, log: Path) -> Outcome:
        wrapper = self.directory / f"corosync-of-{cell.name}"
        wrapper.write_text(_WRAPPER.format(root=chroot.path))
        wrapper.chmod(0o755)
        place = self._here(cell, {"COROSYNC": str(wrapper)})
        return self.tried(cell, place, log, replace(_versions_inside(chroot), python=_python_here()))

    def _here(self, cell: Cell, environment: dict[str, str]) -> Place:
        """This machine, with its Python."""
        checkout = self._checkout(cell)
        # Without a corosync nearly every test of these cells is skipped.
        environment = {"PYTHONPATH": str(checkout), "REQUIRE_COROSYNC": "1", **environment}
        return Place(checkout, checkout, sys.executable, environment)

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
        if cell.emulator and not cell.kernel:
            chroot.lend("nsenter")
        checkout = self._checkout(cell)
        binds = {checkout: "/checkout", packages: "/packages"}
        environment = {
            "HOME": "/root",
            "PYTHONPATH": "/checkout",
            "PATH": "/packages/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        seen_as = Path("/checkout")
        if not cell.kernel:
            enter = functools.partial(chroot.command, binds=binds)
            return self.tried(cell, Place(checkout, seen_as, "python3", environment, enter), log, versions)
        machine = Machine(cell, chroot.path, self.directory)
        machine.make()
        boot = functools.partial(
            machine.command, binds=binds, environment=environment, report=seen_as / REPORT
        )
        return self.tried(cell, Place(checkout, seen_as, "python3", {}, boot, console=True), log, versions)

    def tried(self, cell: Cell, place: Place, log: Path, versions: Versions) -> Outcome:
        """Run the tests of a cell, then those that failed by themselves."""
        # corosync has real-time priority, and an emulated one leaves little of a processor to anybody else.
        workers = 1 if cell.emulator else self._workers
        together = self._pytest(cell, place, log, workers, cell.paths)
        if together is None:
            return Outcome(cell, versions, problem="pytest ended without a report: see the cell's log")
        alone = None
        if together.failed and workers > 1:
            print(f"{cell.name}: {len(together.failed)} failed, and run again alone", flush=True)
            alone = self._pytest(cell, place, log, 1, together.failed)
        passed_alone = [test for test in together.failed if alone and test in alone.passed]
        failures = [test for test in together.failed if test not in passed_alone]
        return Outcome(
            cell, versions, len(together.passed), tuple(passed_alone), together.skipped, tuple(failures)
        )

    def _pytest(
        self, cell: Cell, place: Place, log: Path, workers: int, tests: Sequence[str]
    ) -> results.Report | None:
        report = place.checkout / REPORT
        report.unlink(missing_ok=True)
        timeout = 900 if cell.emulator else 300
        options = ["-v", "-p", "no:cacheprovider", f"--timeout={timeout}"]
        options += [f"--junitxml={place.seen_as / report.name}", "--override-ini=junit_family=xunit1"]
        if workers > 1:
            options += [f"--numprocesses={workers}", "--dist=worksteal"]
        argv = [place.python, "-m", "pytest", *options, *self._pytest_args, *tests]
        self._follow(place.enter(argv), log, place)
        if place.console and (printed := last_report(log.read_bytes())):
            report.write_bytes(printed)
        return results.read(report) if report.exists() else None

    def _follow(self, argv: list[str], log: Path, place: Place) -> None:
        """Run the tests of a cell beside their log; how far they are is printed meanwhile."""
        shown = b""
        # What it names here is a program for the tests, and a directory for `main`.
        inherited = {name: value for name, value in os.environ.items() if name != "COROSYNC"}
        with log.open("ab") as output:
            process = subprocess.Popen(
                argv,
                cwd=place.checkout,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=inherited | place.environment,
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
    parser.add_argument("--workers", type=int, default=4, help="tests side by side; 4 if left out")
    parser.add_argument(
        "--pytest",
        action="append",
        default=[],
        metavar="ARG",
        help="one more for pytest; nothing is stored then",
    )
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
