"""A report as a page to share: self-contained, without scripts, readable on paper.

Strategy: plain string templates and one style sheet. A template library would be one more thing to install
for a page with few sections, and every text that comes from outside goes through `_text`, which escapes it.
Each step of a story is drawn as SVG: a circle for each node, filled if it is quorate, and a frame around each
partition. Colours are CSS variables, for light and dark screens and for paper; no information is in colour
alone.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from .failures import Failure
from .likely import Estimate
from .plot import plot
from .remedies import Remedy
from .report import Reachability, Report, Verdict
from .story import Side, Story, StoryStep, folded, situation
from .words import and_others, device_in_words

_LIGHT: Final = """
--text: #1b1b1b; --note: #555; --page: #fff; --line: #999; --grid: #e3e3e3;
--good: #1d6b1d; --bad: #a40000; --open: #8a5a00; --quorate: #bfe3bf; --node: #fff
"""
_DARK: Final = """
--text: #e6e6e6; --note: #a8a8a8; --page: #16181a; --line: #777; --grid: #2c3034;
--good: #7fce7f; --bad: #ff8f8a; --open: #e5b45a; --quorate: #24552a; --node: #16181a
"""
_STYLE: Final = f"""
:root {{ color-scheme: light dark; {_LIGHT} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 52em; margin: 2em auto; padding: 0 1em;
  color: var(--text); background: var(--page); overflow-wrap: break-word }}
h2 {{ margin-top: 2em }} h3 {{ margin-bottom: .2em }}
.wide {{ overflow-x: auto }}
table {{ border-collapse: collapse }}
td, th {{ text-align: left; padding: .2em 1.2em .2em 0; vertical-align: top }}
th {{ border-bottom: 1px solid var(--line) }} tr {{ break-inside: avoid }}
.bad {{ color: var(--bad); font-weight: bold }} .good {{ color: var(--good); font-weight: bold }}
.open {{ color: var(--open); font-weight: bold }} .note {{ color: var(--note) }}
.step {{ display: flex; flex-wrap: wrap; gap: .2em 1em; align-items: center; break-inside: avoid;
  margin: .6em 0 }}
.step p {{ margin: 0; flex: 1 1 15em }}
svg {{ max-width: 100%; height: auto; flex: none }}
svg text {{ fill: var(--text); font: 14px system-ui, sans-serif }}
.partition {{ fill: none; stroke: var(--line); stroke-width: 2 }}
.partition.quorate {{ stroke: var(--good) }}
.node {{ fill: var(--node); stroke: var(--text) }} .node.quorate {{ fill: var(--quorate) }}
.node.down {{ fill: none; stroke: var(--line); stroke-dasharray: 3 3 }}
.plot {{ width: 100%; max-width: 640px }} .plot text {{ font-size: 12px }}
.grid {{ stroke: var(--grid); fill: none }}
.line, .single {{ fill: none; stroke: var(--good); stroke-width: 2.5 }}
.single {{ stroke: var(--note); stroke-width: 1.5; stroke-dasharray: 5 4 }} .dot {{ fill: var(--bad) }}
@media print {{ body {{ margin: 0; max-width: none; font-size: 11pt }} h2, h3 {{ break-after: avoid }}
  * {{ print-color-adjust: exact }} }}
"""
"""The printed page is always light."""

_CLASSES: Final = {Reachability.CANNOT_HAPPEN: "good", Reachability.HAPPENS: "bad"}
_DISTANCE: Final = 46
"""Pixels from node to node."""
_HEIGHT: Final = 64
_WAYS: Final = ("One", "Another")


def page(
    name: str,
    report: Report,
    warnings: Sequence[str],
    remedies: Mapping[str, Sequence[Remedy]],
    estimate: Estimate | None = None,
) -> str:
    """The page for a configuration called `name`. `estimate`: how likely quorum is, where it was asked."""
    title = f"What {name} survives"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)}</title>",
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{_text(title)}</h1>",
            _summary(report.verdicts),
            _list("Rules in force", [*report.in_words, *device_in_words(report.device)]),
            _list("Switched off or ignored", [*warnings, *report.ignored]),
            _failures(report),
            *([] if estimate is None else [_likely(estimate)]),
            "<h2>Verdicts</h2>",
            *(_verdict(one, remedies.get(one.name, ())) for one in report.verdicts),
            _effort(report),
            "</body></html>",
            "",
        ]
    )


def _summary(verdicts: Iterable[Verdict]) -> str:
    rows = "".join(
        f"<tr><td>{_text(one.name)}</td><td>{_answer(one)}</td><td>{_text(one.meaning)}</td></tr>"
        for one in verdicts
    )
    head = "<tr><th>property</th><th>verdict</th><th>what it means</th></tr>"
    return f'<div class="wide"><table>{head}{rows}</table></div>'


def _answer(verdict: Verdict) -> str:
    css = _CLASSES.get(verdict.outcome, "open") if verdict.is_bad else "note"
    return f'<span class="{css}">{_text(verdict.answer)}</span>'


def _likely(estimate: Estimate) -> str:
    words = str(estimate)
    return (
        f"<h2>How likely quorum is</h2><p>{_text(words[:1].upper() + words[1:])}.</p>{plot(estimate)}"
        '<p class="note">Time a year without quorum, by how likely each node is down. The dot is this '
        "cluster, the dashed line a single node without a cluster.</p>"
    )


def _text(text: str) -> str:
    return html.escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def _list(title: str, lines: Iterable[str]) -> str:
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return f"<h2>{title}</h2><ul>{items}</ul>" if items else ""


def _failures(report: Report) -> str:
    has_others = any(one.alike > 1 for one in report.failures)
    rows = "".join(
        f"<tr><td>{_text(str(one))}</td><td>{_goes_on(one)}</td>{_others(one) if has_others else ''}</tr>"
        for one in report.failures
    )
    others = "<th>same for others</th>" if has_others else ""
    head = f"<tr><th>if these fail</th><th>these stay quorate</th>{others}</tr>"
    fatal = "; ".join(f"{one}{and_others(one.alike)}" for one in report.fatal_sets)
    return (
        f'<h2>Failures at the same moment</h2><div class="wide"><table>{head}{rows}</table></div>'
        f"<p>Smallest sets of failures that end quorum: {_text(fatal)}.</p>"
    )


def _others(failure: Failure) -> str:
    return f"<td>{failure.alike - 1 or ''}</td>"


def _goes_on(failure: Failure) -> str:
    if failure.is_fatal:
        return '<span class="bad">none</span>'
    return " ".join(map(str, failure.goes_on))


def _verdict(verdict: Verdict, remedies: Sequence[Remedy]) -> str:
    helps = "".join(f"<li>Remedy, checked: {_text(one.text)}{_still(one)}</li>" for one in remedies)
    return (
        f"<h3>{_text(verdict.name)}: {_answer(verdict)}</h3>"
        f'<p class="note">{_text(verdict.meaning)}</p><p>{_text(verdict.text)}</p>'
        f"{''.join(f'<p>Not looked at: {_text(what)}.</p>' for what in verdict.not_looked_at)}"
        f"{_stories(verdict.stories)}{f'<ul>{helps}</ul>' if helps else ''}"
    )


def _still(remedy: Remedy) -> str:
    return f" (still: {_text(', '.join(remedy.still_bad))})" if remedy.still_bad else ""


def _stories(stories: Sequence[Story]) -> str:
    if len(stories) < 2:
        return "".join(map(_story, stories))
    return "".join(f"<h4>{name} way</h4>{_story(story)}" for name, story in zip(_WAYS, stories, strict=True))


def _story(story: Story) -> str:
    return "".join(
        f'<div class="step"><p>{number}. {_text(step.text)}<br>'
        f'<span class="note">{_text(situation(step))}</span></p>{_drawing(step)}</div>'
        for number, step in enumerate(folded(story))
    )


def _drawing(step: StoryStep) -> str:
    """Partitions side by side, then the nodes that are down."""
    drawn, x = [], 4
    for side in step.sides:
        drawn.append(_side(side, x))
        x += len(side.members) * _DISTANCE + 12
    for nodeid in step.down:
        drawn.append(_node(nodeid, x, "down"))
        x += _DISTANCE
    return (
        f'<svg width="{x}" height="{_HEIGHT}" viewBox="0 0 {x} {_HEIGHT}" role="img">'
        f"<title>{_text(situation(step))}</title>{''.join(drawn)}</svg>"
    )


def _side(side: Side, x: int) -> str:
    width = len(side.members) * _DISTANCE
    frame = (
        f'<rect class="partition{" quorate" if side.quorate else ""}" '
        f'x="{x}" y="4" width="{width}" height="{_HEIGHT - 8}" rx="12"/>'
    )
    nodes = (
        _node(nodeid, x + at * _DISTANCE, "quorate" if nodeid in side.quorate else "")
        for at, nodeid in enumerate(side.members)
    )
    return frame + "".join(nodes)


def _node(nodeid: int, x: int, css: str) -> str:
    middle, height = x + _DISTANCE // 2, _HEIGHT // 2
    return (
        f'<circle class="node {css}" cx="{middle}" cy="{height}" r="17"/>'
        f'<text x="{middle}" y="{height + 5}" text-anchor="middle">{nodeid}</text>'
    )


def _effort(report: Report) -> str:
    effort = report.effort
    within = "" if effort.faults is None else f" (faults: up to {effort.faults})"
    text = f"{effort.stopped}{within}: {effort.states} states in {effort.seconds:.1f} s; {effort.reach}."
    legend = "A filled circle is a quorate node, a frame a partition, a dashed circle a node that is down."
    return f'<p class="note">{legend}</p><p class="note">{_text(text)}</p>'
