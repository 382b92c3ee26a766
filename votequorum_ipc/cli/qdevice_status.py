"""`votequorum-ipc qdevice status`: corosync's view of this node's device, and the device's last vote."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..qdevice.record import Record, read_record, runtime_directory
from ..types import DEVICE_FLAGS, InfoFlags, NodeInfo
from ..votequorum import Votequorum
from .common import DEFAULT_TIMEOUT, options, print_json, printable, run_without_loop, timeout_option, utc_now
from .json_values import flag_names, ring_json
from .votes import on_votequorum

_WORDS = (
    (InfoFlags.QDEVICE_REGISTERED, "registered", "not registered"),
    (InfoFlags.QDEVICE_ALIVE, "alive", "not alive"),
    (InfoFlags.QDEVICE_CAST_VOTE, "votes", "does not vote"),
    (InfoFlags.QDEVICE_MASTER_WINS, "master wins", ""),
)
"""A flag, with the words for set and not set."""


@click.command("status")
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the running device records its last vote; /run/votequorum-ipc for root.",
)
@timeout_option(DEFAULT_TIMEOUT)
@options
def command(state_dir: Path | None, timeout: float, as_json: bool, address: str | None) -> None:
    """Show this node's quorum device: its name, flags and votes, its last vote and the reason for it.

    The last vote is known only while `votequorum-ipc qdevice run` runs on this node.
    """
    info = run_without_loop(_own_info(address), as_json=as_json, timeout=timeout)
    directory = state_dir or runtime_directory()
    name = info.qdevice_name if InfoFlags.QDEVICE_REGISTERED in info.flags else ""
    record = read_record(directory, name, address) if name and directory else None
    if as_json:
        print_json({"time": utc_now(), **_shape(info, name, record)})
        return
    for title, text in _rows(info, name, record):
        click.echo(f"{title:<16} {printable(text)}")


async def _own_info(address: str | None) -> NodeInfo:
    infos: list[NodeInfo] = []

    async def ask(votequorum: Votequorum) -> None:
        infos.append(await votequorum.getinfo())

    await on_votequorum(address, ask)
    return infos[0]


def _shape(info: NodeInfo, name: str, record: Record | None) -> dict[str, Any]:
    return {
        "node_id": info.node_id,
        "name": name or None,
        "flags": flag_names(info.flags & DEVICE_FLAGS),
        "votes": info.qdevice_votes,
        "quorate": InfoFlags.QUORATE in info.flags,
        "last": record
        and {
            "vote": record.vote,
            "reason": record.reason,
            "ring_id": record.ring_id and ring_json(record.ring_id),
            "age": round(time.time() - record.time, 3),
            "pid": record.pid,
        },
    }


def _rows(info: NodeInfo, name: str, record: Record | None) -> Iterator[tuple[str, str]]:
    words = [is_set if flag in info.flags else is_not for flag, is_set, is_not in _WORDS]
    yield "Name:", name or "(none)"
    yield "State:", ", ".join(word for word in words if word) if name else "not registered on this node"
    yield "Votes:", str(info.qdevice_votes) if name else f"{info.qdevice_votes}, once a device is registered"
    yield "Node quorate:", "Yes" if InfoFlags.QUORATE in info.flags else "No"
    if record is not None:
        answer = {True: "yes", False: "no", None: "none"}[record.vote]
        ring = f" for ring {record.ring_id}" if record.ring_id else ""
        yield "Last vote:", f"{answer}{ring}, {time.time() - record.time:.1f} s ago, by process {record.pid}"
        yield "Reason:", record.reason
