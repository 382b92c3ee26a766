"""`votequorum-ipc check`: which failures a quorum configuration survives.

Strategy: `votequorum_ipc.check` finds the answers; this module reads configurations, runs the search while it
shows progress on stderr, and passes on the report to be shown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from ..check import Bounds, DeviceKind, Progress, Property, Reachability, Report, Stopped, check
from ..check.likely import Estimate, Estimator
from ..check.remedies import Remedy, remedies
from ..check.report import NAMES, rules_to_check
from ..check.suggest import Wish
from ..cluster import ClusterConfig, ConfigurationError
from ..cluster.corosync_conf import CorosyncConf, parse_corosync_conf
from ..types import ClusterStatus
from .check_options import DownOption, SectionedCommand, SiteOption, chances, chances_fault, site_fault
from .common import DEFAULT_TIMEOUT, address_option, print_json, printable, run_without_loop

_UNREADABLE: Final = 1
_USAGE: Final = 64
_NOT_WITH_SUGGEST: Final = ("down", "html", "replay", "vqsim", "confirm", "device", "faults", "operator")
_REMEDY_SECONDS: Final = 5.0
"""The time limit for each suggested change, in seconds."""


@dataclass(frozen=True)
class Subject:
    """What is checked: its displayed name, its configuration, and warnings about the configuration."""

    name: str
    config: ClusterConfig
    device: DeviceKind | None
    warnings: tuple[str, ...]
    running: ClusterStatus | None = None
    """With --running, the cluster's state."""


@dataclass(frozen=True)
class Shown:
    """Everything to show about a subject. `estimate` is None without --down."""

    subject: Subject
    report: Report
    remedies: dict[str, list[Remedy]]
    estimate: Estimate | None

    def shape(self) -> dict[str, Any]:
        """The same as JSON."""
        from ..check.report_json import availability_json, report_json
        from .json_values import status_json

        return {
            "name": self.subject.name,
            "warnings": list(self.subject.warnings),
            **report_json(self.report, self.remedies),
            "running": self.subject.running and status_json(self.subject.running),
            "availability": self.estimate and availability_json(self.estimate),
        }


@click.command("check", cls=SectionedCommand)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--running", is_flag=True, help="Check the configuration of the corosync that is running here.")
@address_option
@click.option(
    "--device",
    type=click.Choice([kind.value for kind in DeviceKind]),
    help="How the quorum device votes. Default: quorum.device.net.algorithm, else exclusive.",
)
@click.option("--operator", is_flag=True, help="Let an operator set expected votes and cancel wait_for_all.")
@click.option(
    "--property",
    "own",
    multiple=True,
    metavar="MODULE:FUNCTION",
    help="Check your own property too.",
)
@click.option("--faults", type=click.IntRange(1), metavar="N", help="Consider at most N faults.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.1),
    metavar="S",
    default=60.0,
    help="Time limit for each search. Default: 60.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    metavar="N",
    default=1,
    help="Processes that share the work; 1 by default.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page to share.")
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="PROPERTY",
    help="Ignore this property in the exit code. Can be repeated.",
)
@click.option("--no-remedies", is_flag=True, help="Do not look for changes that would help.")
@click.option("--replay", metavar="PROPERTY", help="Replay its story in the model.")
@click.option("--vqsim", metavar="PROPERTY", help="Print its story as input for corosync-vqsim.")
@click.option("--confirm", is_flag=True, help="Run all stories in corosync-vqsim.")
@click.option(
    "--down",
    type=DownOption(),
    multiple=True,
    metavar="[THING=]P",
    help="Estimate how likely quorum is if each node and the device is down with probability P. P may be "
    "MTBF/MTTR, such as 2000h/4h. THING is node, node3, site, site1, link, link1 or device. Can be repeated.",
)
@click.option(
    "--site",
    "sites",
    type=SiteOption(),
    multiple=True,
    metavar="NODES",
    help="The nodes of one site, such as 1,2. Repeat for each site.",
)
@click.option(
    "--suggest",
    type=click.Choice([wish.value for wish in Wish]),
    help="Print configurations that survive this, for the nodes of FILE, --nodes or --site.",
)
@click.option("--nodes", type=click.IntRange(1, 16), metavar="N", help="The number of nodes, without a FILE.")
def command(files: tuple[Path, ...], running: bool, address: str | None, **options: Any) -> None:
    """Say which failures a corosync.conf survives, and which end in no quorum or in two halves with quorum.

    With several FILES, compare them. Exit codes: 0 nothing bad can happen, 2 something bad can, 3 undecided
    within the bounds, 1 a configuration cannot be read, 64 wrong usage.
    """
    if options["suggest"]:
        _suggest(files, running, options)
    if options["nodes"]:
        _usage("--nodes belongs to --suggest")
    if running == bool(files):
        _usage("name a corosync.conf, or --running")
    if options["html"] and len(files) > 1:
        _usage("--html writes a page about one FILE")
    device = options["device"]
    as_json = options["as_json"]
    subjects = (
        [_running(address, device, as_json=as_json)] if running else [_read(file, device) for file in files]
    )
    properties = [_own(name) for name in options["own"]]
    _refuse_unknown([*NAMES, *(one.name for one in properties)], options)
    estimates = [_estimate(subject, options) for subject in subjects]
    bounds = Bounds(faults=options["faults"], seconds=options["seconds"])
    reports = [_checked(subject, bounds, properties, options) for subject in subjects]
    helps = [
        {} if options["no_remedies"] else _remedies(one, two, options["processes"])
        for one, two in zip(subjects, reports, strict=True)
    ]
    shown = [Shown(*parts) for parts in zip(subjects, reports, helps, estimates, strict=True)]
    _show(shown, options)
    if options["confirm"] and False in list(map(_confirm, subjects, reports)):
        sys.exit(_UNREADABLE)
    sys.exit(_exit_code(reports, options["accepted"]))


def _suggest(files: Sequence[Path], running: bool, options: dict[str, Any]) -> None:
    from .check_suggest import nodes_wanted, suggest

    if running or len(files) > 1:
        _usage("--suggest takes at most one FILE")
    if unused := [f"--{name.replace('_', '-')}" for name in _NOT_WITH_SUGGEST if options[name]]:
        _usage(f"--suggest does not use {unused[0]}")
    nodeids = _read(files[0], None).config.nodeids if files else ()
    wanted = nodes_wanted(nodeids, options["nodes"], options["sites"])
    if not wanted:
        _usage("--suggest needs a FILE, --nodes or --site")
    try:
        how = {name: options[name] for name in ("seconds", "processes", "as_json")}
        sys.exit(suggest(options["suggest"], wanted, options["sites"], **how))
    except ValueError as error:
        _usage(str(error))


def _refuse_unknown(names: Sequence[str], options: dict[str, Any]) -> None:
    """Refuse a misspelt property, before the search rather than after it."""
    for option, given in (
        ("accept", options["accepted"]),
        ("replay", [options["replay"]]),
        ("vqsim", [options["vqsim"]]),
    ):
        if unknown := [name for name in given if name is not None and name not in names]:
            _usage(f"--{option} {unknown[0]!r}: the properties are {', '.join(names)}")


def _exit_code(reports: Sequence[Report], accepted: Collection[str]) -> int:
    codes = {report.exit_code_accepting(accepted) for report in reports}
    return next((code for code in (2, 3) if code in codes), 0)


def _usage(text: str) -> NoReturn:
    click.echo(f"votequorum-ipc check: {text}; see --help", err=True)
    sys.exit(_USAGE)


# --- reading ---


def _read(file: Path, device: str | None) -> Subject:
    try:
        return _subject(str(file), parse_corosync_conf(file.read_text(errors="surrogateescape")), device)
    except (ConfigurationError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        click.echo(f"votequorum-ipc check: {file}: {printable(reason or str(error))}", err=True)
        sys.exit(_UNREADABLE)


def _running(address: str | None, device: str | None, *, as_json: bool) -> Subject:
    from .check_running import changed_since, running_cluster

    text, status = run_without_loop(running_cluster(address), as_json=as_json, timeout=DEFAULT_TIMEOUT)
    try:
        subject = _subject("the running cluster", parse_corosync_conf(text), device)
        changed = tuple(changed_since(subject.config, status))
        return replace(subject, warnings=(*subject.warnings, *changed), running=status)
    except ConfigurationError as error:
        click.echo(f"votequorum-ipc check: the running cluster: {printable(str(error))}", err=True)
        sys.exit(_UNREADABLE)


def _subject(name: str, conf: CorosyncConf, device: str | None) -> Subject:
    rules_to_check(conf.cluster)
    return Subject(name, conf.cluster, _device(conf, device), tuple(_warnings(conf)))


def _device(conf: CorosyncConf, device: str | None) -> DeviceKind | None:
    if device is not None:
        return DeviceKind(device)
    algorithm = conf.device_algorithm
    return DeviceKind(algorithm) if algorithm in ("ffsplit", "lms") else None


def _warnings(conf: CorosyncConf) -> Iterator[str]:
    yield from conf.warnings
    for key in conf.unknown:
        meant = f"did you mean {conf.similar[key]}?" if key in conf.similar else "is it misspelt?"
        yield f"{key} is unknown to votequorum: {meant}"


def _own(name: str) -> Property:
    """The user's own property: a function that says what is wrong with a `Situation`, or returns None."""
    module, _, function = name.partition(":")
    sys.path.insert(0, "")
    try:
        look: Callable[..., str | None] = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        _usage(f"--property {name}: {error}")
        raise
    finally:
        sys.path.pop(0)
    return Property(function, (look.__doc__ or name).strip().splitlines()[0], look)


# --- checking ---


def _checked(
    subject: Subject, bounds: Bounds, properties: Sequence[Property], options: dict[str, Any]
) -> Report:
    report = check(
        subject.config,
        device=subject.device,
        bounds=bounds,
        properties=properties,
        operator=options["operator"],
        processes=options["processes"],
        progress=_progress if sys.stderr.isatty() else None,
    )
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    return report


def _estimate(subject: Subject, options: dict[str, Any]) -> Estimate | None:
    """How likely quorum is, if --down asks for it."""
    nodeids, sites = subject.config.nodeids, options["sites"]
    if sites and not options["down"]:
        _usage("--site belongs to --down or --suggest")
    if not options["down"]:
        return None
    given = chances(options["down"])
    if fault := site_fault(nodeids, sites) or chances_fault(nodeids, sites, given):
        _usage(f"{subject.name}: {fault}")
    return Estimate.of(Estimator(subject.config, device=subject.device, sites=sites), given)


def _progress(progress: Progress) -> None:
    click.echo(
        f"\r\033[K{progress.states} states, {progress.waiting} to look at, {progress.depth} events deep, "
        f"{progress.seconds:.0f} s; Ctrl-C shows the results so far",
        nl=False,
        err=True,
    )


def _remedies(subject: Subject, report: Report, processes: int) -> dict[str, list[Remedy]]:
    if report.effort.stopped is Stopped.INTERRUPTED:
        return {}
    names = [one.name for one in report.bad]
    return remedies(subject.config, subject.device, names, seconds=_REMEDY_SECONDS, processes=processes)


# --- showing ---


def _show(shown: Sequence[Shown], options: dict[str, Any]) -> None:
    if options["html"]:
        from ..check.page import page

        one = shown[0]
        text = page(one.subject.name, one.report, one.subject.warnings, one.remedies, one.estimate)
        options["html"].write_text(text, encoding="utf-8")
    if options["as_json"]:
        print_json([one.shape() for one in shown])
        return
    if options["replay"] or options["vqsim"]:
        _show_story(shown[0].subject, shown[0].report, options)
    elif len(shown) > 1:
        from .check_text import print_comparison

        print_comparison([one.subject.name for one in shown], [one.report for one in shown])
    else:
        from .check_text import print_report

        _print_running(shown[0].subject.running)
        print_report(shown[0].report, shown[0].subject.warnings, shown[0].remedies)
    for one in shown:
        if one.estimate is not None:
            click.echo(f"{printable(one.subject.name)}: {one.estimate}")


def _print_running(status: ClusterStatus | None) -> None:
    if status is not None:
        from .check_running import state_in_words
        from .check_text import print_section

        print_section("The cluster now", state_in_words(status))


def _show_story(subject: Subject, report: Report, options: dict[str, Any]) -> None:
    from .check_stories import print_replay, print_vqsim

    name = options["replay"] or options["vqsim"]
    verdict = next((one for one in report.verdicts if one.name == name and one.stories), None)
    if verdict is None:
        told = ", ".join(repr(one.name) for one in report.verdicts if one.stories)
        _usage(f"there is no story for {name!r}, only for {told or 'none'}")
        return
    show = print_replay if options["replay"] else print_vqsim
    show(subject.config, verdict.stories[0])


def _confirm(subject: Subject, report: Report) -> bool:
    from .check_stories import confirmed

    bad = [one for one in report.verdicts if one.outcome is Reachability.HAPPENS and one.stories]
    answers = [confirmed(subject.config, one.name, story) for one in bad for story in one.stories]
    return all(answers)
