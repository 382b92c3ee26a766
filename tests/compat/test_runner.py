"""The runner of `make compat`: what it asks for, what it makes of a report, and what it writes down."""

from __future__ import annotations

import datetime
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compat.cells import CELLS, Cell, Way, named
from tests.compat.chroot import ROOT, Chroot
from tests.compat.results import Outcome, Versions, read, store, stored, table
from tests.compat.site_packages import name_of, wanted, write_commands

CELL = Cell("a-cell", "A cell", Way.INSIDE, ("tests",), "asuite")
DATE = datetime.date(2026, 11, 21)

SUITE = """
import pytest
def test_passes(): pass
def test_fails(): assert 0
@pytest.mark.skip
def test_is_skipped(): pass
"""


def test_every_path_of_a_cell_is_there() -> None:
    for cell in CELLS:
        assert all((ROOT / path).exists() for path in cell.paths), cell


def test_no_name_means_all_cells_and_an_unknown_one_is_an_error() -> None:
    assert named([]) == list(CELLS)
    assert [cell.name for cell in named(["i386"])] == ["i386"]
    with pytest.raises(ValueError, match="no such cell: vax; there are debian-11"):
        named(["vax"])


def test_what_the_tests_need_is_read_from_the_project() -> None:
    names = {name_of(need) for need in wanted(ROOT / "pyproject.toml")}
    assert {"construct", "trio", "click", "pytest"} <= names
    assert not {"votequorum-ipc", "mypy"} & names


def test_the_command_of_a_cell_runs_with_the_first_python_on_the_path(tmp_path: Path) -> None:
    write_commands(ROOT / "pyproject.toml", tmp_path / "bin")
    path = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["votequorum-ipc", "--version"],
        env={"PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("votequorum-ipc, version ")


def test_a_report_of_pytest_is_counted(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(SUITE)
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    subprocess.run([*command, f"--junitxml={report}", str(tmp_path)], capture_output=True, check=False)
    assert read(report) == (1, 1, ("test_it::test_fails",))


def test_the_table_names_what_failed_and_what_could_not_be_run() -> None:
    outcomes = [
        Outcome(CELL, Versions("3.1.7", "2.0.6", "3.11.2"), passed=5, skipped=1, seconds=90, date=DATE),
        Outcome(CELL, passed=4, failures=("tests.test_it::test_fails",)),
        Outcome(CELL, problem="mmdebstrap is not installed"),
    ]
    text = table(outcomes)
    assert "| A cell | inside | all | 3.1.7, 2.0.6 | 3.11.2 | 5 | 1 | 0 | 1.5 | 2026-11-21 |" in text
    assert "- `tests.test_it::test_fails`" in text
    assert "| not run |" in text
    assert "not been run to its end: Debian 11," in text
    assert "mmdebstrap is not installed" in text
    assert [outcome.good for outcome in outcomes] == [True, False, False]


def test_outcomes_of_earlier_runs_stay_in_the_table(tmp_path: Path) -> None:
    first, second, again = (
        Outcome(CELLS[1], Versions("3.1.7", "2.0.6", "3.11.2"), passed=5, failures=("a::b",), date=DATE),
        Outcome(CELLS[0], problem="no mirror", seconds=7.5),
        Outcome(CELLS[1], passed=6),
    )
    for outcome in (first, second):
        store(tmp_path, outcome)
    assert stored(tmp_path) == [second, first]
    store(tmp_path, again)
    assert stored(tmp_path) == [second, again]


def test_a_cell_in_which_no_test_ran_is_not_good() -> None:
    assert not Outcome(CELL, skipped=3).good


@pytest.mark.skipif(not shutil.which("pivot_root"), reason="pivot_root is not installed")
def test_a_command_sees_the_chroot_and_the_directories_that_are_bound_into_it(
    real_corosync: None, tmp_path: Path
) -> None:
    chroot = Chroot(CELL, tmp_path)
    for name in ("bin", "dev", "lib", "lib64", "proc", "run", "sys", "tmp", "usr"):
        (chroot.path / name).mkdir(parents=True)
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "file").write_text("seen\n")
    binds = {Path("/usr"): "/usr", Path("/lib"): "/lib", Path("/bin"): "/bin", shared: "/checkout"}
    if Path("/lib64").exists():
        binds[Path("/lib64")] = "/lib64"
    done = chroot.run(["sh", "-c", "cat file; ls -d /checkout /home 2>&1"], binds)
    assert done.stdout.splitlines()[:2] == [
        "seen",
        "ls: cannot access '/home': No such file or directory",
    ], done.stderr
    assert not list((chroot.path / "checkout").iterdir())
