"""docs/checking.md shows what the command prints: each example is run again on the file in the document."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.real.host import ROOT
from votequorum_ipc.cli.app import app

TEXT = (ROOT / "docs" / "checking.md").read_text()
FILES: dict[str, str] = dict(re.findall(r"^```\n# (\S+\.conf)\n((?:.*\n)*?)```$", TEXT, re.MULTILINE))
EXAMPLES: list[tuple[str, str, str]] = re.findall(
    r"^```console\n\$ votequorum-ipc (.*)\n((?:.*\n)*?)```\n\nIt exits with (\d)", TEXT, re.MULTILINE
)


def without_times(text: str) -> str:
    return re.sub(r"[\d.]+ s;", "", text)


@pytest.mark.parametrize(("command", "output", "code"), EXAMPLES, ids=[example[0] for example in EXAMPLES])
def test_the_output_is_the_documented_one(
    command: str, output: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, shlex.split(command), prog_name="votequorum-ipc")
    assert without_times(result.stdout) == without_times(output)
    assert result.exit_code == int(code)


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) == len(FILES) + 2


def in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> Result:
    """Run a command in a directory where `corosync.conf` is the two-node file."""
    (tmp_path / "corosync.conf").write_text(FILES["two.conf"])
    monkeypatch.chdir(tmp_path)
    return CliRunner().invoke(app, shlex.split(command), prog_name="votequorum-ipc")


def test_the_command_of_the_ci_recipe_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = re.findall(r"^ +- run: votequorum-ipc (.*)$", TEXT, re.MULTILINE)
    (page,) = re.findall(r"^ +path: (.*)$", TEXT, re.MULTILINE)
    assert in_directory(tmp_path, monkeypatch, f"{command} --no-remedies").exit_code == 2
    assert (tmp_path / page).read_text().startswith("<!DOCTYPE html>")


def test_the_documented_property_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.py").write_text(source)
    result = in_directory(tmp_path, monkeypatch, "check --no-remedies --property mine:alone corosync.conf")
    assert "alone: happens\n  (A node works alone.)" in result.stdout
