"""What benchmarks run on: daemons, compiled programs and sides, or the reason why there is none.

Everything is made when a benchmark first asks for it and kept for the ones that follow. A daemon is on a
separate host, because the C library connects to the well-known names alone, and the machine may use those.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

from tests.real import leftovers, requirements
from tests.real.config import Config
from tests.real.daemon import one_node
from tests.real.host import Host
from tests.real.waiting import eventually

from .measure import alternate
from .rows import LeftOutError
from .side import ROOT, Side

K = TypeVar("K")
T = TypeVar("T")

RIVALS: Final = Path(__file__).parent / "rivals"

FLOOR: Final = ("rings", "rings, trio")
"""The sides that do no more than any Python client must: see `bench.floor`."""

_PYTHON_SIDES: Final = {
    "ours": "bench.own_client",
    "asyncio": "bench.own_client --asyncio",
    "blocking": "bench.blocking_client",
    "ctypes": "bench.rivals.ctypes_client",
    "rings": "bench.floor",
    "rings, trio": "bench.floor --trio",
}


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    rounds: int = 20
    calls: int = 500
    """Of a side in a round."""
    seconds: float = 10.0
    """How long nothing happens, where that is measured."""
    connections: int = 1000

    def part(self, divisor: int) -> int:
        """Calls of a round where each takes that much longer than one of getinfo."""
        return max(2, self.calls // divisor)


FULL: Final = Scale()
QUICK: Final = Scale(rounds=2, calls=20, seconds=0.2, connections=20)


@dataclass(frozen=True)
class Site:
    """A daemon, and the network namespace in which it has the well-known names."""

    name: str
    pid: int
    host: Host

    def start(self, name: str, argv: list[str]) -> Side:
        """Start a side that talks to this daemon."""
        with self.host.namespace():
            return Side(name, argv)


class Stage:
    """Handed to each benchmark. A context manager that ends all that it has made."""

    def __init__(self, scale: Scale = FULL, progress: Callable[[], None] = lambda: None) -> None:
        """`progress` is called after each round."""
        self.scale = scale
        self._progress = progress
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        # As it is installed: compiled once.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def alternate(self, sides: Mapping[K, Callable[[], T]]) -> dict[K, list[T]]:
        """As many rounds as the scale says; see `measure.alternate`."""
        return alternate(self.scale.rounds, sides, self._progress)

    # --- daemons ---

    @functools.cached_property
    def corosync(self) -> Site:
        """A real corosync of one node. Raises `LeftOutError`."""
        return self._stack.enter_context(self.other_corosync())

    @contextlib.contextmanager
    def other_corosync(self) -> Iterator[Site]:
        """A corosync for one benchmark, which would leave the shared one slower. Raises `LeftOutError`.

        libqb looks through the places of all descriptors that were ever open at once, in each turn of its
        loop: after a thousand connections each call takes 9 us more.
        """
        self._require_hosts()
        with one_node(Config(), self._directory("corosync")) as daemon:
            yield Site("corosync", daemon.pid, daemon.host)

    @functools.cached_property
    def embedded(self) -> Site:
        """The embedded daemon in a separate process, one node. Raises `LeftOutError`."""
        if importlib.util.find_spec("votequorum_ipc.testing") is None:
            raise LeftOutError("there is no embedded daemon yet")
        self._require_hosts()
        directory = self._directory("embedded")
        host = Host(directory)
        self._stack.callback(host.close)
        log = directory / "daemon.log"
        argv = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "bench.embedded_daemon"]
        process = host.start(argv, log)

        def answers() -> bool:
            assert process.alive, log.read_text()
            with contextlib.suppress(ConnectionRefusedError), host.connect("votequorum"):
                return True
            return False

        eventually(answers, otherwise="the embedded daemon answers")
        return Site("embedded daemon", process.pid, host)

    @functools.cached_property
    def _missing(self) -> str | None:
        missing = requirements.missing()
        if not missing:
            leftovers.reap()
        return missing

    def _require_hosts(self) -> None:
        if self._missing:
            raise LeftOutError(self._missing)

    # --- sides ---

    @contextlib.contextmanager
    def sides(self, site: Site, *names: str) -> Iterator[dict[str, Side]]:
        """New sides, each with one connection: "C", or one of `_PYTHON_SIDES`. Raises `LeftOutError`."""
        with contextlib.ExitStack() as stack:
            sides = {}
            for name in names:
                sides[name] = stack.enter_context(site.start(name, self._argv(name)))
                sides[name].ask("open", 1)
            yield sides

    def _argv(self, name: str) -> list[str]:
        if name == "C":
            return [str(self.c_client)]
        return [sys.executable, "-m", *_PYTHON_SIDES[name].split()]

    @functools.cached_property
    def c_client(self) -> Path:
        """The compiled C program. Raises `LeftOutError`."""
        compiler = shutil.which(os.environ.get("CC", "cc"))
        if compiler is None:
            raise LeftOutError("there is no C compiler (cc, or what CC names)")
        program = self._directory("c_client") / "c_client"
        source = str(RIVALS / "c_client.c")
        done = subprocess.run(
            [compiler, "-O2", "-pthread", source, "-lvotequorum", "-o", str(program)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            # Most likely Debian's package libvotequorum-dev is missing: the compiler names the file.
            raise LeftOutError(f"the C program does not compile: {done.stderr.strip().splitlines()[0]}")
        return program

    def _directory(self, name: str) -> Path:
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix=f"bench-{name}-")))
