"""A report as one page to hand to a colleague: self-contained, no scripts, readable on paper.

Strategy: plain string templates and one style sheet. A template library would be one more thing to install
for a page with four sections, and every text that comes from outside goes through `_text`, which escapes it.
Each step of a story is drawn as SVG: a circle a node, filled where it is quorate, and a frame around each
partition.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from .failures import Failure
from .remedies import Remedy
from .report import Reachability, Report, Verdict
from .story import Side, Story, StoryStep, folded

_STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 52em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse }
td, th { text-align: left; padding: .2em 1.2em .2em 0; vertical-align: top }
th { border-bottom: 1px solid #888 } h2 { margin-top: 2em }
.nobody, .happens { color: #a40000; font-weight: bold }
.cannot { color: #1d6b1d; font-weight: bold } .open { color: #8a5a00; font-weight: bold }
.step { display: flex; gap: 1em; align-items: center; break-inside: avoid; margin: .6em 0 }
.step p { margin: 0; flex: 1 } svg { flex: none } .note { color: #555 }
@media print { body { margin: 0; max-width: none } }
"""

_CLASSES: Final = {Reachability.CANNOT_HAPPEN: "cannot", Reachability.HAPPENS: "happens"}
_DISTANCE: Final = 46
"""Pixels from node to node."""
_HEIGHT: Final = 64


def page(name: str, report: Report, warnings: Sequence[str], remedies: Mapping[str, Sequence[Remedy]]) -> str:
    """The page for a configuration called `name`."""
    title = f"What {name} survives"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>',
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{_text(title)}</h1>",
            _list("Rules in force", report.in_words),
            _list("Switched off or ignored", [*warnings, *report.ignored]),
            _failures(report.failures),
            "<h2>Verdicts</h2>",
            *(_verdict(one, remedies.get(one.name, ())) for one in report.verdicts),
            _effort(report),
            "</body></html>",
            "",
        ]
    )


def _text(text: str) -> str:
    return html.escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def _list(title: str, lines: Iterable[str]) -> str:
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return f"<h2>{title}</h2><ul>{items}</ul>" if items else ""


def _failures(failures: Iterable[Failure]) -> str:
    rows = "".join(
        f"<tr><td>{_text(str(one))}</td><td>{_goes_on(one)}</td><td>{one.alike - 1 or ''}</td></tr>"
        for one in failures
    )
    head = "<tr><th>if these fail</th><th>who goes on</th><th>and as many like it</th></tr>"
    return f"<h2>Failures at the same moment</h2><table>{head}{rows}</table>"


def _goes_on(failure: Failure) -> str:
    if failure.is_fatal:
        return '<span class="nobody">nobody</span>'
    return " ".join(map(str, failure.goes_on))


def _verdict(verdict: Verdict, remedies: Sequence[Remedy]) -> str:
    css = _CLASSES.get(verdict.outcome, "open") if verdict.is_bad else "note"
    helps = "".join(f"<li>Remedy, checked: {_text(one.text)}{_still(one)}</li>" for one in remedies)
    return (
        f'<h3>{_text(verdict.name)}: <span class="{css}">{verdict.answer}</span></h3>'
        f'<p class="note">{_text(verdict.meaning)}</p><p>{_text(verdict.text)}</p>'
        f"{''.join(f'<p>Not looked at: {_text(what)}.</p>' for what in verdict.not_looked_at)}"
        f"{''.join(map(_story, verdict.stories))}{f'<ul>{helps}</ul>' if helps else ''}"
    )


def _still(remedy: Remedy) -> str:
    return f" (still: {_text(', '.join(remedy.still_bad))})" if remedy.still_bad else ""


def _story(story: Story) -> str:
    return "".join(
        f'<div class="step"><p>{number}. {_text(step.text)}</p>{_drawing(step)}</div>'
        for number, step in enumerate(folded(story))
    )


def _drawing(step: StoryStep) -> str:
    """Partitions side by side, then the nodes that are down."""
    drawn, x = [], 4
    for side in step.sides:
        drawn.append(_side(side, x))
        x += len(side.members) * _DISTANCE + 12
    for nodeid in step.down:
        drawn.append(_node(nodeid, x, "none", "#999", ' stroke-dasharray="3 3"'))
        x += _DISTANCE
    return (
        f'<svg width="{x}" height="{_HEIGHT}" viewBox="0 0 {x} {_HEIGHT}" role="img">'
        f"<title>{_text(_alternative(step))}</title>{''.join(drawn)}</svg>"
    )


def _side(side: Side, x: int) -> str:
    width = len(side.members) * _DISTANCE
    frame = (
        f'<rect x="{x}" y="4" width="{width}" height="{_HEIGHT - 8}" rx="12" fill="none" '
        f'stroke="{"#1d6b1d" if side.quorate else "#888"}" stroke-width="2"/>'
    )
    nodes = (
        _node(nodeid, x + at * _DISTANCE, "#bfe3bf" if nodeid in side.quorate else "#fff", "#333")
        for at, nodeid in enumerate(side.members)
    )
    return frame + "".join(nodes)


def _node(nodeid: int, x: int, fill: str, stroke: str, more: str = "") -> str:
    middle, height = x + _DISTANCE // 2, _HEIGHT // 2
    return (
        f'<circle cx="{middle}" cy="{height}" r="17" fill="{fill}" stroke="{stroke}"{more}/>'
        f'<text x="{middle}" y="{height + 5}" text-anchor="middle" font-size="14">{nodeid}</text>'
    )


def _alternative(step: StoryStep) -> str:
    sides = [
        f"{' '.join(map(str, side.members))}: quorate {' '.join(map(str, side.quorate)) or 'nobody'}"
        for side in step.sides
    ]
    return "; ".join([*sides, *(f"{nodeid} is down" for nodeid in step.down)])


def _effort(report: Report) -> str:
    effort = report.effort
    within = "" if effort.faults is None else f", up to {effort.faults} faults"
    text = f"{effort.stopped}{within}: {effort.states} states in {effort.seconds:.1f} s; {effort.reach}."
    legend = "A filled circle is a quorate node, a frame a partition, a dashed circle a node that is down."
    return f'<p class="note">{legend}</p><p class="note">{_text(text)}</p>'
