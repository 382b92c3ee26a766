"""The programs of a history: they query as users do, pause, are cancelled, and have each answer judged at
once.

Strategy: a program queries for as long as faults happen. When the world has come to rest, `conclude` lets
each program query once more: by then the truth must be known.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from typing import Final

import trio

from votequorum_ipc import CsError, cluster_status, watch_quorum
from votequorum_ipc.qdevice import QuorumDevice, View, run_qdevice
from votequorum_ipc.types import ClusterStatus, Lost, QuorumState, QuorumView

from .claims import DeviceClaims, StatusClaims, WatchClaims
from .plan import DeviceProgram, Kind, Program
from .schedule import cancelled_after
from .world import World

STEPS: Final = 40
"""A query is cancelled after at most this many steps of its task."""

CONCLUDING: Final = 3
"""Queries after which the truth is known: one finds that an old connection is lost, one reconnects.
"""


_SETTLING: Final = 100
"""The longest wait, in latencies of a multicast, for a node's own messages after its device has ended."""


class Watching:
    """A program with a watcher: `async for`, or `current()` from time to time."""

    def __init__(self, world: World, program: Program) -> None:
        self.world = world
        self.program = program
        self.chance = random.Random(program.seed)
        self.claims = WatchClaims(world, program)
        self.last: QuorumView | None = None
        self.watcher = watch_quorum(
            world.address(program.node),
            patience=program.patience,
            require_provider=program.require_provider,
        )

    async def run(self) -> None:
        while True:
            if not self.world.resting.is_set() and self.chance.random() < self.program.cancels:
                with cancelled_after(self.chance.randint(1, STEPS)):
                    await self.ask()
            else:
                await self.ask()
            await self.world.pause(self.program, self.claims.judged, self.chance)

    async def ask(self) -> None:
        question = self.world.question(self.program.node)
        if self.program.kind is Kind.FOLLOW:
            view = await anext(self.watcher)
        else:
            view = await self.watcher.current()
        # There is no checkpoint between the answer and its judgement, so both belong to the same instant.
        self.last = view
        self.world.log(f"{self.program.name}: {told(view)}")
        self.claims.judge(view, question)

    def rest(self) -> None:
        """The world has been at rest for long: `async for` must have reported the truth."""
        world, program = self.world, self.program
        if program.kind is Kind.FOLLOW and world.config.provider:
            quorate = (
                QuorumState.QUORATE if world.model.node(program.node).quorate else QuorumState.NOT_QUORATE
            )
            if self.last is None or self.last.state is not quorate:
                self.claims.violate(f"the last view of `async for` is {self.last and self.last.state.value}")

    async def conclude(self) -> None:
        """A query now must return the truth."""
        world, program = self.world, self.program
        for _ in range(CONCLUDING):
            question = world.question(program.node)
            view = await self.watcher.current()
            world.log(f"{program.name}, in the end: {told(view)}")
            self.claims.judge(view, question)
        known = program.require_provider <= bool(world.config.provider)
        if known != (view.status is not None):
            self.claims.violate(f"in the end {told(view)}: {view.error}")


def told(view: QuorumView) -> str:
    """A view in one line, without anything that differs between runs."""
    changes = [
        f"Lost({type(change.error).__name__})" if isinstance(change, Lost) else type(change).__name__
        for change in view.changes
    ]
    shown = changes if len(changes) < 8 else [*changes[:3], f"... {len(changes) - 6} more", *changes[-3:]]
    dropped = f", {view.dropped} dropped" if view.dropped else ""
    error = f" ({type(view.error).__name__})" if view.error else ""
    return f"{view.state.value}{error}, ring {view.ring_id}, [{', '.join(shown)}]{dropped}"


class Reading:
    """A program that reads the status from time to time."""

    def __init__(self, world: World, program: Program) -> None:
        self.world = world
        self.program = program
        self.chance = random.Random(program.seed)
        self.claims = StatusClaims(world, program)

    async def run(self) -> None:
        while True:
            if not self.world.resting.is_set() and self.chance.random() < self.program.cancels:
                with cancelled_after(self.chance.randint(1, STEPS)):
                    await self.ask()
            else:
                await self.ask()
            await self.world.pause(self.program, self.claims.judged, self.chance)

    async def ask(self) -> ClusterStatus | None:
        question = self.world.question(self.program.node)
        status = None
        with trio.move_on_after(self.program.patience):
            try:
                status = await cluster_status(self.world.address(self.program.node))
            except CsError as error:
                self.world.log(f"{self.program.name}: {type(error).__name__}")
                return None
        self.world.log(f"{self.program.name}: {_status(status)}")
        if status is not None:
            # `cluster_status` has disconnected meanwhile, which takes a moment, so the status need not be the
            # present one.
            self.claims.judge_status(status, question, present=False)
        return status

    async def conclude(self) -> None:
        """The world has been at rest for long: a status must be available."""
        if await self.ask() is None:
            self.claims.violate("no status at the end")


def _status(status: ClusterStatus | None) -> str:
    return "no answer in time" if status is None else f"quorate {status.quorate}, ring {status.ring_id}"


class Voting:
    """A program that runs a device, ends, and starts again."""

    def __init__(self, world: World, program: DeviceProgram) -> None:
        self.world = world
        self.program = program
        self.chance = random.Random(program.seed)
        self.claims = DeviceClaims(world, program.node)
        self.scope = trio.CancelScope()
        self.pause = 0.0

    def stop(self, seconds: float) -> None:
        """End it, and start it again after this many seconds."""
        self.pause = seconds
        self.scope.cancel()

    async def run(self) -> None:
        while True:
            self.scope, self.pause = trio.CancelScope(), 1.0
            ended: list[QuorumDevice] = []
            try:
                with self.scope:
                    await self._live(ended)
            finally:
                if ended and not self.program.leave_registered:
                    with trio.CancelScope(shield=True):
                        await self._judge_end(ended[0].left_behind)
            await trio.sleep(self.pause)

    async def _judge_end(self, left_behind: Sequence[str]) -> None:
        """Judge once the node has received its own last messages: an older one brings old flags back."""
        latency = self.world.model.latency
        for _ in range(_SETTLING):
            if latency is None or self.world.model.is_settled or not self.claims.holds_something():
                break
            await trio.sleep(latency.most)
        self.claims.judge_end(left_behind)

    async def _live(self, devices: list[QuorumDevice]) -> None:
        """Run a device; append it to `devices`."""
        name = f"device on node {self.program.node}"
        self.world.log(f"{name}: begins")
        try:
            async with trio.open_nursery() as nursery:
                devices.append(await nursery.start(self._run_qdevice))
        except* CsError as errors:
            self.world.log(f"{name}: ends with {type(errors.exceptions[0]).__name__}")
        finally:
            left_behind = devices[0].left_behind if devices else ()
            self.world.log(f"{name}: ends, {len(left_behind)} things left behind")

    async def _run_qdevice(self, task_status: trio.TaskStatus[QuorumDevice]) -> None:
        program = self.program
        await run_qdevice(
            "simulated",
            self._decide,
            program.interval,
            address=self.world.address(program.node),
            master_wins=program.master_wins,
            leave_registered=program.leave_registered,
            task_status=task_status,
        )

    async def _decide(self, view: View) -> bool:
        decision = self.claims.decide(view)
        if answer := self.world.right[self.program.node]:
            self.claims.says_yes(decision)
        if self.chance.random() < self.program.failing:
            if self.chance.random() < 0.5:
                decision.answer = False
                raise OSError("the decision fails")
            await trio.sleep_forever()
        await trio.sleep(self.program.thinking * self.chance.random())
        decision.answer = answer
        return answer

    async def conclude(self) -> None:
        """Nothing to do: each change of the model judges the device."""


Actor = Watching | Reading | Voting


@contextlib.asynccontextmanager
async def running(actors: list[Actor]) -> AsyncIterator[trio.CancelScope]:
    """All actors at work; they end when the scope is cancelled, or with the block."""
    async with trio.open_nursery() as nursery:
        for actor in actors:
            nursery.start_soon(actor.run)
        yield nursery.cancel_scope
        nursery.cancel_scope.cancel()
