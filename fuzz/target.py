"""What a fuzz target is, and where targets come from: `fuzz/targets`, or a file of one's own.

Strategy: a target is a property, the cases to try it with, and a session that checks them. A
module of `fuzz/targets` lists its targets in `TARGETS`. A file of one's own may do the same, or just define
`CASES`, a hypothesis strategy, and `check(case)`, which raises if the property does not hold.
"""

from __future__ import annotations

import contextlib
import importlib
import runpy
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Protocol

from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.strategies import SearchStrategy

from .edges import Edges

MODULES: Final = (
    "codec",
    "ring",
    "client",
    "hostile_server",
    "hostile_client",
    "differential",
    "corosync",
    "together",
)
"""The modules of `fuzz.targets`."""


class Session(Protocol):
    """Checks cases, for as long as its context manager is open."""

    def check(self, case: Any) -> None:
        """Raise if the property does not hold for this case."""


class MeasuringSession(Session, Protocol):
    """A session that reports what it measured."""

    def summary(self) -> str:
        """What was measured, in a line."""


class SteeringSession(Session, Protocol):
    """A session that sees which edges of the daemon's code a case takes, so that a run can be guided."""

    edges: Edges | None
    """None if there is nothing to count them."""


class LearningSession(Session, Protocol):
    """A session that can go on after a failure.

    What it has learnt changes what a run tries, and never what `check` does with a case.
    """

    def keep_in(self, directory: Path) -> None:
        """Go on with what earlier runs learnt, and keep what this one learns, in this directory."""

    def unknown_part(self, case: Any) -> Any:
        """The case without what is known to fail. A run checks this; a replay checks the whole case."""

    def learn(self, case: Any, until: float) -> tuple[Any, str]:
        """Count this as known.

        Gives the case, made smaller while `time.monotonic()` is before `until`, and a comment on it.
        """

    def label(self, case: Any) -> str:
        """What is known of this case, for reports; "" for nothing."""


@dataclass(frozen=True)
class Target:
    """A property, the cases to try it with, and what they are checked on."""

    name: str
    property: str
    """The property in words: the module's docstring."""
    cases: SearchStrategy[Any]
    session: Callable[[], AbstractContextManager[Session]]
    examples: int = 100
    """Cases in the normal tests, for each seed."""
    needs_corosync: bool = False
    machine: Callable[[Any, Callable[[Any], None]], type[RuleBasedStateMachine]] | None = None
    """For cases that a state machine draws step by step: makes the machine, given a session and a function
    that is called with each whole case at its end."""
    names: Mapping[str, Any] = field(default_factory=dict)
    """Names that the `repr` of a case may use besides those of `fuzz.cases`."""


class NoTarget(Exception):
    """There is no such target, or a file does not define one. The text says what is missing."""


def find_targets() -> dict[str, Target]:
    """The targets of `fuzz.targets`, by name."""
    modules = [importlib.import_module(f"fuzz.targets.{name}") for name in MODULES]
    return {target.name: target for module in modules for target in module.TARGETS}


def find_target(name: str) -> Target:
    """The target of that name, or the one in the file of that name ("my_target.py"). Raises `NoTarget`."""
    if name.endswith(".py"):
        return load_target(Path(name))
    targets = find_targets()
    if name not in targets:
        raise NoTarget(
            f"no target {name!r}; the targets are {', '.join(targets)}, or name a file ending in .py"
        )
    return targets[name]


def load_target(path: Path) -> Target:
    """The target that a file defines. It is called as the file is. Raises `NoTarget`."""
    if not path.is_file():
        raise NoTarget(f"there is no file {path}")
    directory = str(path.resolve().parent)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    names = runpy.run_path(str(path), run_name=path.stem)
    if targets := names.get("TARGETS"):
        target: Target = targets[0]
        return target
    missing = [name for name in ("CASES", "check") if name not in names]
    if missing:
        raise NoTarget(
            f"{path} does not define {' and '.join(missing)}: a target needs CASES, a hypothesis strategy, "
            "and check(case), which raises where the property does not hold"
        )
    session = SimpleNamespace(check=names["check"])
    return Target(
        name=path.stem,
        property=names.get("__doc__") or names["check"].__doc__ or path.stem,
        cases=names["CASES"],
        session=lambda: contextlib.nullcontext(session),
        names=names,
    )
