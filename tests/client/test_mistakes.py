"""For each common mistake there is an error of one line that says what to write instead."""

from __future__ import annotations

import pytest

from tests.real.daemon import Daemon
from tests.ways import every_way
from votequorum_ipc import (
    BadOperation,
    Cfg,
    Cmap,
    InvalidParam,
    Quorum,
    TrackFlags,
    TryAgain,
    Votequorum,
    blocking,
    retry,
)
from votequorum_ipc.ipc.backend import current_time


@pytest.mark.parametrize("cls", [Votequorum, Quorum, Cmap, Cfg])
def test_a_client_that_is_called_says_how_to_open_it(cls: type) -> None:
    with pytest.raises(TypeError, match=rf"await {cls.__name__}\.initialize\(\).*votequorum_ipc\.blocking"):
        cls()


@pytest.mark.parametrize(
    "cls", [blocking.Votequorum, blocking.Quorum, blocking.Cmap, blocking.Cfg], ids=lambda cls: cls.__name__
)
def test_a_blocking_client_that_is_called_says_how_to_open_it(cls: type) -> None:
    with pytest.raises(TypeError, match=rf"with {cls.__name__}\.initialize\(\)"):
        cls()


@every_way()
async def test_arguments_in_the_wrong_place_are_named(shm_daemon: Daemon) -> None:
    async with await Votequorum.initialize() as handle:
        with pytest.raises(InvalidParam, match=r"trackstart\(flags=TrackFlags\.CHANGES\)"):
            await handle.trackstart(TrackFlags.CHANGES)
        with pytest.raises(InvalidParam, match="name is a str, not 5"):
            await handle.qdevice_register(5)  # type: ignore[arg-type]
        assert (await handle.getinfo()).node_id == 1


@every_way()
async def test_waiting_for_events_before_trackstart_is_an_error_that_says_so(shm_daemon: Daemon) -> None:
    async with await Votequorum.initialize() as handle:
        with pytest.raises(BadOperation, match="call trackstart first"):
            await anext(handle.events())
        await handle.trackstart()
        await anext(handle.events())


@every_way()
async def test_a_deadline_given_in_seconds_is_explained() -> None:
    async def busy() -> None:
        raise TryAgain("busy")

    with pytest.raises(TryAgain, match=r"busy; not tried again: deadline=-5 .* trio\.current_time\(\) \+ 30"):
        await retry(busy, deadline=-5)
    with pytest.raises(TryAgain, match=r"^busy$"):
        await retry(busy, deadline=current_time() + 0.001)
