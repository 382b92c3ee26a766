"""A decision made by commands: a vote while enough of them succeed.

Strategy: the commands run in parallel, each in a session that ends as a whole (`sessions`), and have half of
the remaining time. The other half is for killing late ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import trio

from ..sessions import Outcome, SessionCommand
from .device import View

_SHARE: Final = 0.5
"""The part of the remaining time that a command may use; the rest is for killing it."""


class Command:
    """One command of a decision. Raises `ValueError` for an empty or malformed text."""

    def __init__(self, text: str, *, timeout: float, shell: bool = False) -> None:
        """`text` is split into words as a shell does, or passed to /bin/sh if `shell`; `timeout` is in
        seconds."""
        self.text = text
        self._timeout = timeout
        self._session = SessionCommand(text, shell=shell)

    async def run(self, view: View) -> Outcome:
        """Run the command once, for at most its timeout and half of the remaining time.

        When this returns, or is cancelled, the command has ended, unless it cannot be killed.
        """
        return await self._session.run(min(self._timeout, _SHARE * view.time_left), _environment(view))


class Commands:
    """A decision for `run_qdevice`: True when `require` of the commands succeed, all of them if None.

    The commands run at the same time. Raises `ValueError` for a number that they cannot reach.
    """

    def __init__(self, commands: Sequence[Command], require: int | None = None) -> None:
        self._commands = commands
        self._require = len(commands) if require is None else require
        if not 1 <= self._require <= len(commands):
            raise ValueError(f"{self._require} of {len(commands)} commands cannot be required")
        self.outcomes: tuple[Outcome, ...] = ()
        """The outcomes of the last decision's commands."""

    async def __call__(self, view: View) -> bool:
        outcomes: list[Outcome] = []

        async def run(command: Command) -> None:
            outcomes.append(await command.run(view))

        self.outcomes = ()
        async with trio.open_nursery() as nursery:
            for command in self._commands:
                nursery.start_soon(run, command)
        self.outcomes = tuple(outcomes)
        return sum(outcome.succeeded for outcome in outcomes) >= self._require

    def summary(self) -> str:
        """The reason for the last decision."""
        failed = [outcome for outcome in self.outcomes if not outcome.succeeded]
        count = f"{len(self.outcomes) - len(failed)} of {len(self.outcomes)} commands succeeded"
        return "; ".join([count, *(f"{outcome.command}: {outcome.detail}" for outcome in failed)])


def _environment(view: View) -> Mapping[str, str]:
    return {
        "QDEVICE_NODE_ID": str(view.node_id),
        "QDEVICE_RING_ID": str(view.ring_id),
        "QDEVICE_MEMBERS": " ".join(map(str, view.members)),
        "QDEVICE_QUORATE": str(int(view.quorate)),
        "QDEVICE_EXPECTED_VOTES": str(view.expected_votes),
        "QDEVICE_TOTAL_VOTES": str(view.total_votes),
    }
