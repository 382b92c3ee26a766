"""Whole screens, compared with files of their text.

Only the text is compared: it is the same with every version of textual, while its pictures' bytes are not.
UPDATE_SCREENS=1 rewrites the files; review the changes before you commit them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from pathlib import Path

import pytest

from votequorum_ipc.testing import SimulatedClusterProxy, simulated_cluster_in_thread

from .stage import Stage, TestDevice, in_asyncio, rows_of, staged

SCREENS = Path(__file__).parent / "screens"


def assert_shows(name: str, stage: Stage) -> None:
    """The screen equals the file of this name."""
    text = stage.text()
    assert all(len(row) <= stage.app.size.width for row in text.splitlines())
    assert len(text.splitlines()) == stage.app.size.height
    file = SCREENS / f"{name}.txt"
    if os.environ.get("UPDATE_SCREENS"):
        file.write_text(text)
    assert text == file.read_text()


@in_asyncio
async def test_before_the_first_answer_quorum_is_unknown() -> None:
    async with staged() as stage:
        assert_shows("nothing-known", stage)


@in_asyncio
async def test_three_nodes_and_their_links(three: SimulatedClusterProxy) -> None:
    async with staged(three.address(1)) as stage:
        assert_shows("three-nodes", stage)


@in_asyncio
async def test_a_partition_and_its_end_are_in_the_timeline_with_their_causes(
    three: SimulatedClusterProxy,
) -> None:
    async with staged(three.address(1)) as stage:
        stage.clock.pass_time(600)
        await stage.ask()
        stage.clock.pass_time(1)
        three.partition({1}, {2, 3})
        await stage.ask()
        assert_shows("alone", stage)
        stage.clock.pass_time(300)
        three.heal()
        await stage.ask()
        assert_shows("together-again", stage)


@in_asyncio
async def test_a_device_that_votes_no(with_device: SimulatedClusterProxy) -> None:
    with contextlib.closing(TestDevice(with_device.address(1))) as device:
        device.votes(True)
        async with staged(with_device.address(1)) as stage:
            stage.clock.pass_time(60)
            with_device.kill(3)
            device.votes_on_change(True)
            await stage.ask()
            stage.clock.pass_time(60)
            with_device.kill(2)
            device.votes_on_change(False)
            await stage.ask()
            await stage.press("down", "down", "down")
            assert_shows("device-votes-no", stage)


@in_asyncio
async def test_after_corosync_has_died_quorum_is_unknown(three: SimulatedClusterProxy) -> None:
    async with staged(three.address(1)) as stage:
        stage.clock.pass_time(5)
        three.kill(1)
        await stage.ask()
        assert_shows("daemon-gone", stage)
        stage.clock.pass_time(5)
        three.up(1)
        await stage.ask()
        assert_shows("daemon-back", stage)


@in_asyncio
async def test_sixteen_nodes_scroll_with_the_selected_one() -> None:
    with simulated_cluster_in_thread(16) as cluster:
        cluster.kill(7)
        async with staged(cluster.address(1)) as stage:
            await stage.press(*["down"] * 11)
            assert_shows("sixteen-nodes", stage)


@in_asyncio
async def test_a_large_terminal_has_a_legend(three: SimulatedClusterProxy) -> None:
    async with staged(three.address(1), size=(120, 32)) as stage:
        assert_shows("large", stage)


def test_without_colour_the_words_and_signs_are_the_same(
    three: SimulatedClusterProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    coloured = asyncio.run(_pictures(three))
    monkeypatch.setenv("NO_COLOR", "1")
    three.up(2, 3)
    plain = asyncio.run(_pictures(three))
    for (word, with_colour), without in zip(coloured.items(), plain.values(), strict=True):
        assert rows_of(without)[0].startswith(f" {word} ")
        assert _without_rings(with_colour) == _without_rings(without)
        assert _colours(with_colour)
        assert not _colours(without)
        if word == "NOT QUORATE":
            assert _fill(without, "MISSING") == _fill(without, "Timeline")


async def _pictures(cluster: SimulatedClusterProxy) -> dict[str, str]:
    """Pictures of the screen in each state, by the word for the state."""
    async with staged(cluster.address(1)) as stage:
        pictures = {"QUORATE": stage.app.export_screenshot()}
        cluster.kill(2, 3)
        await stage.ask()
        pictures["NOT QUORATE"] = stage.app.export_screenshot()
        await stage.pass_time(2000)
        pictures["UNKNOWN"] = stage.app.export_screenshot()
        return pictures


def _without_rings(svg: str) -> list[str]:
    return [re.sub(r"ring [0-9a-f.]+ *", "", row) for row in rows_of(svg)]


def _fill(svg: str, word: str) -> str:
    """The colour of the first text with this word."""
    [style] = re.findall(rf'<text class="([^"]*)"[^>]*>[^<]*{word}', svg)[:1]
    [colour] = re.findall(rf"\.{style} {{ fill: (#[0-9a-f]{{6}})", svg)
    return str(colour)


def _colours(svg: str) -> set[str]:
    """The colours of the text that are not grey."""
    found = set(re.findall(r"-r\d+ { fill: (#[0-9a-f]{6})", svg))
    return {colour for colour in found if not _is_grey(bytes.fromhex(colour[1:]))}


def _is_grey(rgb: bytes) -> bool:
    return max(rgb) - min(rgb) < 8
