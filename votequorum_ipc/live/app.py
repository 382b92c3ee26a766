"""The textual program: it holds the data, and redraws it when the data or the time changes.

Strategy: the program decides nothing about quorum. It keeps the last answers, the timeline and the user's
choices, and asks `panes` for text. Every second, and at every piece of news, it redraws everything from the
current data, so an old answer leaves the screen even if nothing else happens.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar, Final, Protocol

from rich.style import Style
from rich.text import Span, Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from ..cli.common import printable
from ..overview import Overview
from ..types import ClusterStatus, QuorumState
from . import panes
from .feed import Source, Told, elapsed
from .outlook import outlook
from .saving import save
from .standing import NOT_ASKED, age_limit, known_nodes, standing
from .timeline import Timeline

SPANS: Final = (900.0, 3600.0, 4 * 3600.0, 24 * 3600.0)
"""The choices for how many seconds the strip shows."""

_KEYS: Final = "q Quit   Up/Down Node   PgUp/PgDn Timeline   t Time span   s Save timeline"

_REDRAW_SECONDS: Final = 1.0

_LEGEND_HEIGHT: Final = 30
"""With fewer lines there is no room for the strip's legend."""


class ScreenClock:
    """The two clocks of the screen: the time of day, and the clock for ages."""

    def __init__(
        self, time_of_day: Callable[[], float] = time.time, elapsed_seconds: Callable[[], float] = elapsed
    ) -> None:
        self.time_of_day = time_of_day
        self.elapsed = elapsed_seconds


class Narrator(Protocol):
    """A demonstration: an event from time to time."""

    pace: float
    """Seconds between two steps."""

    def step(self) -> str:
        """Carry out the next step. Returns a sentence about it."""


class Pane(Widget):
    """A part of the screen made of lines of text."""

    def __init__(
        self,
        draw: Callable[[int, int], Iterable[Text]],
        *,
        id: str,  # noqa: A002 - textual's
        plain: bool = False,
    ) -> None:
        """`draw` returns the lines for a width and a height. `plain`: without colour."""
        super().__init__(id=id)
        self._draw = draw
        self._plain = plain

    def lines(self, width: int, height: int) -> list[Text]:
        """The pane's content for this size."""
        return list(self._draw(width, height))

    def render(self) -> Text:
        """The lines for the pane's size."""
        text = Text("\n", no_wrap=True).join(self.lines(self.size.width, self.size.height))
        return without_colour(text) if self._plain else text

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The number of lines."""
        return len(self.lines(width, viewport.height))


def without_colour(text: Text) -> Text:
    """The text in bold and reverse as it is, in no colour."""
    plain = text.copy()
    plain.spans = [
        Span(start, end, Style.parse(style).without_color if isinstance(style, str) else style.without_color)
        for start, end, style in text.spans
    ]
    if isinstance(plain.style, str):
        plain.style = Style.parse(plain.style).without_color
    return plain


class LiveApp(App[None]):
    """`monitor --live`."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; overflow: hidden hidden; }
    Pane { height: auto; width: 100%; }
    #nodes { max-height: 45%; margin: 1 0 0 0; }
    #timeline { height: 1fr; margin: 1 0 0 0; }
    #keys { text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("up", "select(-1)", "Node"),
        Binding("down", "select(1)", "Node"),
        Binding("pageup", "scroll(-5)", "Newer"),
        Binding("pagedown", "scroll(5)", "Older"),
        Binding("home", "scroll(-1000000)", "Newest"),
        Binding("t", "span", "Time span"),
        Binding("s", "save", "Save"),
    ]

    def __init__(
        self,
        source: Source,
        *,
        patience: float,
        directory: Path | None = None,
        narrator: Narrator | None = None,
        clock: ScreenClock | None = None,
    ) -> None:
        """`patience` is as in `Feed`; the timeline is saved in `directory`, the current one by default."""
        # textual would turn colours into greys, some too dark to read, and remove the variable.
        self._plain = bool(os.environ.get("NO_COLOR"))
        super().__init__()
        self.timeline = Timeline()
        self.known = NOT_ASKED
        """The data that the screen shows."""
        self._source = source
        self._limit = age_limit(patience)
        self._directory = directory or Path.cwd()
        self._narrator = narrator
        self._clock = clock or ScreenClock()
        self._told: Told | None = None
        self._overview: Overview | None = None
        self._last: ClusterStatus | None = None
        """The last known status, for the names of nodes."""
        self._selected: int | None = None
        self._offset = 0
        self._span = SPANS[1]
        self._message = ""

    # --- news ---

    def take_view(self, told: Told) -> None:
        """A new view of quorum: show it."""
        at = self._clock.time_of_day()
        if self._told is not None and told.asked_at - self._told.asked_at > self._limit:
            self._note_silence()
        self._told = told
        self._last = told.view.status or self._last
        self.timeline.note_view(told.view, at)
        self.look()

    def take_overview(self, overview: Overview) -> None:
        """Links and statistics: show them."""
        self._overview = overview
        self.timeline.note_overview(overview, self._clock.time_of_day())
        self.look()

    def look(self) -> None:
        """Decide what counts as known now, and draw it."""
        self.known = standing(self._told, self._clock.elapsed(), self._limit)
        if self.known.state is QuorumState.UNKNOWN and self._told is not None:
            self._note_silence()
        rows = self._rows()
        if rows and self._selected not in {row.node_id for row in rows}:
            self._selected = rows[0].node_id
        for pane in self.query(Pane):
            pane.refresh(layout=True)

    def _note_silence(self) -> None:
        assert self._told is not None
        age = self._clock.elapsed() - self._told.asked_at
        self.timeline.note_silence(self._clock.time_of_day() - age, "no answer since then")

    # --- drawing ---

    def compose(self) -> ComposeResult:
        """The panes, from the top down."""
        parts = {
            "quorum": self._draw_quorum,
            "nodes": self._draw_nodes,
            "outlook": self._draw_outlook,
            "hours": self._draw_hours,
            "timeline": self._draw_timeline,
            "message": self._draw_message,
            "keys": lambda width, height: [Text(_KEYS[:width])],
        }
        for name, draw in parts.items():
            yield Pane(draw, id=name, plain=self._plain)

    def on_mount(self) -> None:
        """Start asking corosync, and start the clock."""
        self.run_worker(self._source.run(self))
        self.set_interval(_REDRAW_SECONDS, self.look)
        if self._narrator is not None:
            self._message = "Demo: a simulated cluster with an event every few seconds."
            self.set_interval(self._narrator.pace, self._tell)

    def _tell(self) -> None:
        assert self._narrator is not None
        self._message = f"Demo: {self._narrator.step()}"
        self.look()

    def _draw_quorum(self, width: int, height: int) -> Iterable[Text]:
        known, status = self.known, self.known.status
        since = self.timeline.periods[-1].since if self.timeline.periods else None
        yield panes.heading(known, since, self._clock.time_of_day(), width)
        yield panes.votes_bar(status, width)
        yield from panes.reason(known, width)

    def _draw_nodes(self, width: int, height: int) -> Iterable[Text]:
        return panes.nodes_table(self._rows(), self._selected, width, height)

    def _draw_outlook(self, width: int, height: int) -> Iterable[Text]:
        nodes = known_nodes(self._last) if self._last else ()
        text = outlook(self.known.status, self._selected, nodes)
        yield Text(text[:width], "bold")

    def _draw_hours(self, width: int, height: int) -> Iterable[Text]:
        yield panes.hours(self.timeline, self._clock.time_of_day(), self._span, width)
        if self.size.height >= _LEGEND_HEIGHT:
            yield panes.LEGEND

    def _draw_timeline(self, width: int, height: int) -> Iterable[Text]:
        return panes.timeline_pane(self.timeline, self._offset, self._clock.time_of_day(), width, height)

    def _draw_message(self, width: int, height: int) -> Iterable[Text]:
        return panes.message(self._message, width)

    def _rows(self) -> list[panes.NodeRow]:
        return panes.node_rows(self.known, self._last, self._overview)

    # --- keys ---

    def action_select(self, step: int) -> None:
        """Select another node."""
        nodes = [row.node_id for row in self._rows()]
        if self._selected in nodes:
            position = min(max(nodes.index(self._selected) + step, 0), len(nodes) - 1)
            self._selected = nodes[position]
        self.look()

    def action_scroll(self, step: int) -> None:
        """Scroll the timeline, to older lines or to newer ones."""
        self._offset = min(max(self._offset + step, 0), max(len(self.timeline.lines) - 1, 0))
        self.look()

    def action_span(self) -> None:
        """Show another length of time as a strip."""
        self._span = SPANS[(SPANS.index(self._span) + 1) % len(SPANS)]
        self.look()

    def action_save(self) -> None:
        """Save the timeline; the message says where."""
        try:
            files = save(self.timeline, self._directory, self._clock.time_of_day(), self._span)
        except OSError as error:
            self._message = (
                f"The timeline was not saved: {printable(str(error))}. Start this program in a writable "
                "directory"
            )
        else:
            self._message = printable(f"Saved as {files.svg} and {files.json.name}")
        self.look()


def run_on_terminal(app: LiveApp) -> int:
    """Run the screen until the user ends it. Returns the exit code.

    textual restores the terminal only when its program ends by itself, so SIGTERM ends it as a key does.
    SIGHUP, which comes when an ssh connection is lost, ends the process: the terminal is gone.
    """

    async def run() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, app.exit)
        await app.run_async()

    asyncio.run(run())
    return app.return_code or 0
