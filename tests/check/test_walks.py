"""Long walks do not meet what the check rules out; `make model-check` walks further."""

from __future__ import annotations

import pytest

from tests.conftest import cannot
from votequorum_ipc.check import Reachability, check
from votequorum_ipc.cli.vqsim_process import why_unavailable
from votequorum_ipc.cluster import ClusterConfig

from .walks import SAFE, SplitBrainError, walk_in_model, walk_in_vqsim


@pytest.mark.parametrize("name", SAFE)
def test_the_check_says_that_no_split_brain_can_happen(name: str) -> None:
    (verdict,) = [one for one in check(SAFE[name]).verdicts if one.name == "split brain"]
    assert verdict.outcome is Reachability.CANNOT_HAPPEN


@pytest.mark.parametrize("name", SAFE)
def test_a_walk_in_the_model_meets_no_split_brain(name: str) -> None:
    walk_in_model(SAFE[name], 120, name)


@pytest.mark.parametrize("name", ["three", "four waiting"])
def test_a_walk_in_vqsim_meets_no_split_brain(name: str) -> None:
    if reason := why_unavailable():
        cannot(f"corosync-vqsim: {reason}")
    walk_in_vqsim(SAFE[name], 20, name)


def test_a_walk_would_notice_a_split_brain() -> None:
    with pytest.raises(SplitBrainError):
        walk_in_model(ClusterConfig.of(2, two_node=True), 500, 1)
