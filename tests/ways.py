"""Run one test coroutine under trio, under asyncio, and without an event loop (blocking).

  @every_way()
  async def test_something(daemon: Daemon) -> None: ...

  @every_way(without={"blocking": "it takes two tasks"})
  async def test_something_with_tasks() -> None:
      async with task_group() as group: ...

A fixture that must be entered inside the loop returns a `Recipe`; the test gets what the recipe yields.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
import trio
import trio.testing

from votequorum_ipc.ipc import backend, blocking_backend

Test = Callable[..., Coroutine[Any, Any, None]]


def _run_in_uvloop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


RUNNERS: dict[str, Callable[[Callable[[], Coroutine[Any, Any, None]]], None]] = {
    "trio": trio.run,
    "asyncio": lambda main: asyncio.run(main()),
    "blocking": lambda main: blocking_backend.run_blocking(main()),
    "uvloop": _run_in_uvloop,
}

LOOPS_IMPORTED = "{'trio', 'asyncio', 'sniffio', 'outcome'} & {*sys.modules} - construct_imports"
"""For a program that starts with `WATCH_IMPORTS`: an expression for the event loops it has imported.

Imports by construct do not count: since Python 3.14 its `pdb` imports asyncio.
"""
WATCH_IMPORTS = "import construct, sys; construct_imports = {*sys.modules}\n"

TASKS = "it needs tasks, and a program without an event loop has none"


@dataclass(frozen=True)
class Recipe:
    """Opens a fixture's value inside the loop of the test."""

    open: Callable[[], AbstractAsyncContextManager[Any]]


def every_way(
    *, without: Mapping[str, str] | None = None, uvloop: bool = False
) -> Callable[[Test], Callable[..., None]]:
    """Run a test in each way to wait. `without` excludes some, each with the reason.

    `uvloop` adds a second asyncio loop.
    """
    left_out = {*(without or {}), *([] if uvloop else ["uvloop"])}

    def decorate(test: Test) -> Callable[..., None]:
        def run(way: str, **arguments: Any) -> None:
            async def main() -> None:
                async with contextlib.AsyncExitStack() as stack:
                    for name, value in arguments.items():
                        if isinstance(value, Recipe):
                            arguments[name] = await stack.enter_async_context(value.open())
                    await test(**arguments)

            RUNNERS[way](main)

        parameters = inspect.signature(test).parameters.values()
        way = inspect.Parameter("way", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
        run.__signature__ = inspect.Signature([way, *parameters])  # type: ignore[attr-defined]
        # pytest keeps a function's marks here.
        run.pytestmark = list(getattr(test, "pytestmark", []))  # type: ignore[attr-defined]
        ways = [name for name in RUNNERS if name not in left_out]
        parametrized: Callable[..., None] = pytest.mark.parametrize("way", ways)(run)
        return parametrized

    return decorate


class TaskGroup(Protocol):
    """The common interface of trio's nursery and asyncio's task group."""

    def start(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run a function in a separate task."""

    def cancel(self) -> None:
        """Cancel all tasks."""


class _Nursery:
    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        self._nursery.start_soon(function, *args)

    def cancel(self) -> None:
        self._nursery.cancel_scope.cancel()


class _AsyncioGroup:
    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        async def call() -> None:
            await function(*args)

        self._tasks.append(self._group.create_task(call()))

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def task_group() -> AsyncIterator[TaskGroup]:
    """A group of tasks in the running loop; the block ends when all have ended."""
    if backend.current().name == "trio":
        async with trio.open_nursery() as nursery:
            yield _Nursery(nursery)
    else:
        async with asyncio.TaskGroup() as group:
            yield _AsyncioGroup(group)


@contextlib.contextmanager
def fail_after(seconds: float) -> Iterator[None]:
    """Like `trio.fail_after`, in each way to wait."""
    with backend.move_on_after(seconds) as scope:
        yield
    assert not scope.cancelled_caught, f"not done within {seconds:g} s"


async def settled() -> None:
    """Return when every other task is waiting for something outside this process."""
    if backend.current().name == "trio":
        await trio.testing.wait_all_tasks_blocked()
    else:
        # Each turn of asyncio's loop runs what is ready; tasks here wake one another a few times at most.
        for _ in range(20):
            await asyncio.sleep(0)
