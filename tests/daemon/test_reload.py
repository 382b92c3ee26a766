"""Reloaded configurations, and a daemon without a quorum provider: corosync and the embedded daemon agree."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trio

from tests.conftest import StartDaemon
from tests.daemon.subjects import as_model, served
from tests.real.config import Config, Device, Node
from tests.real.daemon import Daemon
from tests.real.host import Host
from tests.real.waiting import DEADLINE
from votequorum_ipc import Cmap, CsError, Library, Quorum, TrackFlags, Votequorum

PAIR = (Node(1), Node(2, address="127.0.0.2"))
PLAIN = Config(nodes=PAIR)
WITH_DEVICE = Config(nodes=PAIR, device=Device(votes=1))

SEQUENCES: dict[str, list[Config]] = {
    "a device is added and removed": [PLAIN, WITH_DEVICE, PLAIN],
    "a device's votes change": [WITH_DEVICE, Config(nodes=PAIR, device=Device(votes=3)), WITH_DEVICE],
    "a device's votes are computed": [PLAIN, Config(nodes=PAIR, device=Device(votes=None)), PLAIN],
    "votes change": [PLAIN, Config(nodes=(Node(1, votes=3), PAIR[1])), PLAIN],
    "expected votes change": [PLAIN, Config(nodes=PAIR, quorum={"expected_votes": 7}), PLAIN],
    "a node is added": [PLAIN, Config(nodes=(*PAIR, Node(3, address="127.0.0.3"))), PLAIN],
    "two_node is set and removed": [PLAIN, Config(nodes=PAIR, quorum={"two_node": 1}), PLAIN],
    "two_node beside a device": [
        WITH_DEVICE,
        Config(nodes=PAIR, quorum={"two_node": 1}, device=Device(votes=1)),
        WITH_DEVICE,
    ],
    "a device beside last_man_standing": [
        Config(nodes=PAIR, quorum={"last_man_standing": 1}),
        Config(nodes=PAIR, quorum={"last_man_standing": 1}, device=Device(votes=1)),
        Config(nodes=PAIR, quorum={"last_man_standing": 1}),
    ],
    "a device without votes beside expected_votes": [
        PLAIN,
        Config(nodes=PAIR, quorum={"expected_votes": 2}, device=Device(votes=None)),
        WITH_DEVICE,
    ],
    "options that a reload does not change": [
        PLAIN,
        Config(nodes=PAIR, quorum={"wait_for_all": 1, "auto_tie_breaker": 1, "allow_downscale": 1}),
        PLAIN,
    ],
    "tracked expected votes": [
        Config(nodes=PAIR, quorum={"expected_votes_tracking": 1, "expected_votes": 5}),
        Config(nodes=PAIR, quorum={"expected_votes_tracking": 1, "expected_votes": 3}),
    ],
}


async def look(device: bool) -> dict[str, Any]:
    """What a node reports about its votes, and the results of a device's calls."""
    async with await Votequorum.initialize() as handle, await Cmap.initialize() as cmap:
        found: dict[str, Any] = {"info": await handle.getinfo()}
        if device:
            found["register"] = await outcome(handle.qdevice_register("one"))
            found["master_wins"] = await outcome(handle.qdevice_master_wins("one", False))
        found["runtime"] = await cmap.items("runtime.votequorum.")
    return found


async def outcome(call: Any) -> str:
    try:
        await call
    except CsError as error:
        return type(error).__name__
    return "OK"


async def until_seen(expected: dict[str, Any], device: bool) -> dict[str, Any]:
    """A real daemon's report once the cluster has the reload; after the deadline, its last report."""
    with trio.move_on_after(DEADLINE / 5):
        while (found := await look(device)) != expected:
            await trio.sleep(0.05)
    return found


def load(daemon: Daemon, config: Config) -> None:
    (daemon.directory / "corosync.conf").write_text(config.render(daemon.directory / "state"))
    daemon.run(["corosync-cfgtool", "-R"], check=True)


@pytest.mark.parametrize("device", [False, True], ids=["", "with a device"])
@pytest.mark.parametrize("sequence", SEQUENCES)
async def test_a_reload_has_the_same_effect_as_in_corosync(
    start_daemon: StartDaemon, host: Host, sequence: str, device: bool
) -> None:
    configs = SEQUENCES[sequence]
    expected = []
    async with served(as_model(configs[0]), "shm", up=[1]) as simulation:
        for number, config in enumerate(configs):
            if number:
                simulation.reload(as_model(config))
            expected.append(await look(device))
    daemon = start_daemon(configs[0])
    with daemon.namespace():
        for number, config in enumerate(configs):
            if number:
                load(daemon, config)
            assert await until_seen(expected[number], device) == expected[number], f"after {number} reloads"


async def test_without_a_provider_quorum_is_free_and_there_is_no_votequorum(
    start_daemon: StartDaemon, host: Host
) -> None:
    config = Config(nodes=PAIR, provider=None)

    async def look() -> list[Any]:
        found: list[Any] = []
        with pytest.raises(Library):
            await Votequorum.initialize()
        for model in (0, 1):
            async with await Quorum.initialize(model=model) as handle:
                found += [handle.quorum_type, await handle.getquorate()]
                await handle.trackstart(TrackFlags.CURRENT)
                found += [without_sequence(await handle.next_event()) for _ in range(model + 1)]
        async with await Cmap.initialize() as cmap:
            found += [await cmap.items(prefix) for prefix in ("runtime.votequorum.", "quorum.")]
        return found

    async with served(as_model(config), "shm", up=[1]):
        ours = await look()
    with start_daemon(config).namespace():
        assert ours == await look()


def without_sequence(event: Any) -> str:
    """An event without the sequence, which depends on how often a cluster has met."""
    return re.sub(r"(seq=)[1-9]\d*", r"\1some", repr(event))
