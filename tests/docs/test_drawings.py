"""The tutorial's drawings are what the model says now: `python tools/drawings.py` would not change them."""

from __future__ import annotations

import importlib.util
import re
import sys
from xml.etree import ElementTree

import pytest

from tests.real.host import ROOT

_spec = importlib.util.spec_from_file_location("drawings", ROOT / "tools" / "drawings.py")
assert _spec is not None
assert _spec.loader is not None
drawings = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = drawings
_spec.loader.exec_module(drawings)

DIRECTORY = ROOT / "docs" / "tutorial"
PAGES = sorted(DIRECTORY.glob("*.md"))


@pytest.mark.parametrize("name", drawings.PICTURES)
def test_a_drawing_is_current(name: str) -> None:
    assert (DIRECTORY / f"{name}.svg").read_text() == drawings.PICTURES[name](), (
        "run: python tools/drawings.py"
    )


@pytest.mark.parametrize("name", drawings.PICTURES)
def test_a_drawing_is_an_image_with_a_title(name: str) -> None:
    root = ElementTree.parse(DIRECTORY / f"{name}.svg").getroot()
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert title.text


def test_the_tutorial_shows_each_drawing() -> None:
    shown = {name for page in PAGES for name in re.findall(r"\]\((\S+)\.svg\)", page.read_text())}
    assert shown == {*drawings.PICTURES}
