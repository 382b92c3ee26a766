"""A report as JSON has it. The keys are documented in docs/checking.md, and none comes or goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .failures import Failure
from .likely import Estimate
from .remedies import Remedy
from .report import Report, Verdict
from .story import Story


def report_json(report: Report, remedies: Mapping[str, Sequence[Remedy]]) -> dict[str, Any]:
    """The whole report. `remedies` are those of each property that happens, by its name."""
    return {
        "exit_code": report.exit_code,
        "rules": list(report.in_words),
        "ignored": list(report.ignored),
        "device": report.device,
        "failures": [_failure(one) for one in report.failures],
        "fatal_sets": [_failure(one) for one in report.fatal_sets],
        "cold_start": [list(nodeids) for nodeids in report.cold_start],
        "verdicts": [verdict_json(one, remedies.get(one.name, ())) for one in report.verdicts],
        "effort": {
            "states": report.effort.states,
            "changes": report.effort.changes,
            "seconds": round(report.effort.seconds, 3),
            "stopped": report.effort.stopped.name,
            "faults": report.effort.faults,
            "network": report.effort.reach,
            "windows_in_order": report.effort.windows_in_order,
            "symmetry": report.effort.symmetry,
        },
    }


def availability_json(estimate: Estimate) -> dict[str, Any]:
    """How likely quorum is."""
    found = estimate.found
    return {
        "probability": found.probability,
        "split_brain": found.split_brain,
        "error": found.error,
        "nines": found.nines,
        "minutes_a_year": found.minutes_a_year,
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "nodes": list(failure.nodeids),
        "device": failure.device,
        "cut_off": failure.cut_off,
        "goes_on": list(failure.goes_on),
        "alike": failure.alike,
    }


def verdict_json(verdict: Verdict, remedies: Sequence[Remedy]) -> dict[str, Any]:
    """What came out about one property, with its stories and the changes that would help."""
    return {
        "name": verdict.name,
        "meaning": verdict.meaning,
        "outcome": verdict.outcome.name,
        "text": verdict.text,
        "not_looked_at": list(verdict.not_looked_at),
        "bad": verdict.is_bad,
        "stories": [_story(story) for story in verdict.stories],
        "remedies": [{"text": one.text, "still_bad": list(one.still_bad)} for one in remedies],
    }


def _story(story: Story) -> list[dict[str, Any]]:
    return [
        {
            "event": step.text,
            "partitions": [
                {"members": list(side.members), "quorate": list(side.quorate)} for side in step.sides
            ],
            "down": list(step.down),
        }
        for step in story
    ]
