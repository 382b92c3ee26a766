#!/usr/bin/env python3
"""Draw the pictures of the tutorial: quorum in action, as computed by the model of votequorum's rules.

Strategy: a picture is a list of steps carried out on the model in `votequorum_ipc.cluster`. After each step
the model is asked for every node's state, and that is drawn. No figure is typed in. Usage: tools/drawings.py
writes docs/tutorial/*.svg; tests/docs/test_drawings.py compares the files with the program's output.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from votequorum_ipc.cluster import (
    Cluster,
    ClusterConfig,
    DeviceConfig,
    GetInfo,
    QdevicePoll,
    QdeviceRegister,
    Response,
    ServiceKind,
    TieBreaker,
)
from votequorum_ipc.types import InfoFlags, NodeInfo

DIRECTORY: Final = Path(__file__).parent.parent / "docs" / "tutorial"

GREEN, RED, AMBER, GREY, INK, PALE = "#2e7d32", "#c62828", "#b26a00", "#9e9e9e", "#212121", "#f5f5f5"
FONT: Final = "font-family='system-ui, sans-serif' font-size='13'"
PANEL_WIDTH: Final = 190
ROW_HEIGHT: Final = 46
CAPTION_LINES: Final = 3

Act = Callable[[Cluster], object]


class Step(NamedTuple):
    """A step: a few words, and the change to the model."""

    caption: str
    act: Act


@dataclass(frozen=True)
class NodeState:
    """A node after a step, as its own votequorum reports it."""

    nodeid: int
    info: NodeInfo | None
    """None while the node is down."""
    partition: tuple[int, ...]

    @property
    def verdict(self) -> tuple[str, str]:
        """A word, and its colour."""
        if self.info is None:
            return "down", GREY
        if self.info.quorate:
            return "quorate", GREEN
        if InfoFlags.WAIT_FOR_ALL in self.info.flags and self.info.total_votes >= self.info.quorum:
            return "waits for all", AMBER
        return "no quorum", RED


def ask(cluster: Cluster, nodeid: int) -> NodeInfo:
    """A node's `getinfo` about itself."""
    conn = cluster.connect(nodeid, ServiceKind.VOTEQUORUM)
    infos = [output.value for _, output in cluster.request(conn, GetInfo(0)) if isinstance(output, Response)]
    cluster.disconnect(conn)
    assert isinstance(infos[0], NodeInfo)
    return infos[0]


def states(cluster: Cluster) -> list[NodeState]:
    """Every configured node, the lowest id first."""
    partition_of = {nodeid: members for members in cluster.partitions() for nodeid in members}
    return [
        NodeState(
            nodeid, ask(cluster, nodeid) if nodeid in cluster.nodes else None, partition_of.get(nodeid, ())
        )
        for nodeid in cluster.config.nodeids
    ]


# --- a story in panels ---


def storyboard(config: ClusterConfig, steps: Iterable[Step]) -> str:
    """A panel for each step: the nodes from top to bottom, and a frame around each partition."""
    cluster = Cluster(config)
    panels = []
    for number, step in enumerate(steps, 1):
        step.act(cluster)
        panels.append((f"{number}. {step.caption}", states(cluster)))
    rows = -(-len(panels) // 2)
    height = CAPTION_LINES * 17 + len(config.nodes) * ROW_HEIGHT + 24
    shapes = [
        _moved(PANEL_WIDTH * (at % 2), height * (at // 2), _panel(caption, nodes))
        for at, (caption, nodes) in enumerate(panels)
    ]
    text = "; ".join(f"{caption} {_in_words(nodes)}" for caption, nodes in panels)
    return picture(2 * PANEL_WIDTH, rows * height, text, shapes)


def _in_words(nodes: list[NodeState]) -> str:
    return ", ".join(f"node {node.nodeid} {node.verdict[0]}" for node in nodes)


def _panel(caption: str, nodes: list[NodeState]) -> str:
    lines = textwrap.wrap(caption, 27)
    assert len(lines) <= CAPTION_LINES, caption
    shapes = [text_at(8, 20 + 17 * at, line, INK) for at, line in enumerate(lines)]
    top = CAPTION_LINES * 17 + 12
    for first, last, node in _frames(nodes):
        _, colour = node.verdict
        height = (last - first + 1) * ROW_HEIGHT - 8
        dashes = DASHES if node.info is None else ""
        look = f"rx='10' fill='{PALE}' stroke='{colour}' stroke-width='1.5'{dashes}"
        shapes.append(rectangle(8, top + first * ROW_HEIGHT, PANEL_WIDTH - 16, height, look))
    for row, node in enumerate(nodes):
        shapes.append(_node(node, top + row * ROW_HEIGHT + (ROW_HEIGHT - 8) // 2))
    return "".join(shapes)


DASHES: Final = " stroke-dasharray='4 4'"


def _frames(nodes: list[NodeState]) -> Iterator[tuple[int, int, NodeState]]:
    """First row, last row and a node of each partition. The stories cut between neighbours only."""
    row = 0
    while row < len(nodes):
        size = max(len(nodes[row].partition), 1)
        assert nodes[row].partition in ((), tuple(node.nodeid for node in nodes[row : row + size]))
        yield row, row + size - 1, nodes[row]
        row += size


def _node(node: NodeState, middle: int) -> str:
    word, colour = node.verdict
    circle = f"<circle cx='31' cy='{middle}' r='14' fill='{colour}'/>"
    centred = "text-anchor='middle' font-weight='bold'"
    name = f"<text x='31' y='{middle + 5}' fill='#fff' {centred}>{node.nodeid}</text>"
    if node.info is None:
        return circle + name + text_at(54, middle + 5, word, INK)
    votes = f"{node.info.total_votes} of {node.info.highest_expected}, needs {node.info.quorum}"
    return circle + name + text_at(54, middle - 2, word, colour) + text_at(54, middle + 14, votes, INK)


# --- votes and sizes ---


def sizes(least: int, most: int) -> str:
    """Clusters of several sizes: the votes needed for quorum, and the votes that may be missing."""
    rows = []
    for at, nodes in enumerate(range(least, most + 1)):
        cluster = Cluster(ClusterConfig.of(nodes))
        cluster.up(*cluster.config.nodeids)
        quorum, y = ask(cluster, 1).quorum, 34 + 30 * at
        look = f"rx='4' stroke='{GREEN}' stroke-width='1.5'"
        squares = "".join(
            rectangle(70 + 26 * vote, y, 20, 20, f"{look} fill='{GREEN if vote < quorum else 'none'}'")
            for vote in range(nodes)
        )
        rows.append(
            text_at(8, y + 15, f"{nodes} nodes", INK)
            + squares
            + text_at(266, y + 15, f"{nodes - quorum} may fail", INK)
        )
    head = text_at(8, 20, "filled: the votes that make a quorum", INK)
    text = "Votes that make a quorum, for clusters of several sizes"
    return picture(2 * PANEL_WIDTH, 44 + 30 * len(rows), text, [head, *rows])


# --- a device on a time line ---


class Span(NamedTuple):
    """A stretch of time: from when until when, in seconds, and how it looks."""

    begin: float
    end: float
    colour: str
    word: str


DEVICE: Final = "tutorial"
STEP: Final = 0.5
"""Seconds between two queries of the model."""


def device_timeline(*, last_poll: float, until: float, cut_at: float | None = None) -> str:
    """Node 1 of two with a device that falls silent: its polls, its vote, and whether node 1 is quorate.

    With `cut_at`, node 2 is cut off at that time, and the device never answers for the new membership.
    """
    config = ClusterConfig.of(2, device=DeviceConfig(votes=1))
    cluster = Cluster(config)
    cluster.up(1, 2)
    conn = cluster.connect(1, ServiceKind.VOTEQUORUM)
    cluster.request(conn, QdeviceRegister(DEVICE))
    polls: list[float] = []
    looks: list[tuple[float, str, str]] = []
    while cluster.now < until:
        if cut_at is not None and cluster.now == cut_at:
            cluster.partition({1}, {2})
        if cluster.now % 2 == 0 and cluster.now <= last_poll:
            cluster.request(conn, QdevicePoll(DEVICE, True, cluster.node(1).ring_id))
            polls.append(cluster.now)
        looks.append((cluster.now, *_looks(cluster)))
        cluster.advance(STEP)
    lanes = (
        ("vote", [(now, vote) for now, vote, _ in looks], {"counts": GREEN, "is lost": RED}),
        (
            "node 1",
            [(now, state) for now, _, state in looks],
            {"quorate": GREEN, "no quorum": RED, "waits": AMBER},
        ),
    )
    marks = {"cut": cut_at} if cut_at is not None else {}
    return _timeline(
        polls, [(name, _spans(seen, until, colours)) for name, seen, colours in lanes], until, marks
    )


def _looks(cluster: Cluster) -> tuple[str, str]:
    """Whether the device's vote counts on node 1, and what node 1's clients learn about quorum."""
    info = ask(cluster, 1)
    vote = "counts" if InfoFlags.QDEVICE_CAST_VOTE in info.flags else "is lost"
    if cluster.is_synchronising(1):
        return vote, "waits"
    return vote, "quorate" if info.quorate else "no quorum"


def _spans(seen: list[tuple[float, str]], until: float, colours: dict[str, str]) -> list[Span]:
    starts = [at for at, (_, word) in enumerate(seen) if at == 0 or seen[at - 1][1] != word]
    ends = [*(seen[at][0] for at in starts[1:]), until]
    return [
        Span(seen[at][0], end, colours[seen[at][1]], seen[at][1])
        for at, end in zip(starts, ends, strict=True)
    ]


def _timeline(
    polls: list[float], lanes: list[tuple[str, list[Span]]], until: float, marks: dict[str, float]
) -> str:
    left, width = 62, 2 * PANEL_WIDTH - 86

    def x(seconds: float) -> float:
        return round(left + width * seconds / until, 1)

    shapes = [text_at(8, 34, "polls", INK)]
    shapes += [f"<circle cx='{x(at)}' cy='30' r='3' fill='{INK}'/>" for at in polls]
    for row, (name, spans) in enumerate(lanes):
        y = 48 + 34 * row
        shapes.append(text_at(8, y + 17, name, INK))
        for span in spans:
            width_of_span = round(x(span.end) - x(span.begin), 1)
            look = f"rx='4' fill='{span.colour}'"
            shapes.append(rectangle(x(span.begin), y, width_of_span, 24, look))
            if width_of_span > 60:
                shapes.append(text_at(x(span.begin) + 6, y + 17, span.word, "#fff"))
    bottom = 48 + 34 * len(lanes)
    for second in range(0, int(until) + 1, 10):
        shapes.append(text_at(x(second) - 8, bottom + 14, f"{second} s", INK))
    for word, at in marks.items():
        shapes.append(
            f"<line x1='{x(at)}' x2='{x(at)}' y1='18' y2='{bottom}' stroke='{INK}'{DASHES}/>"
            + text_at(x(at) + 4, 16, word, INK)
        )
    words = "; ".join(
        f"{name} {span.word} from {span.begin:g} s to {span.end:g} s"
        for name, spans in lanes
        for span in spans
    )
    return picture(2 * PANEL_WIDTH, bottom + 26, f"last poll at {polls[-1]:g} s; {words}", shapes)


# --- SVG ---


def text_at(x: float, y: float, text: str, colour: str) -> str:
    return f"<text x='{x:g}' y='{y:g}' fill='{colour}'>{escape(text)}</text>"


def rectangle(x: float, y: float, width: float, height: float, look: str) -> str:
    return f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' {look}/>"


def _moved(x: int, y: int, shapes: str) -> str:
    return f"<g transform='translate({x} {y})'>{shapes}</g>"


def picture(width: int, height: int, title: str, shapes: Iterable[str], description: str = "") -> str:
    """A picture with a light background, so that it can be read on a dark page."""
    body = "\n".join(shapes)
    ground = rectangle(0, 0, width, height, "rx='8' fill='#fff'")
    size = f"width='{width}' height='{height}' viewBox='0 0 {width} {height}'"
    words = f"<title>{escape(title)}</title>\n"
    if description:
        words += f"<desc>{escape(description)}</desc>\n"
    root = f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img' {FONT}>"
    return f"{root}\n{words}{ground}\n{body}\n</svg>\n"


# --- the stories ---


def _start_all(cluster: Cluster) -> object:
    return cluster.up(*cluster.config.nodeids)


PICTURES: Final[dict[str, Callable[[], str]]] = {
    "sizes": lambda: sizes(2, 7),
    "crashes": lambda: storyboard(
        ClusterConfig.of(3),
        [
            Step("All three nodes are up", _start_all),
            Step("Node 3 crashes", lambda c: c.kill(3)),
            Step("Node 2 crashes too", lambda c: c.kill(2)),
            Step("Node 2 is back", lambda c: c.up(2)),
        ],
    ),
    "partition": lambda: storyboard(
        ClusterConfig.of(3),
        [
            Step("One network", _start_all),
            Step("Node 1 is cut off from the others", lambda c: c.partition({1}, {2, 3})),
            Step("Each node alone", lambda c: c.partition({1}, {2}, {3})),
            Step("The network is repaired", lambda c: c.heal()),
        ],
    ),
    "two-node": lambda: storyboard(
        ClusterConfig.of(2, two_node=True),
        [
            Step("Node 1 starts alone", lambda c: c.up(1)),
            Step("Node 2 starts", lambda c: c.up(2)),
            Step("Node 2 crashes", lambda c: c.kill(2)),
            Step("Node 1 restarts, and is alone again", lambda c: (c.kill(1), c.up(1))),
            Step("Node 2 starts too", lambda c: c.up(2)),
            Step("The link between them breaks", lambda c: c.partition({1}, {2})),
        ],
    ),
    "ties": lambda: storyboard(
        ClusterConfig.of(4),
        [
            Step("Four nodes", _start_all),
            Step("Two halves, no tie breaker", lambda c: c.partition({1, 2}, {3, 4})),
        ],
    ),
    "tie-breaker": lambda: storyboard(
        ClusterConfig.of(4, auto_tie_breaker=TieBreaker.LOWEST),
        [
            Step("Four nodes, auto_tie_breaker", _start_all),
            Step("Two halves: the one with the lowest node id wins", lambda c: c.partition({1, 2}, {3, 4})),
        ],
    ),
    "device-silent": lambda: device_timeline(last_poll=10, until=40),
    "device-silent-cut": lambda: device_timeline(last_poll=10, until=60, cut_at=12),
}
"""Each file's name, and the function that draws it."""


def main() -> None:
    """Write the pictures."""
    for name, draw in PICTURES.items():
        (DIRECTORY / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
