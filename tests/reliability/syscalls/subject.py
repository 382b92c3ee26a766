"""The process whose system calls fail: `python -m tests.reliability.syscalls.subject [ADDRESS]`.

Strategy: it reads the name of a scenario and forks, and the child runs the scenario once. The child reports
that it is ready, waits for a line, runs the scenario, and reports the outcome. Then it waits for another
line, so that its descriptors and mappings can be checked from outside. It communicates through `readv` and
`writev`, which the library does not use: those calls never fail in a sweep.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import traceback
from typing import Any, NoReturn

import trio
import trio.testing

from votequorum_ipc import CsError

from .scenarios import SCENARIOS, Scenario


def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else None
    for scenario in SCENARIOS.values():
        # Import now what would be imported on first use. This daemon may not support every scenario.
        with contextlib.suppress(CsError, ExceptionGroup):
            trio.run(scenario, address)
    while name := _hear():
        child = os.fork()
        if not child:
            _child(SCENARIOS[name], address)
        _, status = os.waitpid(child, 0)
        _say(status=status)


def _child(scenario: Scenario, address: str | None) -> NoReturn:
    # A failure to start or end trio's own machinery is not an outcome of the scenario.
    try:
        trio.run(_once, scenario, address)
    except BaseException as error:
        _say(outcome=_names(error), text="".join(traceback.format_exception(error)))
        _hear()
    os._exit(0)


async def _once(scenario: Scenario, address: str | None) -> None:
    gc.disable()
    await trio.testing.wait_all_tasks_blocked()  # trio's own tasks have started
    _say(pid=os.getpid())
    _hear()
    try:
        await scenario(address)
    except BaseException as error:
        outcome, text = _names(error), "".join(traceback.format_exception(error))
    else:
        outcome, text = [], ""
    gc.collect()
    _say(outcome=outcome, text=text)
    _hear()
    os._exit(0)


def _names(error: BaseException) -> list[str]:
    """The kinds of failure in an error; `CsError` stands for the whole family."""
    if isinstance(error, BaseExceptionGroup):
        return [name for each in error.exceptions for name in _names(each)]
    return ["CsError" if isinstance(error, CsError) else type(error).__name__]


def _say(**fields: Any) -> None:
    os.writev(1, [json.dumps(fields).encode() + b"\n"])


def _hear() -> str:
    """The next line without its newline; empty at the end of input."""
    line, character = b"", bytearray(1)
    while os.readv(0, [character]) and character != b"\n":
        line += character
    return line.decode()


if __name__ == "__main__":
    main()
