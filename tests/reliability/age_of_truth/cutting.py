"""Cut, wait until both sides have noticed, heal, repeat.

Strategy: a cut takes the node's link down at the switch. The other nodes only see that it falls silent. The
moment is random, since the token may be anywhere. The process runs with real-time priority if allowed, as
corosync does, so that other work on the machine does not add to the measured times.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import trio

from tests.real.cluster import Cluster, cluster
from tests.real.waiting import eventually_async
from votequorum_ipc import Cmap

from .figures import Cut, Series
from .series import Plan
from .witness import Witness, device, witness

_TIMEOUTS: Final = ("token", "token_retransmit", "hold", "consensus", "join", "merge")

_NOTICED_WITHIN: Final = 60.0
"""If a side has noticed nothing after this many seconds, the measurement has failed."""


def measure(plan: Plan, cuts: int, seed: int, progress: Callable[[], None]) -> Series:
    """Start a cluster and cut it. `progress` is called after each cut."""
    with (
        tempfile.TemporaryDirectory() as directory,
        cluster(plan.config, Path(directory)) as whole,
        _real_time(),
    ):
        return trio.run(_measure, whole, plan, cuts, random.Random(seed), progress)


async def _measure(
    whole: Cluster, plan: Plan, cuts: int, chance: random.Random, progress: Callable[[], None]
) -> Series:
    made = []
    async with _observed(whole, plan) as witnesses:
        for number in range(cuts):
            await _settled(whole, witnesses)
            await trio.sleep(chance.uniform(0, 2))
            made.append(await _cut(whole, witnesses, plan, plan.cut_off[number % len(plan.cut_off)]))
            whole.heal()
            progress()
    return Series(plan.title, await _timeouts(whole), tuple(made))


@contextlib.asynccontextmanager
async def _observed(whole: Cluster, plan: Plan) -> AsyncIterator[list[Witness]]:
    async with contextlib.AsyncExitStack() as stack:
        for node in whole:
            if plan.favoured is not None:
                favoured = node.nodeid == plan.favoured
                await stack.enter_async_context(device(node, favoured=favoured, nodes=len(whole.nodes)))
        yield [await stack.enter_async_context(witness(node)) for node in whole]


async def _settled(whole: Cluster, witnesses: Sequence[Witness]) -> None:
    """Wait until all nodes are in one quorate membership with all votes."""
    await whole.until_agreed(within=_NOTICED_WITHIN)
    votes = len(whole.nodes) + (whole[1].config.device is not None)

    def settled() -> bool:
        return all(
            one.answers and one.answers[-1].quorate and one.answers[-1].total_votes == votes
            for one in witnesses
        )

    await eventually_async(settled, within=_NOTICED_WITHIN, otherwise=whole.describe)


async def _cut(whole: Cluster, witnesses: Sequence[Witness], plan: Plan, nodeid: int) -> Cut:
    for one in witnesses:
        one.forget()
    begun = time.monotonic()
    if plan.deaf:
        whole.switch.deafen(nodeid)
    else:
        whole.switch.unplug(nodeid)
    cut = time.monotonic()
    if plan.paused:
        with whole[nodeid].frozen():
            await trio.sleep(plan.paused)
    [off] = [one for one in witnesses if one.nodeid == nodeid]
    others = [one for one in witnesses if one.nodeid != nodeid]

    def noticed() -> bool:
        return _says_not_quorate(off) and all(_is_without(one, nodeid) for one in others)

    await eventually_async(noticed, within=_NOTICED_WITHIN, otherwise=whole.describe)
    votes_before = off.answers[0].total_votes
    return Cut(
        node=nodeid,
        took=cut - begun,
        others_announced=min(_first_without(one, nodeid) for one in others) - cut,
        others_answered=min(
            answer.at for one in others for answer in one.answers if answer.total_votes < votes_before
        )
        - cut,
        announced=min(one.at for one in off.announcements if not one.quorate) - cut,
        last_quorate_answer=max(answer.at for answer in off.answers if answer.quorate) - cut,
    )


def _says_not_quorate(off: Witness) -> bool:
    announced = any(not one.quorate for one in off.announcements)
    return announced and not off.answers[-1].quorate


def _is_without(one: Witness, nodeid: int) -> bool:
    announced = any(each.quorate and nodeid not in each.members for each in one.announcements)
    return announced and one.answers[-1].total_votes < one.answers[0].total_votes


def _first_without(one: Witness, nodeid: int) -> float:
    return min(each.at for each in one.announcements if each.quorate and nodeid not in each.members)


async def _timeouts(whole: Cluster) -> dict[str, int]:
    with whole[1].namespace():
        handle = await Cmap.initialize()
    async with handle:
        return {name: int(await handle.get(f"runtime.config.totem.{name}")) for name in _TIMEOUTS}


@contextlib.contextmanager
def _real_time() -> Iterator[None]:
    """Run with the lowest real-time priority if allowed; children do not inherit it."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)
