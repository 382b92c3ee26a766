"""`make deb`: build the Debian package, check it with lintian, install it, and run what it brings.

Strategy: one chroot of Debian 13 has what debian/control names under Build-Depends, another one only what the
finished packages depend on, so a dependency that is not declared fails here. Debian 12's trio (0.22) is too
old.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .cells import Cell, Way
from .chroot import ROOT, CannotMake, Chroot, export

SUITE = "trixie"
"""Debian 13: the first release whose trio is new enough."""

_TOOLS = ("build-essential", "lintian")
_RELATION = re.compile(r"^ *([a-z0-9][a-z0-9.+-]+)")
_LINTIAN = "lintian --allow-root --fail-on error,warning *.changes"

_TRIED = """
set -eu
dpkg -i /build/*.deb >/dev/null
cd /
votequorum-ipc --version
python3 -c 'import votequorum_ipc.blocking, votequorum_ipc.testing'
mkfifo /tmp/words
votequorum-ipc serve --immediate </tmp/words >/tmp/served &
serve=$!
exec 3>/tmp/words
until grep -q 'quorate ' /tmp/served; do sleep 0.1; done
votequorum-ipc status
kill $serve
systemd-analyze verify /usr/lib/systemd/system/votequorum-exporter.service
touch /etc/default/votequorum-qdevice-disk
cp /usr/lib/systemd/system/votequorum-qdevice@.service /tmp/votequorum-qdevice@disk.service
systemd-analyze verify /tmp/votequorum-qdevice@disk.service
test ! -e /etc/systemd/system/multi-user.target.wants/votequorum-exporter.service
bash -c '. /usr/share/bash-completion/completions/votequorum-ipc; complete -p votequorum-ipc'
test -e /usr/share/zsh/vendor-completions/_votequorum-ipc
test -e /usr/share/fish/vendor_completions.d/votequorum-ipc.fish
man -w votequorum-ipc
dpkg -r votequorum-ipc python3-votequorum-ipc >/dev/null
test ! -e /usr/bin/votequorum-ipc
"""
"""What a user does first, in a network namespace where nothing else listens."""


def build_depends(control: str) -> list[str]:
    """The packages in Build-Depends, without debhelper's virtual ones."""
    return [name for name in _relations(control, "Build-Depends") if not name.startswith("dh-sequence-")]


def _relations(control: str, field: str) -> list[str]:
    """The packages named in a field of a control file; versions and substitutions are dropped."""
    found = re.search(rf"^{field}:((?:.*\n)(?: .*\n)*)", control, re.MULTILINE)
    relations = found[1].replace("\n", " ").split(",") if found else []
    return [name[1] for relation in relations if (name := _RELATION.match(relation))]


class Builder:
    """Makes the packages in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = directory / "package.log"
        self._built = directory / "package"

    def build(self) -> list[Path]:
        """Build and check. Raises `CannotMake`."""
        control = (ROOT / "debian/control").read_text()
        needs = ["debhelper", "dh-python", *_TOOLS]
        needs += [name for name in build_depends(control) if name != "debhelper-compat"]
        chroot = self._chroot("package-build", needs)
        shutil.rmtree(self._built, ignore_errors=True)
        export(self._built / "votequorum-ipc")
        script = f"cd /build/votequorum-ipc && dpkg-buildpackage -us -uc && cd .. && {_LINTIAN}"
        self._run(chroot, script, "the package cannot be built")
        return sorted(self._built.glob("*.deb"))

    def install(self, packages: Sequence[Path]) -> str:
        """Install and run them; what the run printed. Raises `CannotMake`."""
        ours = {package.name.split("_")[0] for package in packages}
        needs = {"man-db", "systemd"}
        for package in packages:
            field = ["dpkg-deb", "--field", str(package), "Depends", "Recommends"]
            said = subprocess.run(field, capture_output=True, text=True, check=True).stdout
            needs |= {*_relations(said + "\n", "Depends"), *_relations(said + "\n", "Recommends")}
        chroot = self._chroot("package-install", sorted(needs - ours))
        return self._run(chroot, _TRIED, "the package cannot be used")

    def _chroot(self, name: str, packages: Sequence[str]) -> Chroot:
        cell = Cell(name, "Debian 13", Way.PACKAGE, (), SUITE, packages=tuple(packages))
        chroot = Chroot(cell, self._directory)
        print(f"preparing {chroot.path}", flush=True)
        chroot.make(self._log)
        return chroot

    def _run(self, chroot: Chroot, script: str, problem: str) -> str:
        command = chroot.command(["sh", "-c", script], {self._built: "/build"})
        with self._log.open("a+") as log:
            start = log.seek(0, os.SEEK_END)
            done = subprocess.run(
                ["unshare", "--net", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
            log.seek(start)
            said = log.read()
        if done.returncode:
            raise CannotMake(f"{problem}; see {self._log}:\n{said}")
        return said


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.compat.package", description=__doc__)
    parser.add_argument("--directory", type=Path, default=ROOT / ".compat", help="where the chroots are kept")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where the packages go")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    builder = Builder(arguments.directory.resolve())
    try:
        packages = builder.build()
        print(builder.install(packages), end="")
    except (CannotMake, OSError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for package in packages:
        print(shutil.copy(package, arguments.out))


if __name__ == "__main__":
    main()
