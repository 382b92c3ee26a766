"""`votequorum-ipc check`: what a quorum configuration survives, before it has to.

Strategy: `votequorum_ipc.check` knows the answers; this module reads configurations, runs the search with its
progress on stderr, and passes the report on to be shown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from ..check import Bounds, DeviceKind, Progress, Property, Reachability, Report, Stopped, Verdict, check
from ..check.remedies import Remedy, remedies
from ..cluster import ClusterConfig, ConfigurationError, effective_rules
from ..cluster.corosync_conf import CorosyncConf, parse_corosync_conf
from .common import print_json, printable, run_without_loop

_UNREADABLE: Final = 1
_USAGE: Final = 64
_REMEDY_SECONDS: Final = 5.0
"""For each change that is tried."""


@dataclass(frozen=True)
class Subject:
    """What is checked: its name for people, its configuration, and what is to be said about the file."""

    name: str
    config: ClusterConfig
    device: DeviceKind | None
    warnings: tuple[str, ...]


@click.command("check")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--running", is_flag=True, help="Check the configuration of the corosync that runs here.")
@click.option("--address", metavar="ADDRESS", help="Where that is, as for `status`.")
@click.option("--faults", type=click.IntRange(1), help="Look at no more than that many faults.")
@click.option("--seconds", type=click.FloatRange(0.1), default=60.0, help="Time for a search; 60 by default.")
@click.option(
    "--device",
    type=click.Choice([kind.value for kind in DeviceKind]),
    help="How the quorum device votes; by default as quorum.device.net.algorithm says, else exclusive.",
)
@click.option("--down", type=click.FloatRange(0, 1), help="How likely each node and the device is down.")
@click.option("--operator", is_flag=True, help="Let an operator set expected votes and end waiting for all.")
@click.option("--property", "own", multiple=True, metavar="MODULE:FUNCTION", help="Look for this as well.")
@click.option("--no-remedies", is_flag=True, help="Do not look for changes that would help.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page to hand on.")
@click.option("--replay", metavar="NAME", help="Replay a property's story in the model.")
@click.option("--vqsim", metavar="NAME", help="Print a property's story as input for corosync-vqsim.")
@click.option("--confirm", is_flag=True, help="Run the stories in corosync-vqsim.")
def command(files: tuple[Path, ...], running: bool, address: str | None, **options: Any) -> None:
    """Say what a corosync.conf survives, and which failures end in no quorum or in two halves with quorum.

    Several FILES are compared. Exit codes: 0 nothing bad is reachable, 2 something is, 3 not settled within
    the bounds, 1 a configuration cannot be read, 64 wrong usage.
    """
    if running == bool(files):
        _usage("name a corosync.conf, or --running")
    device = options["device"]
    subjects = [_running(address, device)] if running else [_read(file, device) for file in files]
    properties = [_own(name) for name in options["own"]]
    bounds = Bounds(faults=options["faults"], seconds=options["seconds"])
    reports = [_checked(subject, bounds, properties, options["operator"]) for subject in subjects]
    helps = [
        {} if options["no_remedies"] else _remedies(one, two)
        for one, two in zip(subjects, reports, strict=True)
    ]
    _show(subjects, reports, helps, options)
    if options["down"] is not None and not options["as_json"]:
        for subject in subjects:
            _say_how_likely(subject, options["down"])
    if options["confirm"] and False in list(map(_confirm, subjects, reports)):
        sys.exit(_UNREADABLE)
    sys.exit(_exit_code(reports))


def _exit_code(reports: Sequence[Report]) -> int:
    codes = {report.exit_code for report in reports}
    return next((code for code in (2, 3) if code in codes), 0)


def _usage(text: str) -> None:
    click.echo(f"votequorum-ipc check: {text}; see --help", err=True)
    sys.exit(_USAGE)


# --- reading ---


def _read(file: Path, device: str | None) -> Subject:
    try:
        return _subject(str(file), parse_corosync_conf(file.read_text(errors="surrogateescape")), device)
    except (ConfigurationError, OSError) as error:
        click.echo(f"votequorum-ipc check: {file}: {printable(str(error))}", err=True)
        sys.exit(_UNREADABLE)


def _running(address: str | None, device: str | None) -> Subject:
    from .check_running import running_configuration

    text = run_without_loop(running_configuration(address), as_json=False)
    try:
        return _subject("the running cluster", parse_corosync_conf(text), device)
    except ConfigurationError as error:
        click.echo(f"votequorum-ipc check: the running cluster: {printable(str(error))}", err=True)
        sys.exit(_UNREADABLE)


def _subject(name: str, conf: CorosyncConf, device: str | None) -> Subject:
    effective_rules(conf.cluster)
    return Subject(name, conf.cluster, _device(conf, device), tuple(_warnings(conf)))


def _device(conf: CorosyncConf, device: str | None) -> DeviceKind | None:
    if device is not None:
        return DeviceKind(device)
    algorithm = conf.device_algorithm
    return DeviceKind(algorithm) if algorithm in ("ffsplit", "lms") else None


def _warnings(conf: CorosyncConf) -> Iterator[str]:
    yield from conf.warnings
    for key in conf.unknown:
        yield f"{key} is unknown to votequorum: is it misspelt?"


def _own(name: str) -> Property:
    """A property of the user's: a function of a `Situation` that says what is wrong with it, or None."""
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


def _checked(subject: Subject, bounds: Bounds, properties: Sequence[Property], operator: bool) -> Report:
    report = check(
        subject.config,
        device=subject.device,
        bounds=bounds,
        properties=properties,
        operator=operator,
        progress=_progress if sys.stderr.isatty() else None,
    )
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    return report


def _progress(progress: Progress) -> None:
    click.echo(
        f"\r\033[K{progress.states} states, {progress.waiting} to look at, {progress.depth} events deep, "
        f"{progress.seconds:.0f} s; Ctrl-C: what is known so far",
        nl=False,
        err=True,
    )


def _remedies(subject: Subject, report: Report) -> dict[str, list[Remedy]]:
    if report.effort.stopped is Stopped.INTERRUPTED:
        return {}
    try:
        return {
            one.name: list(remedies(subject.config, subject.device, one.name, seconds=_REMEDY_SECONDS))
            for one in report.bad
        }
    except KeyboardInterrupt:
        return {}


# --- showing ---


def _show(
    subjects: Sequence[Subject],
    reports: Sequence[Report],
    helps: Sequence[dict[str, list[Remedy]]],
    options: dict[str, Any],
) -> None:
    if options["html"]:
        from ..check.page import page

        options["html"].write_text(page(subjects[0].name, reports[0], subjects[0].warnings, helps[0]))
    if options["as_json"]:
        from ..check.report_json import report_json

        print_json(
            [
                {"name": one.name, "warnings": list(one.warnings), **report_json(two, three)}
                for one, two, three in zip(subjects, reports, helps, strict=True)
            ]
        )
    elif options["replay"] or options["vqsim"]:
        _show_story(subjects[0], reports[0], options)
    elif len(subjects) > 1:
        _compare(subjects, reports)
    else:
        from .check_text import print_report

        print_report(reports[0], subjects[0].warnings, helps[0])


def _say_how_likely(subject: Subject, down: float) -> None:
    from ..check.likely import availability

    found = availability(subject.config, down, device=subject.device)
    error = f" (plus or minus {2 * found.error:.2g})" if found.error else ""
    click.echo(
        f"{printable(subject.name)}: quorum with probability {found.probability:.6f}{error}, "
        f"{found.nines:.1f} nines, {found.minutes_a_year:.0f} minutes a year without, "
        f"where each node{' and the device' if subject.config.device else ''} is down with {down:g}"
    )


def _show_story(subject: Subject, report: Report, options: dict[str, Any]) -> None:
    from .check_stories import print_replay, print_vqsim

    name = options["replay"] or options["vqsim"]
    verdict = next((one for one in report.verdicts if one.name == name and one.stories), None)
    if verdict is None:
        told = ", ".join(repr(one.name) for one in report.verdicts if one.stories)
        _usage(f"there is no story of {name!r}; there is of {told or 'nothing'}")
        return
    show = print_replay if options["replay"] else print_vqsim
    show(subject.config, verdict.stories[0])


def _compare(subjects: Sequence[Subject], reports: Sequence[Report]) -> None:
    from rich.table import Table

    from .tables import console

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    for subject in subjects:
        table.add_column(printable(subject.name))
    names = list(dict.fromkeys(one.name for report in reports for one in report.verdicts))
    for name in names:
        table.add_row(name, *(_cell(report, name) for report in reports))
    fatal = [min((one.size for one in report.fatal_sets), default=0) for report in reports]
    table.add_row("failures that end it", *map(str, fatal))
    table.add_row(
        "needed to start", *(str(min(map(len, report.cold_start), default=0)) for report in reports)
    )
    out = console()
    with out.capture() as captured:
        out.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().rstrip().splitlines()))


def _cell(report: Report, name: str) -> str:
    verdict: Verdict | None = next((one for one in report.verdicts if one.name == name), None)
    return "" if verdict is None else verdict.answer


def _confirm(subject: Subject, report: Report) -> bool:
    from .check_stories import confirmed

    bad = [one for one in report.verdicts if one.outcome is Reachability.HAPPENS and one.stories]
    answers = [confirmed(subject.config, one.name, story) for one in bad for story in one.stories]
    return all(answers)
