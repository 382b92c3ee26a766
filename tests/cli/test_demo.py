"""`votequorum-ipc demo` runs by itself, and shows what clients of a simulated cluster see."""

from __future__ import annotations

import ast
import io
import re
import signal
import subprocess
from subprocess import PIPE

import pytest
import trio
from rich.console import Console

from tests.real.waiting import DEADLINE
from votequorum_ipc import InfoFlags, NodeInfo, NodeState
from votequorum_ipc.cli.demo import CODE, FIRST_ACT, SECOND_ACT, Stage, demo, display

from .command import COMMAND, ENVIRONMENT, without_daemon


def test_without_a_terminal_it_prints_plain_lines_that_tell_the_story_in_order() -> None:
    result = without_daemon("demo", "--pace", "0.2")
    assert (result.returncode, result.stderr) == (0, "")
    story = result.stdout
    assert "\x1b" not in story
    scenes = re.split(r"\n\[ *[\d.]+ s\] ", story)[1:]
    assert [scene.splitlines()[0] for scene in scenes] == [scene.text for scene in (*FIRST_ACT, *SECOND_ACT)]
    crash, second_crash, back = scenes[1], scenes[2], scenes[3]
    assert "node 1: quorate, votes 2, quorum 2" in crash
    assert "node 3: gone" in crash
    assert "node 1: NOT QUORATE, votes 1, quorum 2" in second_crash
    assert "node 1: quorate, votes 2, quorum 2" in back
    cut, device, saved = scenes[5], scenes[8], scenes[9]
    assert "node 1: NOT QUORATE, votes 1, quorum 2" in cut
    assert "node 2: quorate, votes 2, quorum 2" in cut
    assert "node 1: quorate, votes 5, quorum 3" in device
    assert "node 1: quorate, votes 3, quorum 3" in saved
    assert "NOT QUORATE" not in saved
    assert CODE in story


def test_ctrl_c_ends_it_quietly_with_exit_code_0() -> None:
    argv = [*COMMAND, "demo", "--pace", "60"]
    with subprocess.Popen(argv, stdout=PIPE, stderr=PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout
        assert any("node 1: quorate" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=DEADLINE)
    assert (process.returncode, errors) == (0, "")
    assert CODE not in rest


def test_in_a_terminal_it_redraws_a_panel() -> None:
    out = io.StringIO()
    stage = Stage()
    with display(terminal(out), stage):
        for flags in (InfoFlags(0), InfoFlags.QUORATE | InfoFlags.QDEVICE_CAST_VOTE):
            stage.saw(1, NodeInfo(1, NodeState.MEMBER, 1, 5, 5, 1, 3, flags, 2, "demo"))
    shown = [part for part in plain(out).split("corosync's quorum, simulated") if "node 1" in part]
    assert "NO, quorum lost" in shown[0]
    assert "yes, quorate with its device" in shown[-1]
    assert "quorum lost" not in shown[-1]


def test_in_a_terminal_it_plays_to_its_end() -> None:
    out = io.StringIO()
    trio.run(demo, terminal(out), 0.0)
    assert SECOND_ACT[-1].text[:40] in plain(out)
    assert "Your own quorum device" in plain(out)


def terminal(out: io.StringIO) -> Console:
    return Console(file=out, force_terminal=True, width=80, height=40, _environ={"TERM": "xterm"})


def plain(out: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())


def test_in_a_dumb_terminal_it_prints_lines(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    stage = Stage()
    with display(console, stage):
        stage.narrate("And node 3.")
        stage.saw(3, None)
    assert re.fullmatch(r"\n\[ *[\d.]+ s\] And node 3.\n +node 3: gone\n", capsys.readouterr().out)


def test_only_changes_are_shown() -> None:
    shown: list[int] = []
    stage = Stage(on_change=lambda nodeid, info: shown.append(nodeid))
    for _ in range(2):
        stage.saw(1, None)
    assert shown == [1]


def test_the_program_that_it_prints_is_python() -> None:
    ast.parse(CODE)
