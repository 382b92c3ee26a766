"""Stored failures: written as small Python files, and replayed.

Strategy: a file says what went wrong and how often the case failed when it was saved, and holds the case. A
replay checks exactly that case, each time in a new session. A failure that depends on timing does not
happen every time, so a replay counts.

A case that ends the whole process leaves no exception to catch. So the case under way is kept in a file,
where the next run of the target finds it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import runpy
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .clock import HANGING, Deadline
from .target import Session, Target

TIMES: Final = 5
"""How often a case is checked again, when it is saved and when it is replayed."""


@dataclass(frozen=True)
class Repetition:
    """How often a case failed of how many times."""

    failed: int
    times: int

    def __str__(self) -> str:
        return f"{self.failed} of {self.times} times"


@dataclass(frozen=True)
class Replay:
    """The result of replaying a stored case."""

    now: Repetition
    saved: Repetition
    """How it was when the case was saved."""
    error: Exception | None
    """The first failure."""
    label: str
    """What the session knows of this case, such as "known: fewer doorbells than chunks"."""


@contextlib.contextmanager
def opened(target: Target, directory: Path) -> Iterator[Session]:
    """A session of a target, with what earlier runs in this directory have learnt."""
    with target.session() as session:
        if keep_in := getattr(session, "keep_in", None):
            keep_in(directory / target.name)
        yield session


def fails(session: Session, case: Any, deadline: Deadline) -> Exception | None:
    """What a case fails with, if it does. Call it inside of `deadline.enforced`."""
    try:
        with deadline.case(HANGING):
            session.check(case)
    except Exception as error:
        return error
    return None


def repeat(session: Session, case: Any, deadline: Deadline) -> Repetition:
    """Check a case `TIMES` times, or as often as the time allows."""
    outcomes: list[bool] = []
    while len(outcomes) < TIMES and not deadline.over:
        outcomes.append(fails(session, case, deadline) is not None)
    return Repetition(sum(outcomes), len(outcomes))


def path_of(target: str, name: str, directory: Path) -> Path:
    """Where the failure of that name is, or would be."""
    return directory / target / "failures" / f"{name}.py"


def store(target: str, case: Any, words: str, repetition: Repetition, directory: Path) -> str:
    """Write a failure down. Gives its name."""
    text = repr(case)
    name = hashlib.sha256(text.encode()).hexdigest()[:8]
    path = path_of(target, name, directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    comment = "\n".join(f"# {line}".rstrip() for line in words.strip().splitlines())
    path.write_text(
        f"{comment}\n\nfrom fuzz.cases import *\n\n"
        "# How often it failed when it was saved, of how many times.\n"
        f"FAILED = ({repetition.failed}, {repetition.times})\n\n"
        f"CASE = {text}\n"
    )
    return name


def words_of(error: BaseException) -> str:
    """The end of a traceback."""
    return "".join(traceback.format_exception(error, limit=-3))


def replay(target: Target, name: str, directory: Path, times: int = TIMES) -> Replay:
    """Check a stored case again, exactly as it is. Raises FileNotFoundError for an unknown name."""
    path = path_of(target.name, name, directory)
    if not path.is_file():
        raise FileNotFoundError(f"no failure {name!r} of {target.name} in {path.parent}")
    stored = runpy.run_path(str(path), dict(target.names))
    case = stored["CASE"]
    errors: list[Exception | None] = []
    label = ""
    deadline = Deadline()
    for _ in range(times):
        with deadline.enforced(), opened(target, directory) as session:
            label = getattr(session, "label", lambda case: "")(case)
            errors.append(fails(session, case, deadline))
    failed = [error for error in errors if error is not None]
    return Replay(
        now=Repetition(len(failed), times),
        saved=Repetition(*stored.get("FAILED", (0, 0))),
        error=failed[0] if failed else None,
        label=label,
    )


# --- a case that ends the process ---


def case_file(target: Target, directory: Path) -> Path:
    """Where this process keeps the case that it checks. Other processes may run the same target."""
    return directory / target.name / f"under_way.{os.getpid()}"


@contextlib.contextmanager
def under_way(file: Path, case: Any) -> Iterator[None]:
    """Keep a case in a file while it is checked."""
    file.write_text(f"{case!r}\n")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def left_behind(target: Target, directory: Path) -> list[str]:
    """Store the cases that earlier runs of this target ended in. Gives the failures' names."""
    names = []
    for file in sorted((directory / target.name).glob("under_way.*")):
        if not _is_alive(int(file.suffix[1:])):
            case = _Written(file.read_text().strip())
            names.append(store(target.name, case, _ENDED, Repetition(0, 0), directory))
            file.unlink()
    return names


_ENDED: Final = """\
The process ended while it checked this case: by the case, or because it was killed from outside.
A replay may end the process as well."""


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class _Written:
    """A case that is there as text only."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
