"""The modules that decide, and the tests for each: fast ones first, as the first failure is enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_RULES: Final = (
    "tests/cluster/test_reloaded_rules.py",
    "tests/cluster/test_services.py",
    "tests/cluster/test_qdevice.py",
    "tests/cluster/test_quorum_rules.py",
    "tests/cluster/test_latency.py",
    "tests/cluster/test_properties.py",
    "tests/cluster/test_against_vqsim.py",
)
"""The model of a cluster, from its clients' calls to its properties."""

_DEVICE: Final = (
    "tests/qdevice/test_run.py",
    "tests/qdevice/test_withdrawal.py",
    "tests/qdevice/test_schedule.py",
)
"""One device, from its registration to its end."""

PLAN: Final[Mapping[str, tuple[str, ...]]] = {
    "follow.py": (
        "tests/reliability/test_watch_timing.py",
        "tests/reliability/test_follow.py",
        "tests/reliability/test_watch.py",
    ),
    "watch.py": (
        "tests/reliability/test_watch_timing.py",
        "tests/reliability/test_watch.py",
    ),
    "ipc/exchange.py": (
        "tests/ipc/test_exchange.py",
        "tests/ipc/test_requests.py",
    ),
    "ipc/waiting.py": (
        "tests/ipc",
        "tests/client",
        "tests/reliability/test_cancel_everywhere.py",
    ),
    "cluster/votes.py": (
        "tests/cluster/test_quorum_rules.py",
        "tests/cluster/test_qdevice.py",
        "tests/cluster/test_services.py",
        "tests/cluster/test_properties.py",
        "tests/cluster/test_against_vqsim.py",
    ),
    "cluster/node.py": _RULES,
    "cluster/multicasts.py": _RULES,
    "cluster/answers.py": _RULES,
    "qdevice/device.py": _DEVICE,
    "qdevice/withdrawal.py": ("tests/qdevice/test_withdrawal.py", *_DEVICE[:1]),
    "qdevice/run.py": _DEVICE,
    "qdevice/schedule.py": (
        "tests/qdevice/test_schedule.py",
        "tests/qdevice/test_run.py",
        "tests/qdevice/test_partitions.py",
    ),
}
"""Paths below votequorum_ipc."""
