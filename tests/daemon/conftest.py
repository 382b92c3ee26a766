"""Fixtures for tests of the embedded daemon.

host    a host without corosync; the test runs in its network namespace. The well-known names are free there,
        so corosync's own programs, run on the host, find what the test serves
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.host import Host


@pytest.fixture
def host(real_corosync: None, tmp_path: Path) -> Iterator[Host]:
    """A separate host, with the test in its network namespace."""
    host = Host(tmp_path)
    try:
        with host.namespace():
            yield host
    finally:
        host.close()
