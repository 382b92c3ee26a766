"""`votequorum-ipc status`: shows what `corosync-quorumtool -s` shows."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import replace
from typing import Final

import click

from ..overview import read_moment
from ..types import ClusterStatus, QuorumType
from .common import DEFAULT_TIMEOUT, FAILED, options, print_json, run_without_loop, timeout_option, utc_now
from .json_values import moment_json

NOT_QUORATE: Final = 2
"""The exit code for a node without quorum, as in corosync-quorumtool."""

_LINK_SHARE: Final = 0.2
"""The part of `--timeout` that links may take, so that they do not delay the answer about quorum too long."""

_RESOLVE_SECONDS: Final = 1.0
"""How long name servers may take, for all members together."""


@click.command("status")
@timeout_option(DEFAULT_TIMEOUT)
@options
@click.pass_context
def command(context: click.Context, timeout: float, as_json: bool, address: str | None) -> None:
    """Show quorum, votes and members; exit 0 if quorate, 2 if not, 1 if unknown."""
    moment = run_without_loop(
        read_moment(address, link_seconds=_LINK_SHARE * timeout), as_json=as_json, timeout=timeout
    )
    if as_json:
        print_json({"time": utc_now(), **moment_json(moment)})
    else:
        from .tables import print_status

        print_status(replace(moment, status=with_resolved_names(moment.status)))
    context.exit(exit_code(moment.status))


def exit_code(status: ClusterStatus) -> int:
    """A daemon without a provider always calls itself quorate, and so cannot tell."""
    if status.quorum_type is QuorumType.FREE:
        return FAILED
    return 0 if status.quorate else NOT_QUORATE


def with_resolved_names(status: ClusterStatus) -> ClusterStatus:
    """Look up names for members without one from their addresses, as corosync-quorumtool does.

    The lookups run in parallel threads, because they cannot be interrupted; those that take longer than
    `_RESOLVE_SECONDS` are abandoned.
    """
    found: dict[str, str] = {}

    def resolve(address: str) -> None:
        with contextlib.suppress(OSError):
            found[address], _ = socket.getnameinfo((address, 0), 0)

    unnamed = {member.address for member in status.members if member.address and not member.name}
    threads = [threading.Thread(target=resolve, args=(address,), daemon=True) for address in unnamed]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _RESOLVE_SECONDS
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    names = dict(found)
    members = (
        replace(member, name=member.name or names.get(member.address, "")) for member in status.members
    )
    return replace(status, members=tuple(members))
