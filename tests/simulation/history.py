"""One plan carried out: programs run, faults happen, the world comes to rest, and the truth must be known.

Strategy: some limits of the library are reached only by large numbers. A plan may make them smaller, so that
short histories reach them too.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from unittest import mock

import trio
from trio.testing import MockClock

from votequorum_ipc import watch
from votequorum_ipc.cluster import SetExpected, SetVotes
from votequorum_ipc.daemon import connection as daemon_connection
from votequorum_ipc.daemon import listener as daemon_listener
from votequorum_ipc.ipc import exchange

from . import schedule
from .actors import Actor, Reading, Voting, Watching, running
from .plan import Fault, Kind, Plan, Step, plan
from .world import SlowConnection, World, open_world

REST: Final = 4.0
"""Seconds that the world rests at the end, beyond the time that a device may delay a membership change."""

_LIMITS: Final[dict[str, tuple[Any, str]]] = {
    "batch": (daemon_connection, "MAX_BATCH"),
    "queued bytes": (daemon_connection, "MAX_OUTBOX_BYTES"),
    "changes": (watch, "CHANGE_LIMIT"),
    "event bytes": (exchange, "MAX_UNREAD_EVENT_BYTES"),
}


@dataclass(slots=True)
class Outcome:
    """The outcome of a history."""

    seed: int
    violation: str | None
    trace: list[str] = field(repr=False)
    answers: int
    """Judged views and statuses."""
    votes: int
    """Judged votes of devices."""
    faults: int
    seconds: float
    """Virtual time."""


def run(seed: int) -> Outcome:
    """The history of a seed."""
    chosen = plan(seed)

    async def program(clock: MockClock) -> Outcome:
        return await _carry_out(chosen, clock)

    with _limited(chosen), _quiet():
        return schedule.run(program, seed)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the log: devices log each failed decision, and many fail here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _limited(chosen: Plan) -> Iterator[None]:
    with contextlib.ExitStack() as undo:
        for name, value in chosen.limits:
            module, constant = _LIMITS[name]
            undo.callback(setattr, module, constant, getattr(module, constant))
            setattr(module, constant, value)
        if chosen.pace:
            SlowConnection.pace, SlowConnection.chance = chosen.pace, random.Random(chosen.seed)
            undo.enter_context(mock.patch.object(daemon_connection, "MAX_BATCH", 1))
            undo.enter_context(mock.patch.object(daemon_listener, "ServerConnection", SlowConnection))
        yield


async def _carry_out(chosen: Plan, clock: MockClock) -> Outcome:
    async with open_world(chosen, clock) as world:
        # Inside the world's own scope, which ends with the first violation.
        actors = _actors(world, chosen)
        with world.scope:
            try:
                await _live(world, chosen, actors)
            except Exception as error:
                world.violate(f"{type(error).__name__}: {error}")
                raise
            finally:
                for actor in actors:
                    if isinstance(actor, Watching):
                        with trio.CancelScope(shield=True):
                            await actor.watcher.aclose()
        judged = [actor.claims.judged for actor in actors if not isinstance(actor, Voting)]
        votes = [actor.claims.judged for actor in actors if isinstance(actor, Voting)]
        return Outcome(
            chosen.seed, world.violation, world.trace, sum(judged), sum(votes), len(chosen.steps), world.now
        )


def _actors(world: World, chosen: Plan) -> list[Actor]:
    makers: dict[Kind, Callable[..., Actor]] = {
        Kind.FOLLOW: Watching,
        Kind.SAMPLE: Watching,
        Kind.STATUS: Reading,
    }
    actors = [makers[program.kind](world, program) for program in chosen.programs]
    return [*actors, *(Voting(world, program) for program in chosen.devices)]


async def _live(world: World, chosen: Plan, actors: list[Actor]) -> None:
    async with running(actors) as at_work:
        chance = random.Random(chosen.seed + 1)
        async with trio.open_nursery() as nursery:
            for step in chosen.steps:
                await trio.sleep(max(step.at - world.now, 0))
                world.log(f"{step.fault.value} node {step.node}, {step.number:g} {step.groups or ''}")
                if step.fault is Fault.HANG:
                    nursery.start_soon(_hang, world, step)
                else:
                    _happen(world, step, actors, chance)
            nursery.cancel_scope.cancel()
        await _come_to_rest(world, chosen, actors)
        for actor in actors:
            if isinstance(actor, Watching):
                actor.rest()
        at_work.cancel()
    for actor in actors:
        await actor.conclude()


async def _hang(world: World, step: Step) -> None:
    world.hang(step.node)
    await trio.sleep(step.number)
    world.resume(step.node)
    world.log(f"node {step.node} goes on")


def _happen(world: World, step: Step, actors: list[Actor], chance: random.Random) -> None:
    if step.fault is Fault.STOP:
        for actor in actors:
            if isinstance(actor, Voting) and actor.program.node == step.node:
                actor.stop(step.number)
    elif step.fault is Fault.DROP:
        world.drop(step.node, chance)
    else:
        _SIMPLE[step.fault](world, step)


def _flip(world: World, step: Step) -> None:
    world.right[step.node] = not world.right[step.node]


_SIMPLE: Final[dict[Fault, Callable[[World, Step], None]]] = {
    Fault.CUT: lambda world, step: world.partition(*step.groups),
    Fault.HEAL: lambda world, _: world.heal(),
    Fault.KILL: lambda world, step: world.kill(step.node),
    Fault.START: lambda world, step: world.up(step.node),
    Fault.LEAVE: lambda world, step: world.leave(step.node),
    Fault.REFORM: lambda world, step: world.reform(step.node) if world.is_up(step.node) else None,
    Fault.FLOOD: lambda world, step: world.flood(step.node, int(step.number)),
    Fault.JUMP: lambda world, step: world.jump(step.number),
    Fault.EXPECT: lambda world, step: world.operate(step.node, SetExpected(int(step.number))),
    Fault.VOTES: lambda world, step: world.operate(step.node, SetVotes(step.node, int(step.number))),
    Fault.FLIP: _flip,
    Fault.RELOAD: lambda world, step: world.change_configuration(step.node, int(step.number)),
}


async def _come_to_rest(world: World, chosen: Plan, actors: list[Actor]) -> None:
    world.log("the world comes to rest")
    for nodeid in chosen.config.nodeids:
        world.resume(nodeid)
    world.heal()
    world.up(*chosen.config.nodeids)
    world.resting.set()
    await trio.sleep(world.sync_timeout + REST)
