"""The screen's behaviour: with keys, with answers that get old, and with a cluster that changes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.real.daemon import Daemon
from tests.real.waiting import DEADLINE, DeadlineError, eventually_async
from votequorum_ipc.live.app import SPANS, LiveApp, Pane
from votequorum_ipc.live.demo import SCENES, demo_cluster
from votequorum_ipc.live.feed import Feed
from votequorum_ipc.live.standing import age_limit
from votequorum_ipc.testing import SimulatedClusterProxy, simulated_cluster_in_thread
from votequorum_ipc.types import QuorumState

from .stage import NOON, NoNews, Stage, in_asyncio, rows_of, staged

# --- keys ---


@in_asyncio
async def test_the_arrows_select_a_node_and_show_what_its_failure_would_do(
    three: SimulatedClusterProxy,
) -> None:
    three.kill(3)
    async with staged(three.address(1)) as stage:
        assert "If alpha failed: quorum would be LOST, 1 of 3 votes, 2 needed" in stage.rows()
        await stage.press("down", "down")
        assert "If gamma failed: nothing would change, it is already missing" in stage.rows()
        await stage.press("down", "up")
        assert "If beta failed: quorum would be LOST, 1 of 3 votes, 2 needed" in stage.rows()
        assert [row for row in stage.rows() if row.startswith(">")] == [
            "> beta (2)                member    1      -            2 up, 0.2 ms"
        ]


@in_asyncio
async def test_pages_scroll_the_timeline(three: SimulatedClusterProxy) -> None:
    async with staged(three.address(1)) as stage:
        for _ in range(5):
            three.kill(3)
            await stage.ask()
            three.up(3)
            await stage.ask()
        newest = stage.rows()
        await stage.press("pagedown")
        older = stage.rows()
        assert "5 newer above" in "".join(older)
        assert _timeline(older)[:4] == _timeline(newest)[5:9]
        await stage.press(*["pagedown"] * 20)
        assert _timeline(stage.rows())[0] == "12:00:00 + quorate: 3 of 3 votes, 2 needed"
        await stage.press("home")
        assert stage.rows() == newest


def _timeline(rows: list[str]) -> list[str]:
    title = next(number for number, row in enumerate(rows) if row.startswith("Timeline"))
    return rows[title + 1 : -1]


@in_asyncio
async def test_t_changes_the_length_of_time_shown(three: SimulatedClusterProxy) -> None:
    async with staged(three.address(1)) as stage:
        titles = []
        for _ in SPANS:
            titles += [row[:9].rstrip() for row in stage.rows() if row.startswith("Last")]
            await stage.press("t")
    assert titles == ["Last 1 h", "Last 4 h", "Last 24 h", "Last 15 m"]


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
@in_asyncio
async def test_the_quit_keys_end_it(key: str) -> None:
    app = LiveApp(NoNews(), patience=1)
    async with app.run_test() as pilot:
        await pilot.press(key)
        await pilot.pause()
        assert app._exit
    assert app.return_code == 0


@in_asyncio
async def test_s_saves_the_timeline_and_shows_where(three: SimulatedClusterProxy, tmp_path: Path) -> None:
    async with staged(three.address(1), directory=tmp_path) as stage:
        await stage.press("s", "s")
        saved = sorted(path.name for path in tmp_path.iterdir())
        said = "".join(stage.rows()).replace(" ", "")
    first, second = "votequorum-timeline-20261120-120000", "votequorum-timeline-20261120-120000-2"
    assert saved == [f"{second}.json", f"{second}.svg", f"{first}.json", f"{first}.svg"]
    assert f"{tmp_path}/{second}.svgand{second}.json" in said
    changes = json.loads((tmp_path / f"{first}.json").read_text())["changes"]
    assert [change["text"] for change in changes] == ["quorate: 3 of 3 votes, 2 needed"]
    assert "quorate: 3 of 3 votes, 2 needed" in " ".join(rows_of((tmp_path / f"{first}.svg").read_text()))


@in_asyncio
async def test_if_nothing_can_be_written_it_says_so_and_continues(tmp_path: Path) -> None:
    async with staged(directory=tmp_path / "missing") as stage:
        await stage.press("s")
        assert "The timeline was not saved: [Errno 2] No such file or directory" in " ".join(stage.rows())


# --- answers that get old ---


@in_asyncio
async def test_an_old_answer_is_not_shown_as_quorate(three: SimulatedClusterProxy) -> None:
    async with staged(three.address(1), patience=5) as stage:
        await stage.pass_time(3)
        assert stage.rows()[0].startswith(" QUORATE  since 12:00:00  (no answer for 3 s)")
        await stage.pass_time(age_limit(5) - 3 + 0.1)
        assert_nothing_reads_as_quorate(stage)
        assert "Why     no answer for 7 s; it was quorate then; asking again" in stage.rows()
        assert "If alpha failed: unknown" in stage.rows()


@in_asyncio
async def test_unknown_begins_at_the_last_answer_and_ends_with_the_next(
    three: SimulatedClusterProxy,
) -> None:
    async with staged(three.address(1), patience=5) as stage:
        await stage.pass_time(1)
        await stage.ask()
        await stage.pass_time(100)
        assert stage.rows()[0].startswith(" UNKNOWN  since 12:00:01")
        await stage.ask()
        assert stage.rows()[0].startswith(" QUORATE  since 12:01:41")
    assert [(period.since - NOON, period.state) for period in stage.app.timeline.periods] == [
        (0, QuorumState.QUORATE),
        (1, QuorumState.UNKNOWN),
        (101, QuorumState.QUORATE),
    ]


@in_asyncio
async def test_the_time_in_which_the_screen_was_suspended_is_unknown(three: SimulatedClusterProxy) -> None:
    async with staged(three.address(1), patience=5) as stage:
        # The clock is not read meanwhile: the next event is an answer.
        stage.clock.pass_time(3600)
        await stage.ask()
    assert [(period.since - NOON, period.state) for period in stage.app.timeline.periods] == [
        (0, QuorumState.QUORATE),
        (0, QuorumState.UNKNOWN),
        (3600, QuorumState.QUORATE),
    ]


def assert_nothing_reads_as_quorate(stage: Stage) -> None:
    """No text above the timeline, which shows the past, says that there is quorum."""
    above = "\n".join(stage.rows()).split("Last ")[0].replace("it was quorate then", "")
    assert above.startswith(" UNKNOWN ")
    for word in ("QUORATE", "quorate", "█", "member ", "survives", "stay"):
        assert word not in above, above


# --- a cluster that changes ---


class SignallingApp(LiveApp):
    """Tells a test when it has read its clock."""

    def __init__(self, address: str | None, *, patience: float = 20) -> None:
        super().__init__(Feed(address, patience=patience, tick=0.1, links_pause=0.1), patience=patience)
        self.looked = asyncio.Event()

    def look(self) -> None:
        """Tell it."""
        super().look()
        self.looked.set()

    async def until(self, state: QuorumState, text: str = "") -> list[str]:
        """The panes' lines, once they show this state and this text."""
        deadline = time.monotonic() + DEADLINE
        while True:
            self.looked.clear()
            rows = [line.plain for pane in self.query(Pane) for line in pane.lines(*self.size)]
            if rows[0].startswith(f" {state.value.upper()} ") and text in "\n".join(rows):
                return rows
            # The screen reads its clock every second, so this wakes up even if nothing else happens.
            await self.looked.wait()
            if time.monotonic() > deadline:
                raise DeadlineError("\n".join(rows))


@contextlib.asynccontextmanager
async def following(address: str | None, *, patience: float = 20) -> AsyncIterator[SignallingApp]:
    """A screen that follows a node by itself."""
    app = SignallingApp(address, patience=patience)
    async with app.run_test(size=(100, 40)):
        yield app


@in_asyncio
async def test_it_follows_a_cluster_through_the_daemons_death_and_restart(
    three: SimulatedClusterProxy,
) -> None:
    async with following(three.address(1)) as app:
        await app.until(QuorumState.QUORATE, "3 of 3, 2 needed")
        three.partition({1}, {2, 3})
        await app.until(QuorumState.NOT_QUORATE, "beta, gamma are missing")
        three.heal()
        await app.until(QuorumState.QUORATE)
        three.kill(1)
        rows = await app.until(QuorumState.UNKNOWN, "asking again")
        assert any(row.startswith("Why     the daemon closed the connection") for row in rows)
        await app.until(QuorumState.UNKNOWN, "nothing listens")
        three.up(1)
        await app.until(QuorumState.QUORATE, "3 of 3, 2 needed")
        told = [line.text for line in app.timeline.lines]
    assert [text.split(":")[0] for text in told if text.startswith("quor")] == [
        "quorate",
        "quorum lost, activity blocked",
        "quorum gained",
        "quorum unknown",
        "quorate",
    ]


@in_asyncio
async def test_a_broken_link_is_in_the_table_and_in_the_timeline(three: SimulatedClusterProxy) -> None:
    async with following(three.address(1)) as app:
        await app.until(QuorumState.QUORATE, "2 up, 0.2 ms")
        three.link(1, 2, 1, connected=False)
        rows = await app.until(QuorumState.QUORATE, "link 1 to beta is down")
        assert "  beta (2)                member    1      -            1 up, 1 DOWN, 0.2 ms" in rows


@in_asyncio
async def test_without_a_provider_quorum_is_unknown() -> None:
    with simulated_cluster_in_thread(2, provider="") as cluster:
        async with following(cluster.address(1)) as app:
            await app.until(QuorumState.UNKNOWN, "corosync runs without a quorum provider")


def test_it_says_unknown_while_a_real_corosync_is_frozen(shm_daemon: Daemon) -> None:
    @in_asyncio
    async def see() -> None:
        async with following(None, patience=0.5) as app:
            rows = await app.until(QuorumState.QUORATE, "1 of 1, 1 needed")
            assert any("does not survive the loss of node 1" in row for row in rows)
            with shm_daemon.frozen():
                await app.until(QuorumState.UNKNOWN, "has not answered for 0.5 s")
            await app.until(QuorumState.QUORATE, "1 of 1, 1 needed")

    see()


# --- the demonstration ---


@in_asyncio
async def test_every_scene_of_the_demo_can_be_seen() -> None:
    with demo_cluster() as demo:
        async with following(demo.address) as app:
            await app.until(QuorumState.QUORATE, "5 of 5, 3 needed")
            seen = []
            for scene, (state, text) in zip(SCENES, _SEEN, strict=True):
                seen.append(demo.step())
                assert seen[-1] == scene.text
                await app.until(state, text)


_SEEN = (
    (QuorumState.QUORATE, "4 of 5, 3 needed"),
    (QuorumState.QUORATE, "3 of 5, 3 needed"),
    (QuorumState.NOT_QUORATE, "device witness          votes no"),
    (QuorumState.QUORATE, "3 of 5, 3 needed"),
    (QuorumState.QUORATE, "5 of 5, 3 needed"),
    (QuorumState.QUORATE, "link 1 to beta is down"),
    (QuorumState.NOT_QUORATE, "beta, gamma, delta are missing"),
    (QuorumState.QUORATE, "5 of 5, 3 needed"),
    (QuorumState.UNKNOWN, "asking again"),
    (QuorumState.QUORATE, "5 of 5, 3 needed"),
)
"""What the screen shows after each scene."""


@in_asyncio
async def test_the_screen_tells_the_story() -> None:
    class TwoSentences:
        pace = 0.01

        def __init__(self) -> None:
            self.told = 0

        def step(self) -> str:
            self.told += 1
            return f"sentence {self.told}."

    story = TwoSentences()
    app = LiveApp(NoNews(), patience=1, narrator=story)
    async with app.run_test() as pilot:
        await eventually_async(lambda: story.told >= 2)
        await _until_shown(pilot, "Demo: sentence")


async def _until_shown(pilot: Pilot[None], text: str) -> None:
    await eventually_async(lambda: text in "\n".join(rows_of(pilot.app.export_screenshot())))
