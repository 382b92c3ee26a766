"""What is known to end a daemon: combinations of features, kept from one run to the next.

Strategy: a failure is recognised by the features of its shortest sequence. A run leaves out the step that
would complete a known combination, so that it gets on to something else. A replay leaves nothing out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from votequorum_ipc.attack import Close, Connect, Send, Step, features
from votequorum_ipc.sockets import KNOWN_SERVICES
from votequorum_ipc.strategies.attacks import without

FILE: Final = "known.json"


class Known:
    """Combinations of features."""

    def __init__(self) -> None:
        self._combinations: set[frozenset[str]] = set()
        self._directory: Path | None = None

    def keep_in(self, directory: Path) -> None:
        """Go on with what earlier runs have left in this directory, and keep what is added there."""
        self._directory = directory
        file = directory / FILE
        if file.exists():
            self._combinations = {frozenset(combination) for combination in json.loads(file.read_text())}

    def add(self, combination: frozenset[str]) -> None:
        """From now on this is known."""
        self._combinations.add(combination)
        if self._directory is not None:
            self._directory.mkdir(parents=True, exist_ok=True)
            known = sorted(map(sorted, self._combinations))
            (self._directory / FILE).write_text(json.dumps(known, indent=1) + "\n")

    def unknown_part(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """The steps without those that complete a known combination."""
        return without(steps, self._combinations)

    def label(self, steps: Sequence[Step]) -> str:
        """The known combinations that the steps have: "" for none."""
        found = set(features(steps))
        known = [
            " and ".join(sorted(combination)) for combination in self._combinations if combination <= found
        ]
        return f"known: {'; '.join(sorted(known))}" if known else ""


def what_matters(steps: tuple[Step, ...]) -> frozenset[str]:
    """The features by which to know a failure again: those of damage, or else those of the requests."""
    of_steps = list(zip(steps, features(steps), strict=True))
    ordinary = {Connect(0, service).feature for service in KNOWN_SERVICES} | {Close(0).feature}
    requests = {feature for step, feature in of_steps if isinstance(step, Send) and not is_damage(step)}
    found = {feature for _, feature in of_steps}
    return frozenset(found - ordinary - requests or found - ordinary or found)


def is_damage(step: Send) -> bool:
    """Whether a request is announced in another way than it should be."""
    return step.feature != step.about
