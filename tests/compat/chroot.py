"""A Debian release in a directory: made once, kept for the next run, entered in its own namespaces.

Strategy: mmdebstrap makes the directory, from the mirror that this machine's apt uses. A command runs in a
private mount namespace whose root is that directory. (pivot_root does that; inside a plain chroot the tests
could not make mount namespaces themselves.) Python packages come from a directory that this machine fills, so
nothing inside needs a network.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .cells import EVERYTHING, Cell

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = ("corosync", "iproute2", "libcmap-dev", "libquorum-dev", "libvotequorum-dev", "procps", "python3")
"""What a daemon, and the tests that depend on a processor, need."""

_COMPLETE = ".complete"
"""A file in a chroot that was made to its end; it lists the packages that were asked for."""

_SOURCES = Path("/etc/apt")
_MIRROR = re.compile(r"^(?:URIs:|deb(?: \[[^]]*\])?) *(\S+/debian/?)(?:\s|$)", re.MULTILINE)
_BINFMT = Path("/proc/sys/fs/binfmt_misc")

_ENTER = """
set -e
mount --bind {root} {root}
for shared in dev sys; do mount --rbind /$shared {root}/$shared; done
mount -t proc proc {root}/proc
mount -t tmpfs tmpfs {root}/run
mount -t tmpfs tmpfs {root}/tmp
{binds}
cd {root}
mkdir -p .outside
pivot_root . .outside
umount -l /.outside
cd /checkout 2>/dev/null || cd /
exec {command}
"""


def packages(cell: Cell) -> list[str]:
    """The Debian packages of a cell: a cell that runs all tests has what `make test` installs."""
    if cell.packages:
        return sorted(cell.packages)
    if cell.paths != EVERYTHING:
        return sorted(PACKAGES)
    command = [str(ROOT / "tools/install-test-deps"), "--list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return sorted({*PACKAGES, *listed})


class CannotMake(Exception):
    """A chroot cannot be made here; the text says why."""


def mirror() -> str:
    """The Debian mirror that this machine's apt uses. Raises `CannotMake` where none is configured."""
    for file in sorted([_SOURCES / "sources.list", *(_SOURCES / "sources.list.d").glob("*")]):
        found = _MIRROR.search(file.read_text()) if file.is_file() else None
        if found:
            return found[1]
    raise CannotMake("apt has no Debian mirror configured, or this is no Debian")


class Chroot:
    """The directory of one cell."""

    def __init__(self, cell: Cell, directory: Path) -> None:
        self.cell = cell
        self.path = directory / f"{cell.name}.root"

    def make(self, log: Path) -> None:
        """Make it, unless an earlier run has, with the packages wanted now. Raises `CannotMake`."""
        wanted = ",".join(packages(self.cell))
        mark = self.path / _COMPLETE
        if mark.exists() and mark.read_text() == wanted:
            return
        for program in ("mmdebstrap", "unshare", "pivot_root"):
            if not shutil.which(program):
                raise CannotMake(f"{program} is not installed")
        self._register_emulator()
        if self.path.exists():
            shutil.rmtree(self.path)
        command = ["mmdebstrap", "--variant=minbase", f"--architectures={self.cell.arch}"]
        command += ["--dpkgopt=force-unsafe-io"]  # what a crash spoils is made again
        if self.cell.unreleased:
            command += ['--aptopt=Acquire::Check-Valid-Until "false"']
        command += [f"--include={wanted}", self.cell.suite, str(self.path)]
        command += [f"deb {mirror()} {self.cell.suite} main"]
        with log.open("ab") as output:
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise CannotMake(f"mmdebstrap failed: see {log}")
        # Some releases' corosync packages leave this directory to the init script.
        (self.path / "var/lib/corosync").mkdir(exist_ok=True)
        # The installer of a system writes this file; no package does.
        (self.path / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        mark.write_text(wanted)

    def _register_emulator(self) -> None:
        name = self.cell.emulator
        if not name or (_BINFMT / name).exists():
            return
        entry = Path("/usr/lib/binfmt.d") / f"{name}.conf"
        if not entry.exists():
            raise CannotMake(f"qemu-user-static, which brings {name}, is not installed")
        if not (_BINFMT / "register").exists():
            subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(_BINFMT)], check=True)
        (_BINFMT / "register").write_text(entry.read_text())

    def import_from(self, directory: str, python: str) -> None:
        """Let the chroot's Python, of a version such as "3.13", find packages in a directory of the chroot.

        Some tests set PYTHONPATH for the processes that they start, so that cannot say it.
        """
        local = self.path / f"usr/local/lib/python{python}/dist-packages"
        local.mkdir(parents=True, exist_ok=True)
        (local / "compat.pth").write_text(f"{directory}\n")

    def lend(self, program: str) -> None:
        """Let the chroot's commands run this machine's own `program`, whatever processor they are for.

        qemu-user has threads of its own, and Linux moves no process with threads into a mount namespace, so
        an emulated nsenter fails.
        """
        there = Path("opt/lent")
        (self.path / there).mkdir(parents=True, exist_ok=True)
        source = shutil.which(program)
        if not source:
            raise CannotMake(f"{program} is not installed")
        listed = subprocess.run(["ldd", source], capture_output=True, text=True, check=True).stdout
        libraries = [Path(word) for word in listed.split() if word.startswith("/")]
        for file in (Path(source), *libraries):
            shutil.copy(file, self.path / there / file.name)
        loader = next(file.name for file in libraries if file.name.startswith("ld-"))
        command = self.path / "usr/local/bin" / program
        command.write_text(
            f'#!/bin/sh\nexec /{there}/{loader} --library-path /{there} /{there}/{program} "$@"\n'
        )
        command.chmod(0o755)

    def command(self, argv: Sequence[str], binds: dict[Path, str] | None = None) -> list[str]:
        """`argv` so wrapped that it runs inside; `binds` are directories of this machine and their places."""
        script = _ENTER.format(
            root=shlex.quote(str(self.path)),
            binds=mount_below(self.path, binds or {}),
            command=shlex.join(argv),
        )
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]

    def run(
        self, argv: Sequence[str], binds: dict[Path, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end."""
        return subprocess.run(self.command(argv, binds), capture_output=True, text=True, check=False)


def mount_below(root: Path, binds: Mapping[Path, str]) -> str:
    """Lines of a shell script that put directories of this machine at their places below `root`."""
    lines = []
    for source, place in binds.items():
        there = shlex.quote(str(root / place.lstrip("/")))
        lines += [f"mkdir -p {there}", f"mount --rbind {shlex.quote(str(source))} {there}"]
    return "\n".join(lines)


def export(checkout: Path) -> None:
    """Copy what git tracks of this checkout, as it is now."""
    if checkout.exists():
        shutil.rmtree(checkout)
    checkout.mkdir(parents=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        source = ROOT / name
        if source.is_file():
            target = checkout / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
