"""The machinery that starts real daemons does what tests take for granted."""

from __future__ import annotations

from tests.real.cref import CS_OK, CMap, CQuorum, CVotequorum, in_thread
from tests.real.daemon import Daemon
from tests.real.waiting import eventually_async


async def test_a_daemon_answers_the_c_libraries_over_its_transport(daemon: Daemon) -> None:
    with CVotequorum() as votequorum, CQuorum() as quorum, CMap() as cmap:
        error, info = await in_thread(votequorum.getinfo, 0)
        assert error == CS_OK
        assert (info["node_id"], info["total_votes"], info["quorum"]) == (1, 1, 1)
        assert await in_thread(quorum.getquorate) == (CS_OK, 1)
        assert cmap.get("system.qb_ipc_type") == (CS_OK, daemon.config.transport)
        assert daemon.connections()
    await eventually_async(lambda: not daemon.connections(), otherwise="connections are gone")
