"""A guided run: what takes a new edge is stored and changed."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import strategies as st

from fuzz import __main__ as command
from fuzz.edges import EDGES, VARIABLE, Edges, Guide, edges_of_daemons
from fuzz.runner import NotCounting, fuzz
from fuzz.target import Target

WARDS = 16
"""A blind run opens the lock once in 65,536 cases."""


class Lock:
    """A program that takes another edge for each odd byte, and fails when all are odd."""

    def __init__(self, edges: Edges, map_: mmap.mmap) -> None:
        self.edges = edges
        self._map = map_
        self._map[0] = 1

    def check(self, case: bytes) -> None:
        for index, byte in enumerate(case, 1):
            if byte % 2 == 0:
                return
            self._map[index] = 1
        raise AssertionError("open")


@contextlib.contextmanager
def lock() -> Iterator[Lock]:
    with mmap.mmap(-1, EDGES) as map_:
        yield Lock(Edges(map_), map_)


LOCK = Target(
    name="lock",
    property="It cannot be opened.",
    cases=st.binary(min_size=WARDS, max_size=WARDS),
    session=lock,
)


@pytest.mark.parametrize("guided", [True, False])
def test_only_a_guided_run_finds_what_takes_many_steps(tmp_path: Path, guided: bool) -> None:
    report = fuzz(LOCK, minutes=1, cases=1000, first_seed=1, directory=tmp_path, guided=guided)
    assert len(report.failures) == guided
    assert (tmp_path / "lock" / "guided").exists() == guided


def test_a_guided_run_begins_with_what_it_has_stored(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"first")
    tried: list[bytes] = []

    def try_out(choices: bytes) -> None:
        tried.append(choices)

    with lock() as session:
        Guide(session.edges, tmp_path, seed=1).step(try_out)
    assert tried == [b"first"]


def test_a_target_that_counts_nothing_cannot_be_guided(tmp_path: Path) -> None:
    with pytest.raises(NotCounting, match="tools/sanitized-corosync"):
        fuzz(
            Target("plain", "", st.none(), lambda: contextlib.nullcontext(SimpleNamespace(check=print))),
            minutes=1,
            directory=tmp_path,
            guided=True,
        )


def test_the_command_says_what_a_guided_run_needs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as exit_:
        command.main(["codec", "--guided", "--corpus", str(tmp_path)])
    assert exit_.value.code == command.USAGE
    assert "tools/sanitized-corosync" in capsys.readouterr().err


def test_daemons_know_where_to_count() -> None:
    with edges_of_daemons() as edges:
        with Path(os.environ[VARIABLE]).open("r+b") as file:
            file.seek(EDGES - 1)
            file.write(b"\1")
        assert edges.take() == 1
        assert edges.take() == 0
        assert edges.reached == 1
    assert VARIABLE not in os.environ
