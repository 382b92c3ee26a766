"""The site's sources are complete: the reference has each public name, and each subcommand has its page."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.host import ROOT
from votequorum_ipc.cli.app import COMMANDS

pytest.importorskip("sphinx")
sys.path.insert(0, str(ROOT / "docs" / "_site"))
try:
    from command_pages import command_pages, write_command_pages
finally:
    sys.path.pop(0)

PUBLIC = ["", ".blocking", ".check", ".daemon", ".ipc", ".qdevice", ".strategies", ".testing", ".wire"]
DIRECTIVE = re.compile(r"^\.\. auto(?:class|function|data|exception):: (\S+)$", re.MULTILINE)
DOCUMENTED = {
    name
    for page in (ROOT / "docs" / "reference").rglob("*.md")
    for name in DIRECTIVE.findall(page.read_text())
}
MAN_PAGES = [page.name for page in command_pages()]


@pytest.mark.parametrize("module", PUBLIC)
def test_each_public_name_is_in_the_reference(module: str) -> None:
    path = f"votequorum_ipc{module}"
    names = {f"{path}.{name}" for name in importlib.import_module(path).__all__}
    assert names - DOCUMENTED == set()


def test_each_subcommand_has_a_page() -> None:
    pages = {page.words for page in command_pages()}
    assert {(name,) for name in COMMANDS} <= pages
    assert ("qdevice", "run") in pages


def test_a_page_has_every_option_of_its_subcommand() -> None:
    write_command_pages(for_man=False)
    page = (ROOT / "docs" / "commands" / "votequorum-ipc-status.md").read_text()
    assert all(f"`{option}`\n: " in page for option in ("--json", "--timeout SECONDS", "--address ADDRESS"))


@pytest.fixture(scope="module")
def man_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The man pages, built as `make man` builds them."""
    directory = tmp_path_factory.mktemp("man")
    command = [sys.executable, "-m", "sphinx", "-q", "-c", "docs", "-b", "man", "-t", "man", "-W"]
    subprocess.run([*command, "-d", str(directory / "doctrees"), ".", str(directory)], cwd=ROOT, check=True)
    return directory


@pytest.mark.parametrize("name", MAN_PAGES)
def test_man_shows_a_page_without_complaint(man_pages: Path, name: str) -> None:
    page = man_pages / f"{name}.1"
    try:
        shown = subprocess.run(
            ["man", "--warnings", "--no-justification", "-E", "UTF-8", "-l", str(page)],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError:
        pytest.skip("man is not installed")
    assert (shown.stderr, shown.returncode) == ("", 0)
    assert re.search(rf"^NAME\n +{name} +- ", shown.stdout, re.MULTILINE)
    assert "\nSYNOPSIS\n" in shown.stdout


@pytest.mark.parametrize("name", MAN_PAGES)
def test_whatis_finds_a_page(man_pages: Path, name: str) -> None:
    try:
        found = subprocess.run(
            ["lexgrog", str(man_pages / f"{name}.1")], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("lexgrog, of man-db, is not installed")
    assert f'"{name} - ' in found.stdout
