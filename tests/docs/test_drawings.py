"""The drawings are current: tools/drawings.py and tools/sequences.py would not change them."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from tests.real.host import ROOT


def _tool(name: str) -> ModuleType:
    """A module of tools/, under the name that the others import it by."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


drawings = _tool("drawings")
sequences = _tool("sequences")

Draw = Callable[[], str]
DRAWN: dict[Path, Draw] = {
    drawings.DIRECTORY / f"{name}.svg": draw for name, draw in drawings.PICTURES.items()
}
SEQUENCES: dict[Path, Draw] = {
    sequences.DIRECTORY / f"{name}.svg": lambda diagram=diagram: sequences.draw(diagram)  # type: ignore[misc]
    for name, diagram in sequences.DIAGRAMS.items()
}
SVG = "{http://www.w3.org/2000/svg}"


def _name(path: object) -> str:
    return path.stem if isinstance(path, Path) else ""


@pytest.mark.parametrize(("path", "draw"), (DRAWN | SEQUENCES).items(), ids=_name)
def test_a_drawing_is_current(path: Path, draw: Draw) -> None:
    tool = "drawings" if path in DRAWN else "sequences"
    assert path.read_text() == draw(), f"run: python tools/{tool}.py"


@pytest.mark.parametrize("path", DRAWN | SEQUENCES, ids=_name)
def test_a_drawing_is_an_image_with_a_title(path: Path) -> None:
    assert ElementTree.parse(path).getroot().findtext(f"{SVG}title")


@pytest.mark.parametrize("path", SEQUENCES, ids=_name)
def test_a_sequence_is_also_described_in_words(path: Path) -> None:
    assert "client to corosync, " in ElementTree.parse(path).getroot().findtext(f"{SVG}desc", "")


@pytest.mark.parametrize("drawn", [DRAWN, SEQUENCES], ids=["tutorial", "protocol"])
def test_the_pages_show_each_drawing(drawn: dict[Path, Draw]) -> None:
    [directory] = {path.parent for path in drawn}
    pages = directory.glob("*.md")
    shown = {name for page in pages for name in re.findall(r"\]\((\S+)\.svg\)", page.read_text())}
    assert shown == {path.stem for path in drawn}
