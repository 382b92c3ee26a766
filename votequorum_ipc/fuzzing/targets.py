"""What a fuzz target is, and how the targets of a checkout are found.

Strategy: a target is a module of the directory `fuzz` of a checkout that opens with the property it tests and
has a `TARGET`, or several. They stay outside of the installed package because half of them need the real
daemons of `tests/real`; the package has everything they are made of.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.strategies import SearchStrategy

MODULES: Final = ("codec", "ring", "hostile_server", "hostile_client", "differential", "corosync")
"""The modules of `fuzz` that have targets."""


class Session(Protocol):
    """What a target's cases are checked with, for as long as its context manager is open."""

    def check(self, case: Any) -> None:
        """Raise whatever says that the property does not hold for this case."""


class MeasuringSession(Session, Protocol):
    """A session that has something to say at its end."""

    def summary(self) -> str:
        """What was measured, in a line."""


class LearningSession(Session, Protocol):
    """A session that can go on behind a failure."""

    def learn(self, case: Any) -> tuple[Any, str]:
        """Do not fail for this again. Gives the case, smaller if may be, and what there is to say of it."""


@dataclass(frozen=True)
class Target:
    """A property, the cases it is tested with, and what they are tested on."""

    name: str
    property: str
    """The property in words: the module's docstring."""
    cases: SearchStrategy[Any]
    session: Callable[[], AbstractContextManager[Session]]
    examples: int = 100
    """Cases in the normal tests, for each seed."""
    needs_corosync: bool = False
    machine: Callable[[Any, Callable[[Any], None]], type[RuleBasedStateMachine]] | None = None
    """Where a state machine draws the cases step by step: makes one, of a session and a function that it
    tells each whole case when it is over."""


class NoCheckout(Exception):
    """The directory with the targets was not found."""


def checkout() -> Path:
    """The directory that has `fuzz`: the current one, or the one that this package was imported from.

    Raises `NoCheckout` where neither is a checkout.
    """
    for directory in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (directory / "fuzz" / "codec.py").is_file():
            return directory
    raise NoCheckout(
        "the fuzz targets are in the directory fuzz of a checkout (or of the unpacked source distribution): "
        "run this command there"
    )


def find_targets() -> dict[str, Target]:
    """The targets by name. Raises `NoCheckout`."""
    root = str(checkout())
    if root not in sys.path:
        sys.path.insert(0, root)
    modules = [importlib.import_module(f"fuzz.{name}") for name in MODULES]
    return {target.name: target for module in modules for target in module.TARGETS}
