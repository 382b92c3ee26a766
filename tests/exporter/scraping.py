"""A running `votequorum-ipc exporter`, and the result of a scrape."""

from __future__ import annotations

import contextlib
import subprocess
import urllib.request
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from tests.cli.command import COMMAND, ENVIRONMENT
from tests.real.waiting import DEADLINE

PREFIX = "ha_cluster_corosync_"

Scrape = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Scrape:
    """Each sample: its name and labels, and its value. Fails if a series comes twice."""
    found: Scrape = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def value(scrape: Scrape, name: str, **labels: str) -> float | None:
    """One sample's value; None if it does not exist."""
    full = name if name.startswith("ha_cluster_") else PREFIX + name
    return scrape.get((full, frozenset(labels.items())))


def text_of(url: str) -> str:
    """The content at a URL."""
    with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
        body: bytes = answer.read()
    return body.decode()


def scraped(url: str) -> Scrape:
    """A scrape."""
    return parsed(text_of(url))


@contextlib.contextmanager
def exporter(*arguments: str, prefix: list[str] | None = None) -> Iterator[str]:
    """The exporter on a free port, for as long as the block; yields its URL."""
    argv = [*(prefix or []), *COMMAND, "exporter", "--listen", "127.0.0.1:0", *arguments]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("serving "), line
        yield line.split()[1]
        process.terminate()
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
