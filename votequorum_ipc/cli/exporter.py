"""`votequorum-ipc exporter`: metrics for Prometheus."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

import click

from ..overview import ANSWER_SECONDS, Observer
from .common import FAILED, Seconds, address_option

if TYPE_CHECKING:
    from ..exporter.serving import Asker

DEFAULT_LISTEN: Final = "127.0.0.1:9664"

_INTERVAL: Final = 15.0


class _Ended(BaseException):
    """SIGTERM or SIGINT came."""


class _ListenAddress(click.ParamType):  # type: ignore[type-arg]
    """ADDRESS:PORT; an IPv6 address is in brackets."""

    name = "address:port"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            self.fail(f"{value!r} is not an ADDRESS:PORT such as {DEFAULT_LISTEN} or [::1]:9664", param, ctx)
        return host.removeprefix("[").removesuffix("]"), int(port)


_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_EXISTING: Final = click.Path(exists=True, dir_okay=False)


@click.command("exporter")
@click.option(
    "--listen",
    metavar="ADDRESS:PORT",
    type=_ListenAddress(),
    default=DEFAULT_LISTEN,
    show_default=True,
    help="Where to serve /metrics.",
)
@click.option(
    "--textfile", metavar="FILE", type=_FILE, help="Write FILE for node_exporter instead of serving."
)
@click.option(
    "--interval",
    metavar="SECONDS",
    type=Seconds(1),
    default=_INTERVAL,
    show_default=True,
    help="How often to write FILE.",
)
@click.option(
    "--once", is_flag=True, help="Print the metrics, or write FILE, once; exit 1 if quorum is unknown."
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=Seconds(0, min_open=True),
    default=ANSWER_SECONDS,
    show_default=True,
    help="How long one scrape may wait for corosync.",
)
@click.option(
    "--ring-id", is_flag=True, help="Give `rings` the label ring_id, with new series at each membership."
)
@click.option("--tls-cert", metavar="FILE", type=_EXISTING, help="Serve HTTPS with this certificate.")
@click.option("--tls-key", metavar="FILE", type=_EXISTING, help="The certificate's key.")
@click.option(
    "--tls-client-ca",
    metavar="FILE",
    type=_EXISTING,
    help="Serve only clients with a certificate from these authorities.",
)
@address_option
def command(
    listen: tuple[str, int],
    textfile: Path | None,
    interval: float,
    once: bool,
    timeout: float,
    ring_id: bool,
    tls_cert: str | None,
    tls_key: str | None,
    tls_client_ca: str | None,
    address: str | None,
) -> None:
    """Serve metrics of this node's corosync to Prometheus, until SIGTERM.

    The metrics have ha_cluster_exporter's names, and there are more; docs/monitoring.md lists them all.
    """
    if find_spec("prometheus_client") is None:
        _fail("the exporter needs prometheus_client: pip install 'votequorum-ipc[exporter]'")
    if bool(tls_cert) is not bool(tls_key) or (tls_client_ca and not tls_cert):
        raise click.UsageError("--tls-cert and --tls-key go together, and --tls-client-ca needs both")
    from ..exporter import serving

    with serving.Asker(partial(Observer, address, seconds=timeout)) as asker, _until_ended():
        try:
            if once:
                sys.exit(0 if _once(asker, textfile, ring_id) else FAILED)
            if textfile is not None:
                serving.write_for_ever(asker, textfile, interval, ring_id=ring_id)
            tls = {"certfile": tls_cert, "keyfile": tls_key, "client_cafile": tls_client_ca}
            with serving.http_server(listen, tls, ring_id=ring_id) as questions:
                click.echo(f"serving {questions.url}")
                questions.answer(asker)
        except OSError as error:
            _fail(f"{error.strerror or error}: {error.filename or ':'.join(map(str, listen))}")


def _once(asker: Asker, textfile: Path | None, ring_id: bool) -> bool:
    """Print or write the metrics. Returns whether quorum is known."""
    from prometheus_client import generate_latest, write_to_textfile

    from ..exporter.collector import CorosyncCollector, registry_of

    overview = asker.read()
    registry = registry_of(CorosyncCollector(lambda: overview, ring_id=ring_id))
    if textfile is None:
        click.echo(generate_latest(registry), nl=False)
    else:
        write_to_textfile(os.fspath(textfile), registry)
    return overview.status is not None


@contextlib.contextmanager
def _until_ended() -> Iterator[None]:
    """Let SIGTERM and SIGINT end the block without a failure."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise _Ended

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with contextlib.suppress(_Ended):
        yield


def _fail(text: str) -> NoReturn:
    click.echo(f"votequorum-ipc: {text}", err=True)
    sys.exit(FAILED)
