"""Runs a story in corosync-vqsim, and compares which nodes are quorate at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..check.story import Story
from ..check.vqsim_script import (
    DEVICE_SYNC_TIMEOUT,
    DEVICE_TIMEOUT,
    WINDOW,
    VqsimCommand,
    commands,
    for_vqsim,
)
from ..cluster import ClusterConfig
from .vqsim_process import Vqsim

_MARGIN: Final = 1.5
"""How many seconds of real time to wait beyond a timer."""


def quorate_in_vqsim(config: ClusterConfig, story: Story) -> list[frozenset[int]]:
    """The nodes that are quorate after each step, according to corosync's own code.

    Raises `votequorum_ipc.cli.vqsim_process.Stuck` if vqsim does not answer.
    """
    quorate = []
    with Vqsim(for_vqsim(config)) as vqsim:
        for _, typed in commands(story):
            for command in typed:
                _DO[command.word](vqsim, command)
            vqsim.read_for(0.05)
            quorate.append(frozenset(nodeid for nodeid, report in vqsim.last.items() if report.quorate))
    return quorate


def _down(vqsim: Vqsim, command: VqsimCommand) -> None:
    vqsim.down(command.nodeids[0])


def _qdevice(vqsim: Vqsim, command: VqsimCommand) -> None:
    vqsim.qdevice(command.nodeids[0], on=command.word.endswith("on"))
    vqsim.read_for((DEVICE_TIMEOUT + DEVICE_SYNC_TIMEOUT) * _MARGIN / 1000)


_DO: Final[dict[str, Callable[[Vqsim, VqsimCommand], None]]] = {
    "up": lambda vqsim, command: vqsim.up(command.nodeids[0], command.partition),
    "down": _down,
    "split": lambda vqsim, command: vqsim.move(command.partition, *command.nodeids),
    "wait": lambda vqsim, _: vqsim.read_for(WINDOW * _MARGIN / 1000),
    "qdevice on": _qdevice,
    "qdevice off": _qdevice,
}
