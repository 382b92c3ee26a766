"""A Debian release in a directory: made once, kept for the next run, entered in namespaces of its own.

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
from collections.abc import Sequence
from pathlib import Path

from .cells import Cell

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = (
    "corosync",
    "corosync-vqsim",
    "iproute2",
    "iputils-ping",
    "libcmap-dev",
    "libquorum-dev",
    "libvotequorum-dev",
    "procps",
    "python3",
)
EMULATED_PACKAGES = tuple(name for name in PACKAGES if name != "corosync-vqsim")

_COMPLETE = ".complete"
"""A file in a chroot that was made to its end."""

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
        self.path = directory / f"{cell.suite}-{cell.arch}"

    def make(self, log: Path) -> None:
        """Make it, unless an earlier run has. Raises `CannotMake`."""
        if (self.path / _COMPLETE).exists():
            return
        for program in ("mmdebstrap", "unshare", "pivot_root"):
            if not shutil.which(program):
                raise CannotMake(f"{program} is not installed")
        self._register_emulator()
        if self.path.exists():
            shutil.rmtree(self.path)
        packages = EMULATED_PACKAGES if self.cell.emulator else PACKAGES
        command = ["mmdebstrap", "--variant=minbase", f"--architectures={self.cell.arch}"]
        if self.cell.unreleased:
            command += ['--aptopt=Acquire::Check-Valid-Until "false"']
        command += [f"--include={','.join(packages)}", self.cell.suite, str(self.path)]
        command += [f"deb {mirror()} {self.cell.suite} main"]
        with log.open("ab") as output:
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise CannotMake(f"mmdebstrap failed: see {log}")
        # Some releases' corosync packages leave this directory to the init script.
        (self.path / "var/lib/corosync").mkdir(exist_ok=True)
        (self.path / _COMPLETE).touch()

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

    def command(self, argv: Sequence[str], binds: dict[Path, str] | None = None) -> list[str]:
        """`argv` so wrapped that it runs inside; `binds` are directories of this machine and their places."""
        lines = [
            f"mkdir -p {shlex.quote(str(self.path / place.lstrip('/')))} && "
            f"mount --rbind {shlex.quote(str(source))} {shlex.quote(str(self.path / place.lstrip('/')))}"
            for source, place in (binds or {}).items()
        ]
        script = _ENTER.format(
            root=shlex.quote(str(self.path)), binds="\n".join(lines), command=shlex.join(argv)
        )
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]

    def run(
        self, argv: Sequence[str], binds: dict[Path, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end."""
        return subprocess.run(self.command(argv, binds), capture_output=True, text=True, check=False)
