"""The runner of `make compat`: what it asks for, what it makes of a report, and what it writes down."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compat.__main__ import Matrix, Place
from tests.compat.cells import CELLS, Cell, Way, named
from tests.compat.chroot import ROOT, Chroot
from tests.compat.machine import init_script, last_report
from tests.compat.results import Outcome, Report, Versions, read, store, stored, table
from tests.compat.site_packages import name_of, wanted, write_commands

CELL = Cell(
    "a-cell",
    "A cell",
    Way.INSIDE,
    ("tests",),
    "asuite",
    explained={"tests/test_it.py::test_old[": "its corosync has no such call"},
)
DATE = datetime.date(2026, 11, 21)

SUITE = """
import pytest
@pytest.fixture
def fails_afterwards():
    yield
    assert 0
def test_passes(): pass
@pytest.mark.parametrize("way", ["trio"])
def test_fails(way): assert 0
def test_is_left_badly(fails_afterwards): pass
@pytest.mark.skip
def test_is_skipped(): pass
"""


def test_every_path_of_a_cell_is_there() -> None:
    for cell in CELLS:
        for path in cell.paths:
            file, _, test = path.partition("::")
            assert f"def {test}" in (ROOT / file).read_text() if test else (ROOT / file).exists(), path


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
    command += ["--override-ini=junit_family=xunit1", f"--junitxml={report}", str(tmp_path)]
    subprocess.run(
        command, env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, capture_output=True, check=False
    )
    failed = ("test_it.py::test_fails[trio]", "test_it.py::test_is_left_badly")
    assert read(report) == Report(("test_it.py::test_passes",), 1, failed)


def test_the_table_names_what_failed_and_what_could_not_be_run() -> None:
    outcomes = [
        Outcome(CELL, Versions("3.1.7", "2.0.6", "3.11.2"), passed=5, skipped=1, seconds=90, date=DATE),
        Outcome(CELL, passed=4, failures=("tests/test_it.py::test_fails",)),
        Outcome(CELL, passed=3, failures=("tests/test_it.py::test_old[shm]",)),
        Outcome(CELL, passed=2, alone=("tests/test_it.py::test_slow",)),
        Outcome(CELL, problem="mmdebstrap is not installed"),
    ]
    text = table(outcomes)
    assert "| A cell | inside | all | 3.1.7, 2.0.6 | 3.11.2 | 5 | 0 | 1 | 0 | 1.5 | 2026-11-21 |" in text
    assert "- `tests/test_it.py::test_fails`: not explained" in text
    assert "- `tests/test_it.py::test_old[shm]`: its corosync has no such call" in text
    assert "passed alone:\n\n- `tests/test_it.py::test_slow`\n" in text
    assert "| not run |" in text
    assert "not been run to its end: Debian 11," in text
    assert "mmdebstrap is not installed" in text
    assert [outcome.good for outcome in outcomes] == [True, False, True, True, False]


PYTEST = """#!/bin/sh
# Stands in for Python and pytest: `slow` fails beside others, `broken` always.
for argument; do
    case $argument in
        --junitxml=*) report=${argument#*=} ;;
        --numprocesses=*) beside=yes ;;
    esac
done
case "${beside-no} $*" in
    yes*) slow="<failure/>" ; passes='<testcase file="test_it.py" name="passes"/>' ;;
    *test_it.py::slow*test_it.py::broken) slow= ; passes= ;;
    *) exit 4 ;;
esac
echo "COROSYNC is ${COROSYNC-not set}"
cat >"$report" <<END
<testsuites><testsuite>
$passes
<testcase file="test_it.py" name="slow">$slow</testcase>
<testcase file="test_it.py" name="broken"><failure/></testcase>
</testsuite></testsuites>
END
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Where `PYTEST` runs."""
    python = tmp_path / "python"
    python.write_text(PYTEST)
    python.chmod(0o755)
    return Place(tmp_path, tmp_path, str(python), {})


def test_a_test_that_fails_is_run_again_alone(tmp_path: Path, place: Place) -> None:
    matrix = Matrix(tmp_path, None, workers=2, pytest_args=[])
    outcome = matrix.tried(CELL, place, tmp_path / "log", Versions())
    assert (outcome.passed, outcome.alone, outcome.failures) == (
        1,
        ("test_it.py::slow",),
        ("test_it.py::broken",),
    )


def test_the_directory_of_a_corosync_is_no_program_for_the_tests(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COROSYNC", "/opt/corosync")
    Matrix(tmp_path, None, workers=2, pytest_args=[]).tried(CELL, place, tmp_path / "log", Versions())
    assert "COROSYNC is not set" in (tmp_path / "log").read_text()


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


def test_the_report_of_an_emulated_machine_comes_out_of_its_console(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text("<testsuites/>\n" * 100)
    script = init_script(["echo", "two words"], {"WAY": "a b"}, report)
    printing = script.partition("cd /checkout\n")[2].partition("echo o >")[0]
    said = subprocess.run(["sh", "-c", printing], capture_output=True, check=True).stdout
    assert said.startswith(b"two words\n")
    console = b"[    0.1] Linux version 6.1.0\r\n" + said.replace(b"\n", b"\r\n")
    assert last_report(console) == report.read_bytes()
    assert last_report(console[:-30]) is None


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
