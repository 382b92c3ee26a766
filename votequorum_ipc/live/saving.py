"""The timeline as files: a picture (SVG) for people, JSON for programs.

Strategy: both have the same lines: all of them, not only those on the screen. A file is always new: it is
never overwritten, and never opened through an existing link. If a name is taken, the next number is tried.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from .panes import LEGEND, hours, line_text
from .timeline import Timeline

_WIDTH = 100
"""The picture's width in columns."""

_REMOTE_FONTS = re.compile(r"@font-face\s*{.*?}\s*", re.DOTALL)
"""Matches the web fonts that rich asks for; without them, the viewer uses its own font."""


@dataclass(frozen=True, slots=True)
class SavedFiles:
    """Where the timeline was saved."""

    svg: Path
    json: Path


def save(timeline: Timeline, directory: Path, now: float, seconds: float) -> SavedFiles:
    """Write the timeline, with the last `seconds` as a strip above the lines. Raises `OSError`."""
    shape = json.dumps(timeline_json(timeline, now), indent=1) + "\n"
    picture = timeline_svg(timeline, now, seconds)
    name = time.strftime("votequorum-timeline-%Y%m%d-%H%M%S", time.localtime(now))
    for number in itertools.count(1):
        stem = name if number == 1 else f"{name}-{number}"
        files = SavedFiles(directory / f"{stem}.svg", directory / f"{stem}.json")
        try:
            _create(files.json, shape)
        except FileExistsError:
            continue
        try:
            _create(files.svg, picture)
        except OSError as error:
            files.json.unlink()
            if not isinstance(error, FileExistsError):
                raise
            continue
        return files
    raise AssertionError("numbers do not end")


def timeline_json(timeline: Timeline, now: float) -> dict[str, Any]:
    """The timeline as JSON; times are in UTC."""
    return {
        "time": utc_text(now),
        "dropped": timeline.dropped,
        "periods": [
            {"since": utc_text(period.since), "state": period.state.name} for period in timeline.periods
        ],
        "changes": [
            {"time": utc_text(line.at), **shape, "text": line.text, "cause": line.cause or None}
            for line in timeline.lines
            for shape in line.shapes
        ],
    }


def timeline_svg(timeline: Timeline, now: float, seconds: float) -> str:
    """The timeline as a picture."""
    console = Console(
        record=True,
        width=_WIDTH,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    console.print(hours(timeline, now, seconds, _WIDTH), LEGEND, "", sep="\n")
    if timeline.dropped:
        console.print(f"{timeline.dropped} older changes were dropped")
    for line in reversed(timeline.lines):
        console.print(*line_text(line, now, _WIDTH), sep="\n")
    title = time.strftime("Quorum until %Y-%m-%d %H:%M:%S", time.localtime(now))
    return without_remote_fonts(console.export_svg(title=title))


def without_remote_fonts(svg: str) -> str:
    """A picture by rich or textual without anything from the network."""
    return _REMOTE_FONTS.sub("", svg).replace("Fira Code", "DejaVu Sans Mono")


def utc_text(at: float) -> str:
    """A time as JSON output has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03}Z"


def _create(path: Path, text: str) -> None:
    """Create a file completely or not at all. Raises `OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        _write(descriptor, text)
    except OSError:
        path.unlink()
        raise


def _write(descriptor: int, text: str) -> None:
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
