"""Reads lines: with editing, history and completion at a terminal, and plainly elsewhere.

Strategy: readline, from the standard library, does all this at a terminal; another library would be too much
for a dozen words. A thread waits for a line, because reading cannot be cancelled. So the terminal's state is
restored at the end, whether or not the thread is done. Output that appears meanwhile is written above the
prompt, and the line being typed stays.
"""

from __future__ import annotations

import contextlib
import os
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
import trio

PROMPT: Final = "> "
_HISTORY_LENGTH: Final = 1000
_CLEAR_LINE: Final = "\r\x1b[K"

Complete = Callable[[Sequence[str]], Sequence[str]]
"""Takes the words before the one being typed; returns the words that may come next."""


class LineInput:
    """Standard input, line by line. Made by `open_line_input`."""

    def __init__(self, editor: Any) -> None:
        """Not public: use `open_line_input`. `editor` is the module readline, at a terminal that has it."""
        self._editor = editor
        self._reads = False

    async def next_line(self) -> str:
        """The next line with its newline, or an empty text at the end of the input."""
        self._reads = True
        try:
            return await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
        finally:
            self._reads = False

    def _read(self) -> str:
        if self._editor is None:
            return sys.stdin.readline()
        try:
            return input(PROMPT) + "\n"
        except EOFError:
            return ""

    def show(self, lines: Sequence[str]) -> None:
        """Print lines above the line being typed."""
        typing = self._reads and self._editor is not None
        if typing:
            sys.stdout.write(_CLEAR_LINE)
        click.echo("\n".join(lines))
        if typing:
            sys.stdout.write(PROMPT + self._editor.get_line_buffer())
        sys.stdout.flush()


@contextlib.contextmanager
def open_line_input(complete: Complete) -> Iterator[LineInput]:
    """Lines of standard input, during the block."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield LineInput(None)
        return
    try:
        import readline
    except ImportError:  # this Python was built without it
        yield LineInput(None)
        return
    before = termios.tcgetattr(sys.stdin)
    readline.set_completer(_completer(complete, readline.get_line_buffer, readline.get_begidx))
    readline.set_completer_delims(" ,:")
    readline.parse_and_bind("tab: complete")
    history = history_file()
    with contextlib.suppress(OSError):
        readline.read_history_file(history)
    try:
        yield LineInput(readline)
    finally:
        readline.set_history_length(_HISTORY_LENGTH)
        with contextlib.suppress(OSError):
            history.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(history)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def history_file() -> Path:
    """Where the lines of earlier runs are (XDG Base Directory Specification)."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "votequorum-ipc" / "serve_history"


def _completer(
    complete: Complete, line: Callable[[], str], begin: Callable[[], int]
) -> Callable[[str, int], str | None]:
    """The function that readline calls with the text before the cursor and the number of the completion."""

    def completion(text: str, number: int) -> str | None:
        found = [word for word in complete(line()[: begin()].split()) if word.startswith(text)]
        return found[number] + " " if number < len(found) else None

    return completion
