"""What benchmarks run on: daemons, compiled programs and sides, or the reason why one is missing.

Each is made when a benchmark first asks for it, and kept for the following benchmarks. A daemon gets a
separate host, because the C library connects only to the well-known names, and the machine's own corosync may
use them.
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
"""The sides that do only what any Python client must: see `bench.floor`."""

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
    """Calls per side and round."""
    seconds: float = 10.0
    """How long to measure idle sides."""
    connections: int = 1000

    def part(self, divisor: int) -> int:
        """Calls per round for an operation that takes this many times longer than getinfo."""
        return max(2, self.calls // divisor)


FULL: Final = Scale()
QUICK: Final = Scale(rounds=2, calls=20, seconds=0.2, connections=20)


@dataclass(frozen=True)
class Site:
    """A daemon, and the network namespace where it has the well-known names."""

    name: str
    pid: int
    host: Host

    def start(self, name: str, argv: list[str]) -> Side:
        """Start a side that talks to this daemon."""
        with self.host.namespace():
            return Side(name, argv)


class Stage:
    """Given to each benchmark. A context manager that ends all that it has started."""

    def __init__(self, scale: Scale = FULL, progress: Callable[[], None] = lambda: None) -> None:
        """`progress` is called after each round."""
        self.scale = scale
        self._progress = progress
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        # Compiled once, as when it is installed.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def alternate(self, sides: Mapping[K, Callable[[], T]]) -> dict[K, list[T]]:
        """Run as many rounds as the scale says; see `measure.alternate`."""
        return alternate(self.scale.rounds, sides, self._progress)

    # --- daemons ---

    @functools.cached_property
    def corosync(self) -> Site:
        """A real corosync of one node. Raises `LeftOutError`."""
        return self._stack.enter_context(self.other_corosync())

    @contextlib.contextmanager
    def other_corosync(self) -> Iterator[Site]:
        """A corosync for one benchmark that would slow down a shared one. Raises `LeftOutError`.

        In each turn of its loop, libqb goes through the slots of all descriptors that were ever open at once:
        after a thousand connections each call takes 9 us longer.
        """
        self._require_hosts()
        with one_node(Config(), self._directory("corosync")) as daemon:
            yield Site("corosync", daemon.pid, daemon.host)

    @functools.cached_property
    def embedded(self) -> Site:
        """The embedded daemon of one node, in a separate process. Raises `LeftOutError`."""
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
        """New sides with one connection each: "C", or names from `_PYTHON_SIDES`. Raises `LeftOutError`."""
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
            # The usual cause is that Debian's package libvotequorum-dev is missing: the compiler names the
            # file.
            raise LeftOutError(f"the C program does not compile: {done.stderr.strip().splitlines()[0]}")
        return program

    def _directory(self, name: str) -> Path:
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix=f"bench-{name}-")))
