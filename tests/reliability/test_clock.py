"""Nothing depends on the time of day, which may jump at any time."""

from __future__ import annotations

import ast
import random
import re
import time
from pathlib import Path

import pytest
import trio

import votequorum_ipc
from tests.real.daemon import Daemon
from votequorum_ipc import Votequorum

PACKAGE = Path(votequorum_ipc.__file__).parent
# qdevice: the time of a vote, for `qdevice status`, whose record outlives the process. daemon: corosync's
# statistics contain the time of day, so the embedded daemon's do too. live: the timeline.
SHOWS_IT_TO_PEOPLE = {
    "cli/common.py",
    "cli/qdevice_status.py",
    "daemon/services/stats.py",
    "live/app.py",
    "qdevice/run.py",
}
TIME_OF_DAY = re.compile(r"time\.time(_ns)?|.*date(time)?\.(utc)?now|.*date\.today")


def test_only_code_that_shows_the_time_of_day_to_people_reads_it() -> None:
    asks = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and TIME_OF_DAY.fullmatch(ast.unparse(node))
    }
    assert asks == SHOWS_IT_TO_PEOPLE


async def test_a_time_of_day_that_jumps_changes_nothing(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(6)
    monkeypatch.setattr(time, "time", lambda: chance.uniform(-(2**40), 2**40))
    async with await Votequorum.initialize() as handle:
        await handle.trackstart()
        await handle.next_event()
        for _ in range(100):
            assert (await handle.getinfo()).node_id == 1
        with daemon.frozen(), trio.move_on_after(0.01) as scope:
            await handle.getinfo()
        assert scope.cancelled_caught
        assert (await handle.getinfo()).node_id == 1
