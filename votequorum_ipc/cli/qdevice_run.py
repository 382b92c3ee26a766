"""`votequorum-ipc qdevice run`: runs this node's quorum device, which votes while commands succeed."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import trio

from ..qdevice import Ballot, Command, Commands, QuorumDevice, run_qdevice
from ..qdevice.record import Recorder, open_recorder, runtime_directory
from ..qdevice.run import SAID_NO, SAID_YES
from ..qdevice.systemd import Notifier
from .common import FAILED, Seconds, options, printable, run, utc_now
from .json_values import ring_json
from .output import LossyOutput

_SHORTEST: Final = 0.01
"""In seconds; a shorter interval would keep a CPU busy starting commands."""

_VOTES: Final = {True: "votes", False: "does not vote", None: "has cast no vote"}


class _Requirement(click.ParamType):  # type: ignore[type-arg]
    name = "all|any|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value in (None, "all"):
            return None
        if value == "any":
            return 1
        if not (isinstance(value, int) or str(value).isdecimal()):
            self.fail(f"{value!r} is neither all nor any nor a number", param, ctx)
        return int(value)


@click.command("run")
@click.option("--name", required=True, help="The device's name, the same on all nodes.")
@click.option("--exec", "texts", multiple=True, required=True, metavar="COMMAND", help="May be repeated.")
@click.option("--require", type=_Requirement(), default="all", help="How many must succeed; all by default.")
@click.option(
    "--interval",
    type=Seconds(_SHORTEST, 3600),
    default=2.0,
    show_default=True,
    help="Seconds between runs of the commands.",
)
@click.option(
    "--timeout",
    type=Seconds(_SHORTEST, 3600),
    default=3.0,
    show_default=True,
    help="Seconds after which a command is killed and counts as failed.",
)
@click.option("--shell", is_flag=True, help="Run the commands with /bin/sh.")
@click.option("--master-wins", is_flag=True, help="The partition with the device's vote is quorate.")
@click.option("--leave-registered", is_flag=True, help="At the end, keep the vote until corosync's timeout.")
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where `qdevice status` finds the last vote; /run/votequorum-ipc for root.",
)
@options
def command(
    name: str,
    texts: tuple[str, ...],
    require: int | None,
    interval: float,
    timeout: float,
    shell: bool,
    master_wins: bool,
    leave_registered: bool,
    state_dir: Path | None,
    as_json: bool,
    address: str | None,
) -> None:
    """Vote while the commands succeed, until SIGTERM or Ctrl-C; then withdraw the vote.

    The commands run in parallel: at once when the membership changes, then at each interval. The environment
    tells them about the membership: QDEVICE_NODE_ID, QDEVICE_RING_ID, QDEVICE_MEMBERS, QDEVICE_QUORATE,
    QDEVICE_EXPECTED_VOTES, QDEVICE_TOTAL_VOTES. The device notifies systemd when it is ready, and serves its
    watchdog. It keeps running if its output is no longer read.

    Exit codes: 0 the vote was withdrawn, 1 it was not, or an error of corosync, 2 wrong usage.
    """
    try:
        decision = Commands([Command(text, timeout=timeout, shell=shell) for text in texts], require)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    device = partial(
        run_qdevice,
        name,
        decision,
        interval,
        address=address,
        master_wins=master_wins,
        leave_registered=leave_registered,
    )
    directory = state_dir or runtime_directory()
    reporter = _Reporter(decision, name, as_json)
    logging.getLogger("votequorum_ipc").addHandler(_WarningsOnStderr(reporter.output))
    ran = run(partial(_until_told, device, reporter, name, address, directory), as_json=as_json)
    if ran is not None and ran.left_behind:
        reporter.left_behind(ran.left_behind)
        sys.exit(FAILED)


async def _until_told(
    device: Callable[..., Any],
    reporter: _Reporter,
    name: str,
    address: str | None,
    directory: Path | None,
) -> QuorumDevice | None:
    """Run the device until a signal ends it, and return it, since it may have left something behind. Returns
    None if the signal came before the device was ready, so that it has cast no vote."""
    ran: QuorumDevice | None = None
    with contextlib.ExitStack() as stack:
        reporter.recorder = stack.enter_context(_recorder(directory, name, address, reporter.output))
        signals = stack.enter_context(trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reporter.notifier.keep_watchdog)
            nursery.start_soon(_cancel_when_told, signals, nursery.cancel_scope)
            ran = await nursery.start(partial(device, report=reporter.report))
            reporter.notifier.notify(READY="1")
        reporter.notifier.notify(STOPPING="1")
    return ran


async def _cancel_when_told(signals: Any, scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


@contextlib.contextmanager
def _recorder(directory: Path | None, name: str, address: str | None, output: LossyOutput) -> Any:
    """A recorder, if there is a place for records; the device can also vote without one."""
    with contextlib.ExitStack() as stack:
        recorder = None
        if directory is not None:
            try:
                recorder = stack.enter_context(open_recorder(directory, name, address))
            except OSError as error:
                output.complain(f"qdevice status will not know the last vote: {error}")
        yield recorder


class _WarningsOnStderr(logging.Handler):
    """Shows the library's warnings, such as about a vote that could not be withdrawn."""

    def __init__(self, output: LossyOutput) -> None:
        super().__init__(logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.complain(printable(record.getMessage()))


class _Reporter:
    """Passes every ballot to `qdevice status`, and each that differs from the last one to people and
    systemd."""

    def __init__(self, decision: Commands, name: str, as_json: bool) -> None:
        self.output = LossyOutput()
        self.notifier = Notifier()
        self.recorder: Recorder | None = None
        self._decision = decision
        self._name = name
        self._as_json = as_json
        self._last: tuple[bool | None, str] | None = None

    def report(self, ballot: Ballot) -> None:
        if ballot.reason in (SAID_YES, SAID_NO):
            ballot = replace(ballot, reason=self._decision.summary())
        if self.recorder is not None:
            self.recorder.write(self._name, ballot)
        if self._last != (ballot.vote, ballot.reason):
            self._last = (ballot.vote, ballot.reason)
            self._show(ballot)

    def left_behind(self, sentences: Sequence[str]) -> None:
        """Tell programs what could not be withdrawn; people have seen the warnings."""
        if self._as_json:
            self._json("left_behind", left_behind=list(sentences))

    def _show(self, ballot: Ballot) -> None:
        text = f"quorum device {printable(self._name)} {_VOTES[ballot.vote]}: {printable(ballot.reason)}"
        self.notifier.notify(STATUS=text)
        if not self._as_json:
            self.output.line(text)
            return
        ring = ballot.ring_id and ring_json(ballot.ring_id)
        self._json("ballot", vote=ballot.vote, reason=ballot.reason, ring_id=ring)

    def _json(self, event: str, **values: Any) -> None:
        shape = {"time": utc_now(), "event": event, "name": self._name, **values}
        self.output.line(json.dumps(shape))
