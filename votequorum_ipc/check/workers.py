"""Worker processes for one search or several.

Strategy: independent searches go to a pool (`in_order`). A single search belongs to one process. It cuts a
level into pieces, gives each worker one piece at a time, and takes the answers in the order of the states
(`Workers`). Workers are forked, so they have the search's functions, which could not be pickled. Each process
numbers the partitions that it meets. The first time that a number goes to another process, a description of
the partition goes with it (`_Tongue`). Most successors are already known; a worker leaves out those that it
has sent or received before at the same cost or a lower one.

Workers ignore Ctrl-C, which the searching process handles. They are killed when the search is over. If the
searching process itself is killed, their pipes are closed, and they end.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from types import TracebackType
from typing import Final, TypeVar

from .expansion import Expander, Expansion
from .partitions import PartitionDescription, Partitions
from .states import Identity, State

_T = TypeVar("_T")
_R = TypeVar("_R")

_PIECE: Final = 64
"""The most states in one piece of work."""

_PATIENCE: Final = 0.1
"""Seconds without an answer after which the searching process looks at the clock."""

_FORK: Final = multiprocessing.get_context("fork")

_News = list[tuple[int, PartitionDescription]]
"""Numbers of timed partitions that the other side does not know, and what they stand for."""


def _ignore() -> None:
    """A worker does not look at the clock."""


def in_order(function: Callable[[_T], _R], values: Iterable[_T], processes: int) -> Iterator[_R]:
    """`function` of each value, in their order, by that many processes; with one, when it is asked for.

    A module's function, as it goes to the processes by name. They end when the iterator is closed.
    """
    if processes == 1:
        yield from map(function, values)
        return
    with _FORK.Pool(processes, initializer=_ignore_interrupts) as pool:
        yield from pool.imap(function, values)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Tongue:
    """Translates states between two processes: what each number of one means to the other."""

    def __init__(self, partitions: Partitions) -> None:
        """Of both processes, at the time of the fork: what is numbered by then has one number in both."""
        self._partitions = partitions
        self._common = len(partitions.timed)
        self._told: set[int] = set()
        self._heard: dict[int, int] = {}

    def news(self, states: Sequence[State]) -> _News:
        """The descriptions that must be sent before these states."""
        new = {number for state in states for number in state.parts if number >= self._common} - self._told
        self._told |= new
        return [(number, self._partitions.description(number)) for number in sorted(new)]

    def learn(self, news: _News) -> None:
        """The other side tells its numbers."""
        for number, description in news:
            self._heard[number] = self._partitions.described(description)

    def understood(self, state: State) -> State:
        """A state in the other side's numbers, in our own."""
        common, heard = self._common, self._heard
        parts = [number if number < common else heard[number] for number in state.parts]
        return State(tuple(parts), state.device_works)


class Workers:
    """A context manager: up to `processes` workers, started when they are needed first."""

    def __init__(self, expander: Expander, processes: int) -> None:
        self._expander, self._processes = expander, processes
        self._workers: list[_Worker] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end()

    def expand(
        self, states: Sequence[State], cost: int, nearest: Mapping[str, int], tick: Callable[[], None]
    ) -> Iterator[Expansion]:
        """The successors of each of these states, which have the same `cost`, in their order.

        `tick` is called now and then, and may raise what ends the search.
        """
        while len(self._workers) < self._processes:
            self._workers.append(_Worker(self._expander, [worker.pipe for worker in self._workers]))
        size = max(1, min(_PIECE, len(states) // (4 * self._processes)))
        pieces = deque((at, states[at : at + size]) for at in range(0, len(states), size))
        idle, busy = deque(self._workers), dict[Connection, tuple[int, _Worker]]()
        done: dict[int, list[Expansion]] = {}
        next_at = 0
        while pieces or busy:
            while pieces and idle:
                at, piece = pieces.popleft()
                worker = idle.popleft()
                worker.ask(piece, cost, nearest)
                busy[worker.pipe] = at, worker
            for pipe in wait(list(busy), _PATIENCE):
                assert isinstance(pipe, Connection)
                at, worker = busy.pop(pipe)
                done[at] = worker.answer()
                idle.append(worker)
            tick()
            while next_at in done:
                yield from done.pop(next_at)
                next_at += size


class _Worker:
    """One worker, as the searching process sees it. `others` are pipes that it must not keep open."""

    def __init__(self, expander: Expander, others: Sequence[Connection]) -> None:
        self.pipe, theirs = _FORK.Pipe()
        self._tongue = _Tongue(expander.successors.partitions)
        self._process: ForkProcess = _FORK.Process(
            target=_work, args=(expander, theirs, [*others, self.pipe]), daemon=True
        )
        self._process.start()
        theirs.close()

    def ask(self, states: Sequence[State], cost: int, nearest: Mapping[str, int]) -> None:
        """Give it work."""
        self.pipe.send((self._tongue.news(states), states, cost, nearest))

    def answer(self) -> list[Expansion]:
        """Its results."""
        try:
            news, expansions = self.pipe.recv()
        except EOFError:
            raise ChildProcessError("a process of the search has ended: is there enough memory?") from None
        self._tongue.learn(news)
        understood = self._tongue.understood
        for one in expansions:
            one.reached = [(understood(state), cost) for state, cost in one.reached]
            one.found = [(name, detail, cost, understood(state)) for name, detail, cost, state in one.found]
        return list(expansions)

    def end(self) -> None:
        """End it, whatever it is doing."""
        self.pipe.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _work(expander: Expander, pipe: Connection, others: Sequence[Connection]) -> None:
    """The whole life of a worker."""
    _ignore_interrupts()
    for other in others:
        other.close()
    tongue = _Tongue(expander.successors.partitions)
    told: dict[Identity, int] = {}
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send(_answered(pipe.recv(), expander, tongue, told))


def _answered(
    question: tuple[_News, Sequence[State], int, Mapping[str, int]],
    expander: Expander,
    tongue: _Tongue,
    told: dict[Identity, int],
) -> tuple[_News, list[Expansion]]:
    news, states, cost, nearest = question
    tongue.learn(news)
    identity = expander.successors.symmetry.identity
    expansions: list[Expansion] = []
    mentioned: list[State] = []
    for state in map(tongue.understood, states):
        told[identity(state)] = cost
        expansion = expander.expand(state, cost, nearest, _ignore)
        expansion.reached = [one for one in expansion.reached if _is_news(identity(one[0]), one[1], told)]
        mentioned += [one[0] for one in expansion.reached]
        mentioned += [one[3] for one in expansion.found]
        expansions.append(expansion)
    return tongue.news(mentioned), expansions


def _is_news(identity: Identity, cost: int, told: dict[Identity, int]) -> bool:
    if told.get(identity, cost + 1) <= cost:
        return False
    told[identity] = cost
    return True
