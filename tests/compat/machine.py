"""A cell that boots: its chroot on an emulated machine, with a kernel of that architecture.

Strategy: qemu-user hands system calls to this machine's kernel. A little-endian kernel that adds to a count
of a big-endian process, as futex(FUTEX_WAKE_OP) does, adds to its wrong end. So the whole chroot becomes the
initramfs of Debian's kernel, which qemu-system boots. No disk and no network are attached. The console is
the cell's log, and the report comes out through it, between two marks.
"""

from __future__ import annotations

import base64
import gzip
import re
import shlex
import shutil
import subprocess
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from .cells import Cell
from .chroot import CannotMake, mirror, mount_below

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_APT = """
Dir::State::lists "{0}/lists";
Dir::State::status "/dev/null";
Dir::Cache "{0}/cache";
Dir::Etc::sourcelist "{0}/sources.list";
Dir::Etc::sourceparts "-";
APT::Architecture "{1}";
APT::Architectures "{1}";
"""

_EMULATORS = {
    "s390x": ("qemu-system-s390x", "-machine", "s390-ccw-virtio"),
}
_CONSOLES = {"s390x": "ttysclp0"}

_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
for memory in /dev/shm /tmp /run; do mount -t tmpfs tmpfs $memory; done
mount -t devpts devpts /dev/pts
ln -sf /proc/self/fd /dev/fd
ip link set lo up
cd /checkout
env {environment} {command} 2>&1 | cat
echo {begin}
gzip -c {report} | base64
echo {end}
echo o >/proc/sysrq-trigger
sleep 60
"""
_BEGIN, _END = "=== report, compressed", "=== end of the report"

_INITRAMFS = """
set -e
{binds}
cd {root}
find . \\( -path './dev/*' -o -path ./usr/share/doc -o -path ./usr/share/man -o -path ./usr/share/locale \\
    -o -path ./var/lib/apt -o -path ./var/cache \\) -prune -o -print |
    cpio --create --format=newc --quiet >{initramfs}
"""


class Machine:
    """An emulated machine for the chroot of one cell."""

    def __init__(self, cell: Cell, root: Path, directory: Path) -> None:
        self._cell = cell
        self._root = root
        self._kernel = directory / f"{cell.name}.kernel"
        self._initramfs = directory / f"{cell.name}.initramfs"

    def make(self) -> None:
        """Unpack Debian's newest kernel, unless an earlier run has. Raises `CannotMake`."""
        for program in (_EMULATORS[self._cell.arch][0], "cpio"):
            if not shutil.which(program):
                raise CannotMake(f"{program} is not installed")
        if self._images():
            return
        shutil.rmtree(self._kernel, ignore_errors=True)
        for place in ("lists/partial", "cache/archives/partial"):
            (self._kernel / place).mkdir(parents=True)
        source = f"deb [signed-by={_KEYRING}] {mirror()} {self._cell.suite} main\n"
        (self._kernel / "sources.list").write_text(source)
        (self._kernel / "apt.conf").write_text(_APT.format(self._kernel, self._cell.arch))
        self._apt("apt-get", "update")
        depends = self._apt("apt-cache", "depends", self._cell.kernel)
        if not (newest := re.search(r"Depends: (linux-image-\S+)", depends)):
            raise CannotMake(f"{self._cell.suite} has no {self._cell.kernel}")
        self._apt("apt-get", "download", newest[1])
        for package in self._kernel.glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", str(package), str(self._kernel)], check=True)
        if not self._images():
            raise CannotMake(f"{newest[1]} has no kernel")

    def command(
        self, argv: Sequence[str], binds: Mapping[Path, str], environment: Mapping[str, str], report: Path
    ) -> list[str]:
        """What boots the machine, runs `argv` in /checkout, prints `report` and ends.

        `binds` are directories of this machine and their places; what is written to them is lost.
        """
        checkout = next(source for source, place in binds.items() if place == "/checkout")
        init = checkout / "init"
        init.write_text(init_script(argv, environment, report))
        init.chmod(0o755)
        script = _INITRAMFS.format(
            binds=mount_below(self._root, binds),
            root=shlex.quote(str(self._root)),
            initramfs=shlex.quote(str(self._initramfs)),
        )
        subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script], check=True)
        console = _CONSOLES[self._cell.arch]
        options = ["-m", "3072", "-smp", "2", "-nographic", "-no-reboot", "-nic", "none"]
        options += ["-kernel", str(self._images()[-1]), "-initrd", str(self._initramfs)]
        options += ["-append", f"console={console} panic=5 loglevel=3 rdinit=/checkout/init"]
        return [*_EMULATORS[self._cell.arch], *options]

    def _images(self) -> list[Path]:
        return sorted(self._kernel.glob("boot/vmlinuz-*"))

    def _apt(self, *command: str) -> str:
        # Not as apt's own user, who may not write there.
        sandbox = ["--option", "APT::Sandbox::User=root"]
        done = subprocess.run(
            [*command, *sandbox],
            cwd=self._kernel,
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "APT_CONFIG": str(self._kernel / "apt.conf")},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CannotMake(f"{shlex.join(command)}: {done.stderr.strip()}")
        return done.stdout


def init_script(argv: Sequence[str], environment: Mapping[str, str], report: Path) -> str:
    """The first process of the machine."""
    return _INIT.format(
        environment=shlex.join(f"{name}={value}" for name, value in environment.items()),
        command=shlex.join(argv),
        begin=shlex.quote(_BEGIN),
        end=shlex.quote(_END),
        report=shlex.quote(str(report)),
    )


def last_report(console: bytes) -> bytes | None:
    """The last report that a machine printed; None where it ended before."""
    found = re.findall(
        rb"^%s\r?\n(.*?)^%s" % (_BEGIN.encode(), _END.encode()), console, re.MULTILINE | re.DOTALL
    )
    try:
        return gzip.decompress(base64.b64decode(found[-1])) if found else None
    except (ValueError, EOFError, OSError, zlib.error):
        return None  # the kernel wrote to the console meanwhile
