"""The sdist and the wheel, as people install them: their contents, and that the command runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.real.host import ROOT

UNITS = {
    "votequorum-qdevice@.service": ROOT / "contrib/votequorum-qdevice@.service",
    "votequorum-monitor@.service": ROOT / "contrib/votequorum-monitor@.service",
    "votequorum-exporter.service": ROOT / "contrib/monitoring/votequorum-exporter.service",
}
UNIT_DIRECTORY = "lib/systemd/system"


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist and the wheel built from this checkout."""
    directory = tmp_path_factory.mktemp("archives")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(directory)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return directory


@pytest.fixture(scope="module")
def wheel(archives: Path) -> Path:
    return next(archives.glob("*.whl"))


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    """The files of the checkout."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    return {name for name in listed.stdout.decode().split("\0") if (ROOT / name).is_file()}


def test_no_file_is_empty_by_mistake(tracked: set[str]) -> None:
    empty = {Path(name).name for name in tracked if not (ROOT / name).stat().st_size}
    assert empty <= {"__init__.py", "py.typed"}


def test_the_sdist_has_every_file_of_the_checkout(archives: Path, tracked: set[str]) -> None:
    with tarfile.open(next(archives.glob("*.tar.gz"))) as sdist:
        packed = {name.partition("/")[2] for name in sdist.getnames()}
    assert tracked - packed == set()


def test_the_wheel_has_the_package_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    tops = {name.split("/")[0] for name in names}
    info = next(top for top in tops if top.endswith(".dist-info"))
    data = info.replace(".dist-info", ".data")
    assert tops == {"votequorum_ipc", "votequorum_ipc_pytest.py", info, data}
    assert [name for name in names if "test_" in name or "conftest" in name] == []
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "votequorum_ipc").rglob("*.py")}
    assert modules <= set(names)


def test_an_installed_command_runs_and_its_units_are_beside_it(wheel: Path, tmp_path: Path) -> None:
    """As pipx installs it: a virtual environment for the command; it borrows the dependencies of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)
    python = tmp_path / "bin/python"
    pip = [sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    asked = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
    borrowed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages", "/packages"))]
    (Path(asked.stdout.strip()) / "borrowed.pth").write_text("\n".join(borrowed))

    where = "import votequorum_ipc as v; print(v.__file__, v.__version__)"
    # PYTHONPATH may name this checkout.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    imported = subprocess.run(
        [python, "-c", where], cwd="/", env=env, capture_output=True, text=True, check=True
    )
    file, version = imported.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    command = [str(tmp_path / "bin/votequorum-ipc"), "--version"]
    done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith(version)
    for name, unit in UNITS.items():
        assert (tmp_path / UNIT_DIRECTORY / name).read_bytes() == unit.read_bytes()


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_a_unit_names_no_directory_so_that_every_kind_of_installation_works(unit: Path) -> None:
    """systemd looks in /usr/local/bin, where pipx --global puts a command, and in /usr/bin."""
    starts = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
    assert len(starts) == 1
    assert starts[0].startswith("ExecStart=votequorum-ipc ")
