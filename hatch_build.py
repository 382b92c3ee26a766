"""What a wheel has besides the package: the man pages, where `make man` has written them.

Building a wheel must not need Sphinx, so one without man pages is built where they are missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManPages(BuildHookInterface[Any]):
    """Adds each page in build/man/ as share/man/man1/PAGE."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """What hatchling calls before it builds a wheel."""
        pages = sorted(Path(self.root, "build", "man").glob("*.1"))
        build_data["shared_data"].update({str(page): f"share/man/man1/{page.name}" for page in pages})
