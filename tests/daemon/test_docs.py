"""The programs in docs/embedded-daemon.md run as printed. The page's test is in test_pytest_plugin."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

from tests.real.host import ROOT, Host
from tests.real.waiting import eventually
from tests.samples import program_on

TEXT = (ROOT / "docs" / "embedded-daemon.md").read_text()
*_, NAMES, CLOCK = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def test_quorumtool_shows_a_node_under_corosyncs_own_names(host: Host) -> None:
    def shown() -> bool:
        tool = subprocess.run(
            host.command(["corosync-quorumtool", "-s"]), capture_output=True, text=True, check=False
        )
        return re.search(r"^Total votes: +3$", tool.stdout, re.MULTILINE) is not None

    with subprocess.Popen(host.command([sys.executable, "-c", NAMES]), env=ENVIRONMENT) as program:
        try:
            eventually(shown, otherwise="corosync-quorumtool shows three votes")
        finally:
            program.kill()


def test_a_service_of_the_users_own_answers(host: Host) -> None:
    before = int(time.time())
    done = program_on(host, CLOCK)
    assert done.stderr == ""
    told = time.mktime(time.strptime(done.stdout, "it is %a %b %d %H:%M:%S %Y\n"))
    assert before <= told <= time.time()
