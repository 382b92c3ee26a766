"""`monitor --live --demo`: a simulated cluster with failures.

Strategy: the cluster runs in a thread, in its own trio run, and the screen connects to its first node over
real IPC, as to any corosync. A scene is a sentence and a change of the cluster. The scenes repeat for ever;
the last one restores the state before the first.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from ..cluster import ClusterConfig, DeviceConfig, NodeConfig
from ..qdevice import View, run_qdevice
from ..testing import SimulatedCluster, simulated_cluster

PACE: Final = 6.0
"""Seconds between two scenes."""

_DEVICE_INTERVAL: Final = 1.0
_NAMES: Final = ("alpha", "beta", "gamma", "delta")


class DemoCluster:
    """The cluster, its quorum device, and the scenes; made by `demo_cluster`."""

    def __init__(self, pace: float = PACE) -> None:
        """Not public: use `demo_cluster`."""
        self.pace = pace
        self.address = ""
        """The address that the screen connects to."""
        self._scenes = itertools.cycle(SCENES)
        self._cluster: SimulatedCluster
        self._token: trio.lowlevel.TrioToken
        self._scope = trio.CancelScope()
        self._device_says = True

    def step(self) -> str:
        """Play the next scene. Returns its sentence."""
        scene = next(self._scenes)
        played: concurrent.futures.Future[None] = concurrent.futures.Future()

        def play() -> None:
            try:
                scene.act(self)
                played.set_result(None)
            except Exception as error:
                played.set_exception(error)

        self._token.run_sync_soon(play)
        played.result()
        return scene.text

    def end(self) -> None:
        """End the cluster."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._scope.cancel)

    async def run(self, started: concurrent.futures.Future[None]) -> None:
        """The thread's program: the cluster and the device of its first node, until `end`."""
        config = ClusterConfig(
            tuple(NodeConfig(number, 1, name, _addresses(number)) for number, name in enumerate(_NAMES, 1)),
            device=DeviceConfig(votes=1),
        )
        async with simulated_cluster(config=config) as self._cluster:
            self.address = self._cluster.address(1)
            # The device is withdrawn before the cluster ends.
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._token = trio.lowlevel.current_trio_token()
                    nursery.start_soon(self._cluster.keep_time)
                    device = partial(run_qdevice, "witness", self._vote, _DEVICE_INTERVAL)
                    await nursery.start(partial(device, address=self.address))
                    started.set_result(None)

    async def _vote(self, view: View) -> bool:
        await trio.lowlevel.checkpoint()
        return self._device_says

    # --- events ---

    def change(self, act: Callable[[SimulatedCluster], None]) -> None:
        """Do something to the cluster."""
        act(self._cluster)

    def let_device_say(self, yes: bool) -> None:
        """Make the device vote, or vote no, from its next decision on."""
        self._device_says = yes


@dataclass(frozen=True, slots=True)
class LiveScene:
    """A scene of the demonstration."""

    text: str
    act: Callable[[DemoCluster], None]


def _cluster_does(act: Callable[[SimulatedCluster], None]) -> Callable[[DemoCluster], None]:
    return lambda demo: demo.change(act)


SCENES: Final = (
    LiveScene("node delta crashes.", _cluster_does(lambda cluster: cluster.kill(4))),
    LiveScene("node gamma crashes too.", _cluster_does(lambda cluster: cluster.kill(3))),
    LiveScene("the quorum device votes no.", lambda demo: demo.let_device_say(False)),
    LiveScene("the quorum device votes again.", lambda demo: demo.let_device_say(True)),
    LiveScene("gamma and delta are back.", _cluster_does(lambda cluster: cluster.up(3, 4))),
    LiveScene(
        "link 1 to beta breaks.", _cluster_does(lambda cluster: cluster.link(1, 2, 1, connected=False))
    ),
    LiveScene(
        "the network breaks: alpha is alone with its device.",
        _cluster_does(lambda cluster: cluster.partition({1}, {2, 3, 4})),
    ),
    LiveScene("the network is repaired.", _cluster_does(lambda cluster: cluster.heal())),
    LiveScene("corosync on alpha crashes.", _cluster_does(lambda cluster: cluster.kill(1))),
    LiveScene("corosync on alpha runs again.", _cluster_does(lambda cluster: cluster.up(1))),
)


def _addresses(number: int) -> tuple[str, ...]:
    return (f"192.0.2.{number}", f"198.51.100.{number}")


@contextlib.contextmanager
def demo_cluster(pace: float = PACE) -> Iterator[DemoCluster]:
    """The demonstration's cluster, during the block."""
    demo = DemoCluster(pace)
    started: concurrent.futures.Future[None] = concurrent.futures.Future()
    with concurrent.futures.ThreadPoolExecutor(1, "demo-cluster") as executor:
        running = executor.submit(trio.run, demo.run, started)
        concurrent.futures.wait([started, running], return_when=concurrent.futures.FIRST_COMPLETED)
        if not started.done():
            running.result()
        try:
            yield demo
        finally:
            demo.end()
        running.result()
